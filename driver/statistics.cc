#include "driver/statistics.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace netvsc {

namespace {

template <std::size_t N>
uint64_t
sum(const std::array<uint64_t, N> &values)
{
    return std::accumulate(values.begin(), values.end(), uint64_t{0});
}

template <std::size_t N>
void
add(std::array<uint64_t, N> *to, const std::array<uint64_t, N> &from)
{
    for (std::size_t i = 0; i < N; i++) {
        (*to)[i] += from[i];
    }
}

void
add(FrameStatistics *to, const FrameStatistics &from)
{
    to->bytes += from.bytes;
    to->multicast += from.multicast;
    add(&to->size_bins, from.size_bins);
}

} // namespace

uint64_t
FrameStatistics::packets() const
{
    return sum(size_bins);
}

uint64_t
Statistics::all_malformed() const
{
    return sum(malformed);
}

Statistics &
Statistics::operator+=(const Statistics &other)
{
    add(&rx, other.rx);
    add(&tx, other.tx);
    add(&counts, other.counts);
    add(&malformed, other.malformed);
    tx_biggest_refused =
        std::max(tx_biggest_refused, other.tx_biggest_refused);
    return *this;
}

} // namespace netvsc
