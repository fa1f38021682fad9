/* libopenvswitch's packet pool for AF_XDP as memory of received packets. */

#include <config.h>

#include "lib/netdev-netvsc-pool.h"
#include "lib/netvsc-abi.h"
#include "lib/ovs-compat.h"

#if HAVE_AF_XDP

#include <sys/mman.h>

#include "coverage.h"
#include "dp-packet.h"
#include "netdev-afxdp-pool.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/list.h"
#include "ovs-atomic.h"
#include "ovs-thread.h"
#include "packets.h"
#include "util.h"

COVERAGE_DEFINE(netvsc_rx_pool_empty);
COVERAGE_DEFINE(netvsc_rx_big_frame);

/* Frames of a queue: a burst in the works, what output batches of several
 * ports hold, and packets that wait for IP reassembly; 8 MiB. */
#define N_FRAMES 2048

/* Equal offsets in 4 KiB frames share a few sets of a first-level cache, so
 * neighbours begin in eight different cache lines. */
#define STAGGER 64
#define N_STAGGERS 8
#define MAX_HEADROOM (NETVSC_POOL_HEADROOM + STAGGER * (N_STAGGERS - 1))

/* Behind a frame: connection tracking lengthens FTP commands in place. */
#define TAILROOM 128

#define MAX_POOL_SIZE (NETVSC_AFXDP_FRAME_SIZE - MAX_HEADROOM - TAILROOM)
BUILD_ASSERT_DECL(MAX_POOL_SIZE >= 1522);

struct netvsc_afxdp_pool {
    /* Whoever deletes a packet. */
    PADDED_MEMBERS(CACHE_LINE_SIZE,
                   struct umem_pool umem; /* Addresses of the free frames. */
    );

    /* Who takes packets. */
    struct netvsc_pool up;
    struct xpacket_pool packets;
    uint8_t *frames;

    /* Taken out of `umem` a burst at a time, for one lock per burst; with
     * room for a burst beside what is left of the last one. */
    void *cache[2 * NETDEV_MAX_BURST];
    int n_cache;

    /* One writer, any reader. */
    atomic_uint64_t n_empty;
    atomic_uint64_t n_big;

    struct ovs_list list_node; /* In `retired`. */
};

static inline struct netvsc_afxdp_pool *
netvsc_afxdp_pool_cast(const struct netvsc_pool *pool)
{
    return CONTAINER_OF(pool, struct netvsc_afxdp_pool, up);
}

static struct ovs_mutex retired_mutex = OVS_MUTEX_INITIALIZER;
static struct ovs_list
    retired OVS_GUARDED_BY(retired_mutex) = OVS_LIST_INITIALIZER(&retired);

static struct netvsc_pool *
netvsc_afxdp_create(void)
{
    /* Whole cache lines: the next pool may be another thread's. */
    struct netvsc_afxdp_pool *pool =
        xzalloc_cacheline(ROUND_UP(sizeof *pool, CACHE_LINE_SIZE));

    /* Not from the heap, which would keep holes of this size. */
    pool->frames =
        mmap(NULL, N_FRAMES * NETVSC_AFXDP_FRAME_SIZE, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pool->frames == MAP_FAILED) {
        out_of_memory();
    }
    umem_pool_init(&pool->umem, N_FRAMES);
    xpacket_pool_init(&pool->packets, N_FRAMES);
    for (int i = N_FRAMES - 1; i >= 0; i--) {
        uint8_t *frame = pool->frames + (size_t) i * NETVSC_AFXDP_FRAME_SIZE;

        /* What this sets stays as it is, but for what a new packet resets. */
        dp_packet_use_afxdp(&pool->packets.array[i].packet, frame,
                            NETVSC_AFXDP_FRAME_SIZE, 0);
        pool->packets.array[i].mpool = &pool->umem;
        umem_elem_push(&pool->umem, frame);
    }
    pool->up.ops = &netvsc_afxdp_pool_ops;
    atomic_init(&pool->n_empty, 0);
    atomic_init(&pool->n_big, 0);
    return &pool->up;
}

static void
netvsc_afxdp_retire(struct netvsc_pool *pool_)
{
    struct netvsc_afxdp_pool *pool = netvsc_afxdp_pool_cast(pool_);

    umem_elem_push_n(&pool->umem, pool->n_cache, pool->cache);
    pool->n_cache = 0;
    ovs_mutex_lock(&retired_mutex);
    ovs_list_push_back(&retired, &pool->list_node);
    ovs_mutex_unlock(&retired_mutex);
}

static bool
netvsc_afxdp_is_complete(struct netvsc_afxdp_pool *pool)
{
    bool complete;

    /* The lock, so that who brought the last frame has left. */
    ovs_spin_lock(&pool->umem.lock);
    complete = umem_pool_count(&pool->umem) == N_FRAMES;
    ovs_spin_unlock(&pool->umem.lock);
    return complete;
}

