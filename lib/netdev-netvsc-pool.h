/* Memory for received packets.
 *
 * libopenvswitch's packet pool for AF_XDP, which any provider can use: a
 * packet costs a third of what it costs with malloc() (110 instead of 310
 * cycles for its way through the whole datapath).  A frame finds its way
 * back from any thread by dp_packet_delete().
 *
 * Without AF_XDP in OVS's build, and under sanitizers, which should see each
 * packet as an allocation of its own, every packet is malloc()ed. */

#ifndef NETDEV_NETVSC_POOL_H
#define NETDEV_NETVSC_POOL_H 1

#include <stddef.h>

struct dp_packet;
struct dp_packet_batch;
struct ds;
struct netvsc_rx_frame;

/* The memory of one receive queue.  New packets are taken by one thread at a
 * time. */
struct netvsc_pool;

struct netvsc_pool *netvsc_pool_create(void);

/* Gives the pool up: its memory is freed by netvsc_pool_sweep() when the last
 * of its packets has come back.  Any thread. */
void netvsc_pool_retire(struct netvsc_pool *);

/* Frees what can be freed of retired pools and returns how many remain.  Any
 * thread. */
size_t netvsc_pool_sweep(void);

/* An empty packet with room for `size` bytes and ample headroom.  Never
 * fails: malloc() helps out when the pool is empty or a frame is too big. */
struct dp_packet *netvsc_pool_new_packet(struct netvsc_pool *, size_t size);

/* Fills the empty batch with such packets for `n` frames and their tags. */
void netvsc_pool_new_packets(struct netvsc_pool *,
                             const struct netvsc_rx_frame *frames,
                             unsigned int n, struct dp_packet_batch *);

/* Deletes all packets of the batch, those of a pool together. */
void netvsc_packets_delete(struct dp_packet_batch *);

/* For netdev-netvsc/show: "2016 of 2048 free, ...".  Any thread. */
void netvsc_pool_format(const struct netvsc_pool *, struct ds *);

#endif /* netdev-netvsc-pool.h */
