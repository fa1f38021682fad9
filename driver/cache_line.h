/* What is written by one thread and read by another begins a new line, so
 * that neither takes from the other what it does not mean to. */

#pragma once

#include <cstddef>

namespace netvsc {

/* Of x86-64 and of the arm64 machines that run Hyper-V.  A constant of ours,
 * because the standard's depends on the compiler's options. */
inline constexpr size_t kCacheLine = 64;

} // namespace netvsc
