/* Reads of memory that the host can write at any time: the value that is
 * checked must be the value that is used. */

#pragma once

#include <cstdint>
#include <cstring>

namespace netvsc {

/* A copy of the value at `from`, at any alignment.  With a plain memcpy() the
 * compiler may load a member once to check it and once more to use it. */
template <typename T>
[[nodiscard]] T
read_shared(const uint8_t *from) noexcept
{
    T value;
    std::memcpy(&value, from, sizeof value);
    /* Compiler barrier: from here on the value comes from the copy, never
     * again from shared memory. */
    asm volatile("" : "+m"(value));
    return value;
}

} // namespace netvsc
