/* Internet checksums of frames: finished for a guest that asked the host to,
 * checked before the host says that one is good (E.5). */

#pragma once

#include <optional>

#include "host/base/bytes.h"

namespace netvsc::host {

/* Which checksums of a frame are known to be right. */
struct ChecksumVerdict {
    bool ip_header = false; /* IPv4 only. */
    bool tcp = false;
    bool udp = false;

    [[nodiscard]] bool
    any() const
    {
        return ip_header || tcp || udp;
    }
};

/* What a guest wants computed before a frame leaves. */
struct ChecksumRequest {
    bool ip_header = false;
    bool tcp = false; /* Wins over `udp` (G.4). */
    bool udp = false;
    /* Transport header, from the start of the frame; 0: after an IP header
     * that follows the Ethernet header. */
    uint16_t transport_offset = 0;
};

/* Computes the requested checksums of an Ethernet frame without a tag from
 * zero.  Nothing when the headers do not have what was asked for; otherwise
 * what is now known to be right. */
[[nodiscard]] std::optional<ChecksumVerdict>
complete_checksums(MutableBytes frame, const ChecksumRequest &request);

/* Stores the ones' complement sum of the frame from `start` on at
 * `start + offset`, whose content is part of the sum: how Linux asks for a
 * checksum (virtio-net, NEEDS_CSUM).  False when that is not in the frame. */
[[nodiscard]] bool complete_partial(MutableBytes frame, size_t start,
                                    size_t offset);

/* For a frame whose transport checksum is right: which one that is, and
 * whether the IPv4 header's is, too. */
[[nodiscard]] ChecksumVerdict classify_good_frame(Bytes frame);

} // namespace netvsc::host
