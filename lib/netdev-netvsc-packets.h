/* The data path between OVS's packets and the driver's frames. */

#ifndef NETDEV_NETVSC_PACKETS_H
#define NETDEV_NETVSC_PACKETS_H 1

struct dp_packet_batch;
struct netvsc_pool;
struct netvsc_port;
struct netvsc_rx_queue;

/* Receives a burst into `batch`, which is empty, in memory of `pool`.
 * Returns 0 or EAGAIN.  One thread at a time. */
int netvsc_receive(struct netvsc_rx_queue *, struct netvsc_pool *,
                   struct dp_packet_batch *);

/* Sends the packets, which stay the caller's.  Returns 0 or why some of them
 * were dropped.  One thread at a time for each `queue`. */
int netvsc_send(struct netvsc_port *, int queue,
                const struct dp_packet_batch *);

#endif /* netdev-netvsc-packets.h */
