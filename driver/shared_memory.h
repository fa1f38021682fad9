/* Memory that the host can write at any time: what is checked has to be what
 * is used. */

#pragma once

#include <cstdint>
#include <cstring>

namespace netvsc {

/* A copy of the value at `from`, at any alignment.  Of a plain memcpy() the
 * compiler may load a member once to check it and once more to use it. */
template <typename T>
[[nodiscard]] T
read_shared(const uint8_t *from) noexcept
{
    T value;
    std::memcpy(&value, from, sizeof value);
    /* Says that the copy is changed here, so that nothing which comes later
     * can be had from the original. */
    asm volatile("" : "+m"(value));
    return value;
}

} // namespace netvsc
