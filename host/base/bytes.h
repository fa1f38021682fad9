/* Copies between byte spans and wire structures.
 *
 * Everything from a guest is first copied to private memory; these are the
 * only ways in which the host reads or writes a structure. */

#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace netvsc::host {

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

/* The T at `offset`, which must lie inside `from`. */
template <typename T>
[[nodiscard]] T
load(Bytes from, size_t offset = 0)
{
    static_assert(std::is_trivially_copyable_v<T>);
    assert(offset <= from.size() && sizeof(T) <= from.size() - offset);

    T value;
    std::memcpy(&value, from.data() + offset, sizeof value);
    return value;
}

/* The same from memory that a guest may change meanwhile: the compiler must
 * not fetch a field a second time after it was checked. */
template <typename T>
[[nodiscard]] T
load_once(Bytes from, size_t offset = 0)
{
    T value = load<T>(from, offset);
    asm volatile("" : "+m"(value));
    return value;
}

/* Writes `value` at `offset`; it must fit. */
template <typename T>
void
store(MutableBytes to, size_t offset, const T &value)
{
    static_assert(std::is_trivially_copyable_v<T>);
    assert(offset <= to.size() && sizeof(T) <= to.size() - offset);

    std::memcpy(to.data() + offset, &value, sizeof value);
}

template <typename T>
[[nodiscard]] Bytes
bytes_of(const T &value)
{
    static_assert(std::is_trivially_copyable_v<T>);
    return std::as_bytes(std::span(&value, 1));
}

[[nodiscard]] constexpr uint64_t
round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

} // namespace netvsc::host
