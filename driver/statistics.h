/* What the driver counted, as sums over queues, channels and sessions. */

#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "driver/counts.h"

namespace netvsc {

/* Upper bounds of OVS's size bins: rx_1_to_64_packets and so on; the last
 * bin is open. */
inline constexpr std::array<uint32_t, 7> kSizeBinLimits = {
    64, 127, 255, 511, 1023, 1522, UINT32_MAX};

/* Index in kSizeBinLimits. */
[[nodiscard]] inline unsigned
size_bin(uint32_t size) noexcept
{
    /* 65 to 127, 128 to 255, ... are the powers of two; 64 and less, and
     * what lies around 1522, are the exceptions. */
    if (size <= kSizeBinLimits[0]) {
        return 0;
    }
    if (size > kSizeBinLimits[4]) {
        return size <= kSizeBinLimits[5] ? 5 : 6;
    }
    return static_cast<unsigned>(std::bit_width(size)) - 6;
}

/* Frames of one direction. */
struct FrameStatistics {
    uint64_t bytes = 0;
    uint64_t multicast = 0; /* Counted of those received. */
    std::array<uint64_t, kSizeBinLimits.size()> size_bins{};

    /* Each frame is in one bin. */
    [[nodiscard]] uint64_t packets() const;
};

struct Statistics {
    FrameStatistics rx, tx;
    std::array<uint64_t, kCounts> counts{};
    std::array<uint64_t, kMalformedCauses> malformed{};

    uint64_t &
    operator[](Count count)
    {
        return counts[static_cast<unsigned>(count)];
    }
    uint64_t
    operator[](Count count) const
    {
        return counts[static_cast<unsigned>(count)];
    }
    [[nodiscard]] uint64_t all_malformed() const;

    /* The biggest of the frames that were too big, in bytes. */
    uint64_t tx_biggest_refused = 0;

    Statistics &operator+=(const Statistics &);
};

} // namespace netvsc
