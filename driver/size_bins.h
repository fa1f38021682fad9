/* Which of OVS's size bins a frame belongs to. */

#pragma once

#include <bit>
#include <cstdint>

#include "driver/statistics.h"

namespace netvsc {

/* Index in kSizeBinLimits. */
inline unsigned
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

} // namespace netvsc
