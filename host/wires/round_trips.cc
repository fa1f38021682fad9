#include "host/wires/round_trips.h"

#include <bit>

namespace netvsc::host {

void
RoundTrips::add(uint64_t ns)
{
    unsigned below =
        ns < 2 * kFine
            ? 0
            : static_cast<unsigned>(std::bit_width(ns)) - (kFineBits + 1);
    counts_[below * kFine + (ns >> below)]++;
    total_++;
}

void
RoundTrips::clear()
{
    *this = {};
}

uint64_t
RoundTrips::longest(uint64_t rank) const
{
    for (unsigned i = 0; i < kClasses; i++) {
        if (rank < counts_[i]) {
            /* The inverse of add(): the first 2 * kFine are themselves. */
            unsigned below = i < 2 * kFine ? 0 : i / kFine - 1;
            uint64_t high = i - below * kFine;
            return ((high + 1) << below) - 1;
        }
        rank -= counts_[i];
    }
    return 0;
}

RoundTripTimes
RoundTrips::times() const
{
    if (!total_) {
        return {};
    }
    uint64_t last = total_ - 1;
    return {total_, longest(last / 2), longest(last - last / 100),
            longest(last - last / 1000)};
}

} // namespace netvsc::host
