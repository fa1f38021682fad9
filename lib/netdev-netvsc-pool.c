#include <config.h>

#include "lib/netdev-netvsc-pool.h"
#include "lib/netvsc-abi.h"
#include "lib/ovs-compat.h"

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

/* Room in front of a frame: Geneve over IPv6 with full options takes 374
 * bytes, and resizing a pool packet aborts the switch.  Several encapsulations
 * on top of each other still fit. */
#define HEADROOM 1024

/* Of packets from malloc(), too: one whose bytes do not fit into dp_packet's
 * 16 bits would be a short one. */
BUILD_ASSERT_DECL(HEADROOM + VLAN_HEADER_LEN + NETVSC_MAX_RX_FRAME <=
                  UINT16_MAX);

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#if HAVE_AF_XDP && !SANITIZED

COVERAGE_DEFINE(netvsc_rx_pool_empty);
COVERAGE_DEFINE(netvsc_rx_big_frame);

/* Given by netdev-afxdp: it finds a packet's frame by the address's upper
 * bits. */
#define FRAME_SIZE ((uintptr_t) 4096)

/* Frames of a queue: a burst in the works, what output batches of several
 * ports hold, and packets that wait for IP reassembly; 8 MiB. */
#define N_FRAMES 2048

/* Equal offsets in 4 KiB frames share a few sets of a first-level cache, so
 * neighbours begin in eight different cache lines. */
#define STAGGER 64
#define N_STAGGERS 8
#define MAX_HEADROOM (HEADROOM + STAGGER * (N_STAGGERS - 1))

/* Behind a frame: connection tracking lengthens FTP commands in place. */
#define TAILROOM 128

#define MAX_POOL_SIZE (FRAME_SIZE - MAX_HEADROOM - TAILROOM)
BUILD_ASSERT_DECL(MAX_POOL_SIZE >= 1522);

struct netvsc_pool {
    /* Whoever deletes a packet. */
    PADDED_MEMBERS(CACHE_LINE_SIZE,
                   struct umem_pool umem; /* Addresses of the free frames. */
    );

