/* What is written by one thread and read by another begins a new line, so
 * that neither takes from the other what it does not mean to.
 *
 * On the heap a neighbour may be anybody's: what a thread touches for each
 * burst is of an aligned class, or in a LineVector.  Who writes what is in
 * doc/performance.md. */

#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace netvsc {

/* Of x86-64 and of the arm64 machines that run Hyper-V.  A constant of ours,
 * because the standard's depends on the compiler's options. */
inline constexpr size_t kCacheLine = 64;

/* Whole lines of the heap. */
template <typename T>
struct LineAllocator {
    using value_type = T;

    LineAllocator() = default;
    template <typename U>
    LineAllocator(const LineAllocator<U> &) noexcept
    {
    }

    [[nodiscard]] T *
    allocate(size_t n)
    {
        size_t bytes =
            (n * sizeof(T) + kCacheLine - 1) / kCacheLine * kCacheLine;
        return static_cast<T *>(
            ::operator new (bytes, std::align_val_t{kCacheLine}));
    }
    void
    deallocate(T *p, size_t) noexcept
    {
        ::operator delete (p, std::align_val_t{kCacheLine});
    }
    bool operator==(const LineAllocator &) const = default;
};

/* An array that shares no line with anything else. */
template <typename T>
using LineVector = std::vector<T, LineAllocator<T>>;

} // namespace netvsc
