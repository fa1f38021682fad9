/* Cache lines: data that one thread writes and another reads begin a new one,
 * to avoid false sharing.
 *
 * A neighbour on the heap may be anything, so whatever a thread touches for
 * each burst is of an aligned class or in a LineVector.  Who writes what is in
 * doc/architecture.md. */

#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace netvsc {

/* Cache-line size of x86-64 and of the arm64 machines that run Hyper-V.  A
 * constant of ours, because the standard's depends on the compiler's options.
 */
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
