/* Reading the time stamp counter around something short. */

#pragma once

#include <cstdint>

#include <x86intrin.h>

namespace netvsc::bench {

/* The counter, once everything before it is done: loads and computations by
 * LFENCE, stores by MFENCE.  So each contender pays for what it wrote, and
 * nothing that follows moves in front of it. */
[[nodiscard]] inline uint64_t
read_cycles()
{
    _mm_mfence();
    _mm_lfence();
    uint64_t cycles = __rdtsc();
    _mm_lfence();
    return cycles;
}

} // namespace netvsc::bench
