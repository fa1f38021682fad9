/* Frames, bytes and OVS's size bins: what both kinds of queue count. */

#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <utility>

#include "driver/counter.h"
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

/* Of one burst, in registers and on the stack. */
struct FrameTally {
    void
    add(uint32_t size) noexcept
    {
        bytes += size;
        bins[size_bin(size)]++;
    }
    uint64_t bytes = 0;
    std::array<uint32_t, kSizeBinLimits.size()> bins{};
};

/* Of a queue's life. */
class FrameCounters {
public:
    void
    add(const FrameTally &tally) noexcept
    {
        bytes_.add(tally.bytes);
        /* Unrolled: two instructions each, and not six. */
        [&]<size_t... I>(std::index_sequence<I...>)
        {
            (bins_[I].add(tally.bins[I]), ...);
        }
        (std::make_index_sequence<kSizeBinLimits.size()>());
    }
    /* Any thread. */
    void
    add_to(uint64_t *packets, uint64_t *bytes,
           std::array<uint64_t, kSizeBinLimits.size()> *bins) const noexcept
    {
        *bytes += bytes_.get();
        for (unsigned i = 0; i < bins_.size(); i++) {
            uint64_t n = bins_[i].get();
            (*bins)[i] += n;
            *packets += n; /* Each is in one bin. */
        }
    }

private:
    Counter bytes_;
    std::array<Counter, kSizeBinLimits.size()> bins_;
};

} // namespace netvsc
