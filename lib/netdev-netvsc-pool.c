/* The choice of a pool, packets from malloc(), and the way back. */

#include <config.h>

#include "lib/netdev-netvsc-pool.h"
#include "lib/netvsc-abi.h"
#include "lib/ovs-compat.h"

#include "dp-packet.h"
#include "netdev-afxdp-pool.h"
#include "openvswitch/dynamic-string.h"
#include "packets.h"
#include "util.h"

/* Of packets from malloc(), too: one whose bytes do not fit into dp_packet's
 * 16 bits would be a short one. */
BUILD_ASSERT_DECL(NETVSC_POOL_HEADROOM + VLAN_HEADER_LEN +
                      NETVSC_MAX_RX_FRAME <=
                  UINT16_MAX);

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

/* --- Packets from malloc() ------------------------------------------------
 */

/* There is nothing to know of it. */
static struct netvsc_pool netvsc_malloc_pool;

static struct netvsc_pool *
netvsc_malloc_create(void)
{
    return &netvsc_malloc_pool;
}

static void
netvsc_malloc_retire(struct netvsc_pool *pool OVS_UNUSED)
{
}

static size_t
netvsc_malloc_sweep(void)
{
    return 0;
}

static struct dp_packet *
netvsc_malloc_new_packet(struct netvsc_pool *pool OVS_UNUSED, size_t size)
{
    return dp_packet_new_with_headroom(size, NETVSC_POOL_HEADROOM);
}

static void
netvsc_malloc_new_packets(struct netvsc_pool *pool,
                          const struct netvsc_rx_frame *frames, unsigned int n,
                          struct dp_packet_batch *batch)
{
    for (unsigned int i = 0; i < n; i++) {
        batch->packets[i] =
            netvsc_malloc_new_packet(pool, frames[i].size + VLAN_HEADER_LEN);
    }
    batch->count = n;
}

static void
netvsc_malloc_format(const struct netvsc_pool *pool OVS_UNUSED, struct ds *s)
{
    ds_put_cstr(s, "malloc");
}

const struct netvsc_pool_ops netvsc_malloc_pool_ops = {
    .name = "malloc",
    .create = netvsc_malloc_create,
    .retire = netvsc_malloc_retire,
    .sweep = netvsc_malloc_sweep,
    .new_packet = netvsc_malloc_new_packet,
    .new_packets = netvsc_malloc_new_packets,
    .format = netvsc_malloc_format,
};

static struct netvsc_pool netvsc_malloc_pool = {
    .ops = &netvsc_malloc_pool_ops,
};

/* --- Whichever pool -------------------------------------------------------
 */

const struct netvsc_pool_ops *const netvsc_pool_kinds[] = {
#if HAVE_AF_XDP && !SANITIZED
    &netvsc_afxdp_pool_ops,
#endif
    &netvsc_malloc_pool_ops,
    NULL,
};

struct netvsc_pool *
netvsc_pool_create(void)
{
    return netvsc_pool_kinds[0]->create();
}

void
netvsc_pool_retire(struct netvsc_pool *pool)
{
    if (pool) {
        pool->ops->retire(pool);
    }
}

size_t
netvsc_pool_sweep(void)
{
    size_t n_remain = 0;

    for (size_t i = 0; netvsc_pool_kinds[i]; i++) {
        n_remain += netvsc_pool_kinds[i]->sweep();
    }
    return n_remain;
}

void
netvsc_pool_format(const struct netvsc_pool *pool, struct ds *s)
{
    if (pool) {
        pool->ops->format(pool, s);
    } else {
        /* A queue gets its pool when it is opened with a session. */
        ds_put_cstr(s, "none before the first session");
    }
}

#if HAVE_AF_XDP

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
        frames[n++] = (void *) ((uintptr_t) dp_packet_base(packet) &
                                ~(NETVSC_AFXDP_FRAME_SIZE - 1));
    }
    if (n) {
        umem_elem_push_n(owner, n, frames);
    }
    ovs_compat_batch_forget(batch);
}

#else

void
netvsc_packets_delete(struct dp_packet_batch *batch)
{
    struct dp_packet *packet;

    DP_PACKET_BATCH_FOR_EACH (i, packet, batch) {
        dp_packet_delete(packet);
    }
    ovs_compat_batch_forget(batch);
}

#endif
