/* Ethernet frames as they are on the wire: the few offsets that a virtual
 * switch port looks at. */

#pragma once

#include <bit>

#include "host/base/bytes.h"

namespace netvsc::host {

inline constexpr size_t kEthernetHeader = 14;
inline constexpr size_t kEthernetAddress = 6;
inline constexpr size_t kEthernetTypeAt = 12;
inline constexpr size_t kVlanTagSize = 4;

inline constexpr uint16_t kEthernetIpv4 = 0x0800;
inline constexpr uint16_t kEthernetVlan = 0x8100;
inline constexpr uint16_t kEthernetIpv6 = 0x86dd;
inline constexpr uint16_t kEthernetServiceVlan = 0x88a8;

/* Swaps on the little-endian machines that wire/ supports. */
[[nodiscard]] constexpr uint16_t
host_to_be16(uint16_t value)
{
    return static_cast<uint16_t>(value << 8 | value >> 8);
}

[[nodiscard]] inline uint16_t
load_be16(Bytes bytes, size_t offset)
{
    return host_to_be16(load<uint16_t>(bytes, offset));
}

inline void
store_be16(MutableBytes bytes, size_t offset, uint16_t value)
{
    store(bytes, offset, host_to_be16(value));
}

[[nodiscard]] inline bool
is_tagged(Bytes frame)
{
    return frame.size() >= kEthernetHeader + kVlanTagSize &&
           load_be16(frame, kEthernetTypeAt) == kEthernetVlan;
}

/* A frame with at least a header, and no longer than an L3 MTU of `mtu`
 * allows; a tag does not count. */
[[nodiscard]] inline bool
fits_mtu(Bytes frame, uint32_t mtu)
{
    size_t tag = is_tagged(frame) ? kVlanTagSize : 0;
    return frame.size() >= kEthernetHeader &&
           frame.size() - tag <= kEthernetHeader + mtu;
}

} // namespace netvsc::host