static size_t
netvsc_afxdp_sweep(void)
{
    struct netvsc_afxdp_pool *pool;
    size_t n_remain;

    ovs_mutex_lock(&retired_mutex);
    LIST_FOR_EACH_SAFE (pool, list_node, &retired) {
        if (netvsc_afxdp_is_complete(pool)) {
            ovs_list_remove(&pool->list_node);
            umem_pool_cleanup(&pool->umem);
            xpacket_pool_cleanup(&pool->packets);
            munmap(pool->frames, N_FRAMES * NETVSC_AFXDP_FRAME_SIZE);
            free_cacheline(pool);
        }
    }
    n_remain = ovs_list_size(&retired);
    ovs_mutex_unlock(&retired_mutex);
    return n_remain;
}

/* Makes sure of `n` frames in the cache, a burst at the most; false if there
 * are fewer. */
static inline bool
netvsc_afxdp_refill(struct netvsc_afxdp_pool *pool, int n)
{
    if (pool->n_cache >= n) {
        return true;
    }
    if (!umem_elem_pop_n(&pool->umem, NETDEV_MAX_BURST,
                         &pool->cache[pool->n_cache])) {
        pool->n_cache += NETDEV_MAX_BURST;
        return true;
    }
    while (pool->n_cache < n) {
        void *frame = umem_elem_pop(&pool->umem);

        if (!frame) {
            return false;
        }
        pool->cache[pool->n_cache++] = frame;
    }
    return true;
}

/* An empty packet as dp_packet_use_afxdp() makes it, without the metadata,
 * which the datapath initializes for whatever a port received. */
static inline struct dp_packet *
netvsc_afxdp_take(struct netvsc_afxdp_pool *pool)
{
    uint8_t *frame = pool->cache[--pool->n_cache];
    size_t i = (size_t) (frame - pool->frames) / NETVSC_AFXDP_FRAME_SIZE;
    struct dp_packet *packet = &pool->packets.array[i].packet;

    dp_packet_set_data(packet, frame + NETVSC_POOL_HEADROOM +
                                   STAGGER * (i % N_STAGGERS));
    dp_packet_set_size(packet, 0);
    dp_packet_reset_offsets(packet);
    dp_packet_reset_cutlen(packet);
    dp_packet_reset_offload(packet);
    ovs_compat_reset_segmentation(packet);
    dp_packet_init_specific(packet);
    packet->packet_type = htonl(PT_ETH);
    return packet;
}

static void
netvsc_afxdp_count(atomic_uint64_t *counter)
{
    uint64_t n;

    atomic_read_relaxed(counter, &n);
    atomic_store_relaxed(counter, n + 1);
}

static struct dp_packet *
netvsc_afxdp_new_packet(struct netvsc_pool *pool_, size_t size)
{
    struct netvsc_afxdp_pool *pool = netvsc_afxdp_pool_cast(pool_);

    if (OVS_UNLIKELY(size > MAX_POOL_SIZE)) {
        COVERAGE_INC(netvsc_rx_big_frame);
        netvsc_afxdp_count(&pool->n_big);
    } else if (OVS_LIKELY(netvsc_afxdp_refill(pool, 1))) {
        return netvsc_afxdp_take(pool);
    } else {
        COVERAGE_INC(netvsc_rx_pool_empty);
        netvsc_afxdp_count(&pool->n_empty);
    }
    return dp_packet_new_with_headroom(size, NETVSC_POOL_HEADROOM);
}

static void
netvsc_afxdp_new_packets(struct netvsc_pool *pool_,
                         const struct netvsc_rx_frame *frames, unsigned int n,
                         struct dp_packet_batch *batch)
{
    struct netvsc_afxdp_pool *pool = netvsc_afxdp_pool_cast(pool_);
    bool enough = netvsc_afxdp_refill(pool, n);

    for (unsigned int i = 0; i < n; i++) {
        size_t size = frames[i].size + VLAN_HEADER_LEN;

        batch->packets[i] = OVS_LIKELY(enough && size <= MAX_POOL_SIZE)
                                ? netvsc_afxdp_take(pool)
                                : netvsc_afxdp_new_packet(pool_, size);
    }
    batch->count = n;
}

static void
netvsc_afxdp_format(const struct netvsc_pool *pool_, struct ds *s)
{
    const struct netvsc_afxdp_pool *pool = netvsc_afxdp_pool_cast(pool_);
    uint64_t n_empty, n_big;

    atomic_read_relaxed(&pool->n_empty, &n_empty);
    atomic_read_relaxed(&pool->n_big, &n_big);
    ds_put_format(s,
                  "%u of %d free, %" PRIu64 " times empty, %" PRIu64
                  " frames too big",
                  umem_pool_count(CONST_CAST(struct umem_pool *, &pool->umem)),
                  N_FRAMES, n_empty, n_big);
}

const struct netvsc_pool_ops netvsc_afxdp_pool_ops = {
    .name = "AF_XDP",
    .create = netvsc_afxdp_create,
    .retire = netvsc_afxdp_retire,
    .sweep = netvsc_afxdp_sweep,
    .new_packet = netvsc_afxdp_new_packet,
    .new_packets = netvsc_afxdp_new_packets,
    .format = netvsc_afxdp_format,
};

#endif /* HAVE_AF_XDP */
