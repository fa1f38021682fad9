#include <config.h>

#include "tests/unit/packet_probe.h"

#include "lib/netdev-netvsc-packets.h"
#include "lib/netdev-netvsc-pool.h"
#include "lib/ovs-compat.h"

#include "dp-packet.h"

struct netvsc_pool *
probe_pool_create(void)
{
    return netvsc_pool_create();
}

size_t
probe_n_pool_kinds(void)
{
    size_t n = 0;

    while (netvsc_pool_kinds[n]) {
        n++;
    }
    return n;
}

const char *
probe_pool_kind_name(size_t kind)
{
    return netvsc_pool_kinds[kind]->name;
}

struct netvsc_pool *
probe_pool_create_kind(size_t kind)
{
    return netvsc_pool_kinds[kind]->create();
}

void
probe_pool_retire(struct netvsc_pool *pool)
{
    netvsc_pool_retire(pool);
}

size_t
probe_pool_sweep(void)
{
    return netvsc_pool_sweep();
}

struct dp_packet *
probe_new_packet(struct netvsc_pool *pool, size_t size)
{
    return netvsc_pool_new_packet(pool, size);
}

bool
probe_from_pool(const struct dp_packet *packet)
{
    return packet->source == DPBUF_AFXDP;
}

uint8_t *
probe_data(const struct dp_packet *packet)
{
    return dp_packet_data(packet);
}

size_t
probe_size(const struct dp_packet *packet)
{
    return dp_packet_size(packet);
}

size_t
probe_headroom(const struct dp_packet *packet)
{
    return dp_packet_headroom(packet);
}

size_t
probe_tailroom(const struct dp_packet *packet)
{
    return dp_packet_tailroom(packet);
}

void
probe_put(struct dp_packet *packet, const void *data, size_t size)
{
    dp_packet_put(packet, data, size);
}

void
probe_push_zeros(struct dp_packet *packet, size_t size)
{
    dp_packet_push_zeros(packet, size);
}

#define SOIL 0xa5

void
probe_soil(struct dp_packet *packet)
{
    const struct dp_packet was = *packet;

    memset(packet, SOIL, sizeof *packet);
    packet->source = was.source;
#ifdef DPDK_NETDEV
    packet->mbuf.buf_addr = was.mbuf.buf_addr;
    packet->mbuf.buf_len = was.mbuf.buf_len;
#else
    packet->base_ = was.base_;
    packet->allocated_ = was.allocated_;
#endif
}

/* As OVS makes the packet, in memory full of `soil`. */
static void
probe_make_fresh(const struct dp_packet *packet, struct dp_packet *fresh,
                 uint8_t soil)
{
    memset(fresh, soil, sizeof *fresh);
#if HAVE_AF_XDP
    dp_packet_use_afxdp(fresh, dp_packet_data(packet),
                        dp_packet_get_allocated(packet),
                        dp_packet_headroom(packet));
#endif
    /* The datapath's, for whatever a port received. */
    fresh->md = packet->md;
}

bool
probe_is_new(const struct dp_packet *packet)
{
    const uint8_t *bytes = (const uint8_t *) packet;
    struct dp_packet one, other;

    probe_make_fresh(packet, &one, SOIL);
    probe_make_fresh(packet, &other, SOIL / 2);
    for (size_t i = 0; i < sizeof *packet; i++) {
        uint8_t wanted = ((const uint8_t *) &one)[i];

        /* What OVS leaves as it was is nobody's. */
        if (wanted == ((const uint8_t *) &other)[i] && wanted != bytes[i]) {
            return false;
        }
    }
    return true;
}

void
probe_make_ip(struct dp_packet *packet)
{
    packet->packet_type = htonl(PT_IPV4);
}

bool
probe_rss(const struct dp_packet *packet, uint32_t *hash)
{
    if (!dp_packet_rss_valid(packet)) {
        return false;
    }
    *hash = dp_packet_get_rss_hash(packet);
    return true;
}

bool
probe_ip_checksum_is_good(const struct dp_packet *packet)
{
    return ovs_compat_ip_checksum_is_good(packet);
}

bool
probe_l4_checksum_is_good(const struct dp_packet *packet)
{
    return ovs_compat_l4_checksum_is_good(packet);
}

bool
probe_l4_checksum_is_bad(const struct dp_packet *packet)
{
    return dp_packet_l4_checksum_bad(packet);
}

void
probe_delete(struct dp_packet *packet)
{
    dp_packet_delete(packet);
}

static void
probe_fill(struct dp_packet_batch *batch, struct dp_packet *const *packets,
           size_t n)
{
    dp_packet_batch_init(batch);
    for (size_t i = 0; i < n; i++) {
        dp_packet_batch_add(batch, packets[i]);
    }
}

void
probe_delete_all(struct dp_packet *const *packets, size_t n)
{
    struct dp_packet_batch batch;

    probe_fill(&batch, packets, n);
    netvsc_packets_delete(&batch);
}

size_t
probe_receive(struct netvsc_rx_queue *queue, struct netvsc_pool *pool,
              struct dp_packet **packets)
{
    struct dp_packet_batch batch;
    struct dp_packet *packet;

    dp_packet_batch_init(&batch);
    if (netvsc_receive(queue, pool, &batch)) {
        return 0;
    }
    DP_PACKET_BATCH_FOR_EACH (i, packet, &batch) {
        packets[i] = packet;
    }
    return dp_packet_batch_size(&batch);
}

int
probe_send(struct netvsc_port *port, int queue,
           struct dp_packet *const *packets, size_t n)
{
    struct dp_packet_batch batch;

    probe_fill(&batch, packets, n);
    return netvsc_send(port, queue, &batch);
}
