/* Memory for received packets, of one of several kinds.
 *
 * By default that is libopenvswitch's packet pool for AF_XDP, which any
 * provider can use: a packet costs a third of what it costs with malloc() (110
 * instead of 310 cycles for its way through the whole datapath).  A frame
 * finds its way back from any thread by dp_packet_delete().
 *
 * Without AF_XDP in OVS's build, and under sanitizers, which should see each
 * packet as an allocation of its own, every packet is malloc()ed. */

#ifndef NETDEV_NETVSC_POOL_H
#define NETDEV_NETVSC_POOL_H 1

#include <stddef.h>
#include <stdint.h>

struct dp_packet;
struct dp_packet_batch;
struct ds;
struct netvsc_pool;
struct netvsc_rx_frame;

/* Room in front of a frame: Geneve over IPv6 with full options takes 374
 * bytes, and resizing a packet of an AF_XDP pool aborts the switch.  Several
 * encapsulations on top of each other still fit. */
#define NETVSC_POOL_HEADROOM 1024

/* Size of the frames of an AF_XDP pool, given by netdev-afxdp: it finds a
 * packet's frame by the address's upper bits. */
#define NETVSC_AFXDP_FRAME_SIZE ((uintptr_t) 4096)

/* What a kind of memory does.  The functions are those of the same name
 * below, each for pools that its own create() has made. */
struct netvsc_pool_ops {
    const char *name;
    struct netvsc_pool *(*create)(void);
    void (*retire)(struct netvsc_pool *);
    size_t (*sweep)(void);
    struct dp_packet *(*new_packet)(struct netvsc_pool *, size_t size);
    void (*new_packets)(struct netvsc_pool *,
                        const struct netvsc_rx_frame *frames, unsigned int n,
                        struct dp_packet_batch *);
    void (*format)(const struct netvsc_pool *, struct ds *);
};

/* The memory of one receive queue.  New packets are taken by one thread at a
 * time. */
struct netvsc_pool {
    const struct netvsc_pool_ops *ops;
};

/* The kinds that there are here, best first, NULL at the end. */
extern const struct netvsc_pool_ops *const netvsc_pool_kinds[];
extern const struct netvsc_pool_ops netvsc_malloc_pool_ops;
extern const struct netvsc_pool_ops netvsc_afxdp_pool_ops;

/* A pool of the best kind. */
struct netvsc_pool *netvsc_pool_create(void);

/* Gives the pool up: its memory is freed by netvsc_pool_sweep() when the last
 * of its packets has come back.  Any thread. */
void netvsc_pool_retire(struct netvsc_pool *);

/* Frees what can be freed of retired pools and returns how many remain.  Any
 * thread. */
size_t netvsc_pool_sweep(void);

/* An empty packet with room for `size` bytes and ample headroom.  Never
 * fails: malloc() helps out when the pool is empty or a frame is too big. */
static inline struct dp_packet *
netvsc_pool_new_packet(struct netvsc_pool *pool, size_t size)
{
    return pool->ops->new_packet(pool, size);
}

/* Fills the empty batch with such packets for `n` frames and their tags. */
static inline void
netvsc_pool_new_packets(struct netvsc_pool *pool,
                        const struct netvsc_rx_frame *frames, unsigned int n,
                        struct dp_packet_batch *batch)
{
    pool->ops->new_packets(pool, frames, n, batch);
}

/* Deletes all packets of the batch, wherever they come from, those of an
 * AF_XDP pool together. */
void netvsc_packets_delete(struct dp_packet_batch *);

/* For netdev-netvsc/show: "2016 of 2048 free, ...".  Any thread. */
void netvsc_pool_format(const struct netvsc_pool *, struct ds *);

#endif /* netdev-netvsc-pool.h */
