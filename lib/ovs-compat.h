/* Everything in which the versions of Open vSwitch differ for this provider.
 *
 * configure looks into the headers of the OVS tree at hand and writes what it
 * finds to ovs-probe.h; OVS has no version number for the preprocessor.  The
 * rest of the provider reads the same for every version from 3.1 to 4.0. */

#ifndef OVS_COMPAT_H
#define OVS_COMPAT_H 1

#include <stdbool.h>
#include <stdint.h>

#include "driver/frame.h"
#include "lib/ovs-probe.h"

#include "dp-packet.h"

/* --- Members of struct netdev_class --------------------------------------
 *
 * Each expands to an initializer, or to nothing where there is no such
 * member. */

/* From 3.2 on. */
#ifdef NETVSC_OVS_HAVE_GET_SPEED
#define OVS_COMPAT_GET_SPEED(CALLBACK) .get_speed = CALLBACK,
#else
#define OVS_COMPAT_GET_SPEED(CALLBACK)
#endif

/* From 4.0 on, and in the later releases of 3.3, 3.4, 3.5 and 3.7. */
#ifdef NETVSC_OVS_HAVE_GET_DUPLEX
#define OVS_COMPAT_GET_DUPLEX(CALLBACK) .get_duplex = CALLBACK,
#else
#define OVS_COMPAT_GET_DUPLEX(CALLBACK)
#endif

/* --- Offloads of a received packet --------------------------------------- */

#ifdef NETVSC_OVS_HAVE_CHECKSUM_SETTERS /* From 3.6 on. */

/* Tells a packet that has no offload flags yet the hash of its frame and the
 * host's verdict on its checksums, as far as `flags` have them. */
static inline void
ovs_compat_set_rx_offloads(struct dp_packet *packet,
                           const struct netvsc_rx_frame *frame,
                           unsigned int flags)
{
    if (flags & NETVSC_RX_HASH) {
        dp_packet_set_rss_hash(packet, frame->rss_hash);
    }
    if (flags & NETVSC_RX_IP_GOOD) {
        dp_packet_ip_checksum_set_good(packet);
    } else if (flags & NETVSC_RX_IP_BAD) {
        dp_packet_ip_checksum_set_bad(packet);
    }
    if (flags & NETVSC_RX_L4_GOOD) {
        dp_packet_l4_checksum_set_good(packet);
    } else if (flags & NETVSC_RX_L4_BAD) {
        dp_packet_l4_checksum_set_bad(packet);
    }
}

#else

/* OVS's flags for each combination of ours: one load for a frame. */
#define OVS_COMPAT_OL_FLAG(FLAGS, OURS, THEIRS)                               \
    ((FLAGS) & (OURS) ? (THEIRS) : 0)
#define OVS_COMPAT_OL_FLAGS(FLAGS)                                            \
    (OVS_COMPAT_OL_FLAG(FLAGS, NETVSC_RX_HASH, DP_PACKET_OL_RSS_HASH) |       \
     OVS_COMPAT_OL_FLAG(FLAGS, NETVSC_RX_IP_GOOD,                             \
                        DP_PACKET_OL_RX_IP_CKSUM_GOOD) |                      \
     OVS_COMPAT_OL_FLAG(FLAGS, NETVSC_RX_IP_BAD,                              \
                        DP_PACKET_OL_RX_IP_CKSUM_BAD) |                       \
     OVS_COMPAT_OL_FLAG(FLAGS, NETVSC_RX_L4_GOOD,                             \
                        DP_PACKET_OL_RX_L4_CKSUM_GOOD) |                      \
     OVS_COMPAT_OL_FLAG(FLAGS, NETVSC_RX_L4_BAD,                              \
                        DP_PACKET_OL_RX_L4_CKSUM_BAD))
#define OVS_COMPAT_OL_FLAGS_4(FLAGS)                                          \
    OVS_COMPAT_OL_FLAGS(FLAGS), OVS_COMPAT_OL_FLAGS(FLAGS | 1),               \
        OVS_COMPAT_OL_FLAGS(FLAGS | 2), OVS_COMPAT_OL_FLAGS(FLAGS | 3)
#define OVS_COMPAT_OL_FLAGS_16(FLAGS)                                         \
    OVS_COMPAT_OL_FLAGS_4(FLAGS), OVS_COMPAT_OL_FLAGS_4(FLAGS | 4),           \
        OVS_COMPAT_OL_FLAGS_4(FLAGS | 8), OVS_COMPAT_OL_FLAGS_4(FLAGS | 12)

/* Tells a packet that has no offload flags yet the hash of its frame and the
 * host's verdict on its checksums, as far as `flags` have them. */
static inline void
ovs_compat_set_rx_offloads(struct dp_packet *packet,
                           const struct netvsc_rx_frame *frame,
                           unsigned int flags)
{
    static const uint64_t ol_flags[NETVSC_RX_ALL + 1] = {
        OVS_COMPAT_OL_FLAGS_16(0), OVS_COMPAT_OL_FLAGS_16(16),
        OVS_COMPAT_OL_FLAGS_16(32), OVS_COMPAT_OL_FLAGS_16(48)};

    *dp_packet_rss_ptr(packet) = frame->rss_hash;
    *dp_packet_ol_flags_ptr(packet) |= ol_flags[flags & NETVSC_RX_ALL];
}

#endif

/* Whether the host, or whoever looked, found the IP header's checksum right.
 * It is ..._good() in 3.2 to 3.5 and ..._valid() before and after. */
static inline bool
ovs_compat_ip_checksum_is_good(const struct dp_packet *packet)
{
#ifdef NETVSC_OVS_HAVE_IP_CHECKSUM_GOOD
    return dp_packet_ip_checksum_good(packet);
#else
    return dp_packet_ip_checksum_valid(packet);
#endif
}

/* The same of TCP's or UDP's, which is ..._valid() in 3.1 alone. */
static inline bool
ovs_compat_l4_checksum_is_good(const struct dp_packet *packet)
{
#ifdef NETVSC_OVS_HAVE_L4_CHECKSUM_GOOD
    return dp_packet_l4_checksum_good(packet);
#else
    return dp_packet_l4_checksum_valid(packet);
#endif
}

/* Whether Open vSwitch itself segments and completes what a port with
 * userspace TSO cannot: from 3.3 on. */
#ifdef NETVSC_OVS_HAVE_TSO_SEGSZ
#define OVS_COMPAT_HAS_GSO true
#else
#define OVS_COMPAT_HAS_GSO false
#endif

/* --- A packet's memory used again -----------------------------------------
 */

/* Forgets what a packet's last user asked of segmentation and checksums,
 * beside the offload flags. */
static inline void
ovs_compat_reset_segmentation(struct dp_packet *packet OVS_UNUSED)
{
#ifdef NETVSC_OVS_HAVE_TSO_SEGSZ /* From 3.3 on. */
    dp_packet_set_tso_segsz(packet, 0);
#endif
#ifdef NETVSC_OVS_HAVE_CSUM_START /* 3.2 to 3.7. */
    packet->csum_start = 0;
    packet->csum_offset = 0;
#endif
}

/* --- Batches --------------------------------------------------------------
 */

/* Empties a batch whose packets are gone, as dp_packet_batch_init() does up
 * to 3.7.  From 4.0 on that would lose the memory of one that has grown. */
static inline void
ovs_compat_batch_forget(struct dp_packet_batch *batch)
{
    batch->count = 0;
    batch->trunc = false;
}

#endif /* ovs-compat.h */
