/* Counters of the data path: one writer at a time, any number of readers. */

#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <utility>

#include "driver/statistics.h"

namespace netvsc {

/* No read-modify-write: the writer is the only one, whoever holds the queue.
 * Readers see a value that is a moment old. */
class Counter {
public:
    void
    add(uint64_t n = 1) noexcept
    {
        value_.store(get() + n, std::memory_order_relaxed);
    }
    uint64_t
    get() const noexcept
    {
        return value_.load(std::memory_order_relaxed);
    }

private:
    std::atomic<uint64_t> value_{0};
};

/* All that one writer counts, but for frames. */
class Counters {
public:
    void
    add(Count count, uint64_t n = 1) noexcept
    {
        counts_[static_cast<unsigned>(count)].add(n);
    }
    void
    add(Malformed cause) noexcept
    {
        malformed_[static_cast<unsigned>(cause)].add();
    }
    [[nodiscard]] uint64_t
    get(Count count) const noexcept
    {
        return counts_[static_cast<unsigned>(count)].get();
    }
    /* Any thread. */
    void
    add_to(Statistics *statistics) const noexcept
    {
        for (unsigned i = 0; i < kCounts; i++) {
            statistics->counts[i] += counts_[i].get();
        }
        for (unsigned i = 0; i < kMalformedCauses; i++) {
            statistics->malformed[i] += malformed_[i].get();
        }
    }

private:
    std::array<Counter, kCounts> counts_;
    std::array<Counter, kMalformedCauses> malformed_;
};

/* The frames of one burst, in registers and on the stack. */
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

/* The frames of a queue's life. */
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
    void
    add_multicast(uint64_t n) noexcept
    {
        multicast_.add(n);
    }
    /* Any thread. */
    void
    add_to(FrameStatistics *frames) const noexcept
    {
        frames->bytes += bytes_.get();
        frames->multicast += multicast_.get();
        for (unsigned i = 0; i < bins_.size(); i++) {
            frames->size_bins[i] += bins_[i].get();
        }
    }

private:
    Counter bytes_, multicast_;
    std::array<Counter, kSizeBinLimits.size()> bins_;
};

} // namespace netvsc
