#include <config.h>

#include "lib/netdev-netvsc-packets.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip6.h>

#include "driver/copy.h"
#include "lib/netdev-netvsc-pool.h"
#include "lib/netvsc-abi.h"
#include "lib/ovs-compat.h"

#include "coverage.h"
#include "dp-packet.h"
#include "packets.h"
#include "unaligned.h"
#include "util.h"

COVERAGE_DEFINE(netvsc_tx_not_taken);
COVERAGE_DEFINE(netvsc_tx_no_session);
COVERAGE_DEFINE(netvsc_tx_down);
COVERAGE_DEFINE(netvsc_tx_not_ethernet);

BUILD_ASSERT_DECL(NETDEV_MAX_BURST == NETVSC_MAX_BURST);

/* Copies the next `size` bytes of a frame whose rest begins `*offset` into
 * `*fragment`. */
static uint8_t *
netvsc_copy_bytes(uint8_t *to, const struct netvsc_fragment **fragment,
                  uint32_t *offset, uint32_t size)
{
    while (size) {
        uint32_t n = MIN(size, (*fragment)->size - *offset);

        memcpy(to, (*fragment)->data + *offset, n);
        to += n;
        size -= n;
        *offset += n;
        if (*offset == (*fragment)->size) {
            (*fragment)++;
            *offset = 0;
        }
    }
    return to;
}

/* A frame in pieces, or without its tag.  OVS has no metadata for a tag that
 * the host took out: it goes back to where it was, behind the addresses. */
static void
netvsc_join_frame(struct dp_packet *packet,
                  const struct netvsc_rx_frame *frame)
{
    const struct netvsc_fragment *fragment = frame->fragments;
    uint8_t *to = dp_packet_data(packet);
    uint32_t rest = frame->size;
    uint32_t offset = 0;

    if (frame->flags & NETVSC_RX_VLAN) {
        ovs_be16 tag[2] = {htons(ETH_TYPE_VLAN_8021Q), htons(frame->vlan_tci)};

        to = netvsc_copy_bytes(to, &fragment, &offset, 2 * ETH_ADDR_LEN);
        memcpy(to, tag, sizeof tag);
        to += sizeof tag;
        rest -= 2 * ETH_ADDR_LEN;
    }
    to = netvsc_copy_bytes(to, &fragment, &offset, rest);
    dp_packet_set_size(packet, to - (uint8_t *) dp_packet_data(packet));
}

static inline void
netvsc_copy_frame(struct dp_packet *packet,
                  const struct netvsc_rx_frame *frame)
{
    if (OVS_LIKELY(frame->n_fragments == 1 &&
                   !(frame->flags & NETVSC_RX_VLAN))) {
        const uint8_t *from = frame->fragments->data;
        uint8_t *to = dp_packet_data(packet);

        if (!netvsc_copy_short(to, from, frame->size)) {
            memcpy(to, from, frame->size);
        }
        dp_packet_set_size(packet, frame->size);
    } else {
        netvsc_join_frame(packet, frame);
    }
}

#define L4_VERDICT (NETVSC_RX_L4_GOOD | NETVSC_RX_L4_BAD)

/* Whether the packet is a whole TCP or UDP datagram, with nothing between IP
 * header and datagram. */
static bool
netvsc_is_whole_datagram(const struct dp_packet *packet)
{
    const uint8_t *type = dp_packet_data(packet);
    const uint8_t *end = type + dp_packet_size(packet);
    const uint8_t *ip;
    uint8_t protocol;

    type += 2 * ETH_ADDR_LEN;
    while (end - type > 2 * VLAN_HEADER_LEN &&
           eth_type_vlan(get_unaligned_be16((const ovs_be16 *) type))) {
        type += VLAN_HEADER_LEN;
    }
    ip = type + sizeof(ovs_be16);
    if (end - ip < IP_HEADER_LEN) {
        return false;
    }
    switch (ntohs(get_unaligned_be16((const ovs_be16 *) type))) {
    case ETH_TYPE_IP: {
        const struct ip_header *ip4 = (const struct ip_header *) ip;

        if (ip4->ip_frag_off & htons(IP_MORE_FRAGMENTS | IP_FRAG_OFF_MASK)) {
            return false;
        }
        protocol = ip4->ip_proto;
        break;
    }
    case ETH_TYPE_IPV6:
        protocol = ((const struct ovs_16aligned_ip6_hdr *) ip)->ip6_nxt;
        break;
    default:
        return false;
    }
    return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
}

/* The flags of a frame, without what cannot be said of it.  The checksum of a
 * datagram says nothing of a piece of it, and from 3.2 on Open vSwitch
 * completes it in whatever packet is marked good.  `packet` is our copy,
 * which the host cannot change any more. */
static inline unsigned int
netvsc_believed_flags(const struct dp_packet *packet,
                      const struct netvsc_rx_frame *frame)
{
    unsigned int flags = frame->flags & NETVSC_RX_ALL;

    if (flags & L4_VERDICT &&
        OVS_UNLIKELY(!netvsc_is_whole_datagram(packet))) {
        flags &= ~L4_VERDICT;
    }
    return flags;
}

int
netvsc_receive(struct netvsc_rx_queue *queue, struct netvsc_pool *pool,
               struct dp_packet_batch *batch)
{
    struct netvsc_rx_frame frames[NETVSC_MAX_BURST];
    unsigned int n = netvsc_rx_queue_poll(queue, frames);
    struct dp_packet *packet;

    netvsc_pool_new_packets(pool, frames, n, batch);
    DP_PACKET_BATCH_FOR_EACH (i, packet, batch) {
        netvsc_copy_frame(packet, &frames[i]);
        ovs_compat_set_rx_offloads(packet, &frames[i],
                                   netvsc_believed_flags(packet, &frames[i]));
    }
    netvsc_rx_queue_release(queue);
    return n ? 0 : EAGAIN;
}

static int
netvsc_send_chunk(struct netvsc_port *port, int qid,
                  const struct netvsc_tx_frame *frames, unsigned int n)
{
    int error = netvsc_port_send(port, qid, frames, n);

    switch (error) {
    case EAGAIN:
        COVERAGE_INC(netvsc_tx_not_taken);
        break;
    case ENODEV:
        COVERAGE_INC(netvsc_tx_no_session);
        break;
    case ENETDOWN:
        COVERAGE_INC(netvsc_tx_down);
        break;
    }
    return error;
}

int
netvsc_send(struct netvsc_port *port, int qid,
            const struct dp_packet_batch *batch)
{
    struct netvsc_tx_frame frames[NETVSC_MAX_BURST];
    unsigned int not_ethernet = 0;
    struct dp_packet *packet;
    unsigned int n = 0;
    int error = 0;

    DP_PACKET_BATCH_FOR_EACH (i, packet, batch) {
        if (OVS_UNLIKELY(!dp_packet_is_eth(packet))) {
            not_ethernet++;
            continue;
        }
        /* From 4.0 on a batch can be longer than a burst. */
        if (n == NETVSC_MAX_BURST) {
            error = netvsc_send_chunk(port, qid, frames, n);
            n = 0;
        }
        frames[n].data = dp_packet_data(packet);
        frames[n++].size = dp_packet_size(packet);
    }
    if (n) {
        int chunk_error = netvsc_send_chunk(port, qid, frames, n);

        error = error ? error : chunk_error;
    }
    if (OVS_UNLIKELY(not_ethernet)) {
        netvsc_port_count_not_ethernet(port, not_ethernet);
        COVERAGE_ADD(netvsc_tx_not_ethernet, not_ethernet);
        error = EPFNOSUPPORT;
    }
    return error;
}
