/* A statistics counter: one writer at a time, any number of readers. */

#pragma once

#include <atomic>
#include <cstdint>

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

} // namespace netvsc