    /* Who takes packets. */
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

static struct ovs_mutex retired_mutex = OVS_MUTEX_INITIALIZER;
static struct ovs_list
    retired OVS_GUARDED_BY(retired_mutex) = OVS_LIST_INITIALIZER(&retired);

struct netvsc_pool *
netvsc_pool_create(void)
{
    /* Whole cache lines: the next pool may be another thread's. */
    struct netvsc_pool *pool =
        xzalloc_cacheline(ROUND_UP(sizeof *pool, CACHE_LINE_SIZE));

    /* Not from the heap, which would keep holes of this size. */
    pool->frames = mmap(NULL, N_FRAMES * FRAME_SIZE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pool->frames == MAP_FAILED) {
        out_of_memory();
    }
    umem_pool_init(&pool->umem, N_FRAMES);
    xpacket_pool_init(&pool->packets, N_FRAMES);
    for (int i = N_FRAMES - 1; i >= 0; i--) {
        uint8_t *frame = pool->frames + (size_t) i * FRAME_SIZE;

        /* What this sets stays as it is, but for what a new packet resets. */
        dp_packet_use_afxdp(&pool->packets.array[i].packet, frame, FRAME_SIZE,
                            0);
        pool->packets.array[i].mpool = &pool->umem;
        umem_elem_push(&pool->umem, frame);
    }
    atomic_init(&pool->n_empty, 0);
    atomic_init(&pool->n_big, 0);
    return pool;
}

void
netvsc_pool_retire(struct netvsc_pool *pool)
{
    if (pool) {
        umem_elem_push_n(&pool->umem, pool->n_cache, pool->cache);
        pool->n_cache = 0;
        ovs_mutex_lock(&retired_mutex);
        ovs_list_push_back(&retired, &pool->list_node);
        ovs_mutex_unlock(&retired_mutex);
    }
}

static bool
netvsc_pool_is_complete(struct netvsc_pool *pool)
{
    bool complete;

    /* The lock, so that who brought the last frame has left. */
    ovs_spin_lock(&pool->umem.lock);
    complete = umem_pool_count(&pool->umem) == N_FRAMES;
    ovs_spin_unlock(&pool->umem.lock);
    return complete;
}

size_t
netvsc_pool_sweep(void)
{
    struct netvsc_pool *pool;
    size_t n_remain;

    ovs_mutex_lock(&retired_mutex);
    LIST_FOR_EACH_SAFE (pool, list_node, &retired) {
        if (netvsc_pool_is_complete(pool)) {
            ovs_list_remove(&pool->list_node);
            umem_pool_cleanup(&pool->umem);
            xpacket_pool_cleanup(&pool->packets);
            munmap(pool->frames, N_FRAMES * FRAME_SIZE);
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
netvsc_pool_refill(struct netvsc_pool *pool, int n)
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
netvsc_pool_take(struct netvsc_pool *pool)
{
    uint8_t *frame = pool->cache[--pool->n_cache];
    size_t i = (size_t) (frame - pool->frames) / FRAME_SIZE;
    struct dp_packet *packet = &pool->packets.array[i].packet;

    dp_packet_set_data(packet, frame + HEADROOM + STAGGER * (i % N_STAGGERS));
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
netvsc_count(atomic_uint64_t *counter)
{
    uint64_t n;

    atomic_read_relaxed(counter, &n);
    atomic_store_relaxed(counter, n + 1);
}

struct dp_packet *
netvsc_pool_new_packet(struct netvsc_pool *pool, size_t size)
{
    if (OVS_UNLIKELY(size > MAX_POOL_SIZE)) {
        COVERAGE_INC(netvsc_rx_big_frame);
        netvsc_count(&pool->n_big);
    } else if (OVS_LIKELY(netvsc_pool_refill(pool, 1))) {
        return netvsc_pool_take(pool);
    } else {
        COVERAGE_INC(netvsc_rx_pool_empty);
        netvsc_count(&pool->n_empty);
    }
    return dp_packet_new_with_headroom(size, HEADROOM);
}

void
netvsc_pool_new_packets(struct netvsc_pool *pool,
                        const struct netvsc_rx_frame *frames, unsigned int n,
                        struct dp_packet_batch *batch)
{
    bool enough = netvsc_pool_refill(pool, n);

    for (unsigned int i = 0; i < n; i++) {
        size_t size = frames[i].size + VLAN_HEADER_LEN;

        batch->packets[i] = OVS_LIKELY(enough && size <= MAX_POOL_SIZE)
                                ? netvsc_pool_take(pool)
                                : netvsc_pool_new_packet(pool, size);
    }
    batch->count = n;
}

void
netvsc_packets_delete(struct dp_packet_batch *batch)
{
    /* Frames of one pool, given back together. */
    void *frames[NETDEV_MAX_BURST];
    struct umem_pool *owner = NULL;
    struct dp_packet *packet;
    int n = 0;

    DP_PACKET_BATCH_FOR_EACH (i, packet, batch) {
        struct umem_pool *umem =
            packet->source == DPBUF_AFXDP
                ? CONTAINER_OF(packet, struct dp_packet_afxdp, packet)->mpool
                : NULL;

        if (OVS_UNLIKELY(!umem)) {
            dp_packet_delete(packet);
            continue;
        }
        if (OVS_UNLIKELY(umem != owner || n == NETDEV_MAX_BURST)) {
            if (n) {
                umem_elem_push_n(owner, n, frames);
                n = 0;
            }
            owner = umem;
        }
        frames[n++] =
            (void *) ((uintptr_t) dp_packet_base(packet) & ~(FRAME_SIZE - 1));
    }
    if (n) {
        umem_elem_push_n(owner, n, frames);
    }
    ovs_compat_batch_forget(batch);
}

void
netvsc_pool_format(const struct netvsc_pool *pool, struct ds *s)
{
    uint64_t n_empty, n_big;

    if (!pool) {
        /* A queue gets its pool when it is opened with a session. */
        ds_put_cstr(s, "none before the first session");
        return;
    }
    atomic_read_relaxed(&pool->n_empty, &n_empty);
    atomic_read_relaxed(&pool->n_big, &n_big);
    ds_put_format(s,
                  "%u of %d free, %" PRIu64 " times empty, %" PRIu64
                  " frames too big",
                  umem_pool_count(CONST_CAST(struct umem_pool *, &pool->umem)),
                  N_FRAMES, n_empty, n_big);
}

#else /* Packets from malloc(). */

struct netvsc_pool *
netvsc_pool_create(void)
{
    return NULL;
}

void
netvsc_pool_retire(struct netvsc_pool *pool OVS_UNUSED)
{
}

size_t
netvsc_pool_sweep(void)
{
    return 0;
}

struct dp_packet *
netvsc_pool_new_packet(struct netvsc_pool *pool OVS_UNUSED, size_t size)
{
    return dp_packet_new_with_headroom(size, HEADROOM);
}

void
netvsc_pool_new_packets(struct netvsc_pool *pool,
                        const struct netvsc_rx_frame *frames, unsigned int n,
                        struct dp_packet_batch *batch)
{
    for (unsigned int i = 0; i < n; i++) {
        batch->packets[i] =
            netvsc_pool_new_packet(pool, frames[i].size + VLAN_HEADER_LEN);
    }
    batch->count = n;
}

void
netvsc_packets_delete(struct dp_packet_batch *batch)
{
    dp_packet_delete_batch(batch, true);
}

void
netvsc_pool_format(const struct netvsc_pool *pool OVS_UNUSED, struct ds *s)
{
    ds_put_cstr(s, "malloc");
}

#endif
