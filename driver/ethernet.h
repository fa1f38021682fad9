/* Ethernet sizes that several parts of driver and provider need. */

#pragma once

#include <cstdint>

namespace netvsc {

/* Both addresses, in front of a frame's type or tag. */
inline constexpr uint32_t kEthernetAddresses = 12;
/* And the type: what is shorter is no frame, and NDIS counts it into the MTU
 * (D.3, E.3). */
inline constexpr uint32_t kEthernetHeader = 14;
/* An 802.1Q tag: type and TCI. */
inline constexpr uint32_t kVlanTag = 4;
/* Bit of an address's first byte: of a group of stations, not of one. */
inline constexpr uint8_t kGroupAddress = 0x01;
/* The smallest MTU that IPv4 knows (RFC 791), and Linux's smallest. */
inline constexpr uint32_t kMinMtu = 68;
/* Ethernet's own. */
inline constexpr uint32_t kUsualMtu = 1500;
/* The largest that hosts take, 9216 bytes with the header: asked for more,
 * they behave as if asked for nothing (D.3). */
inline constexpr uint32_t kMostMtu = 9216 - kEthernetHeader;

} // namespace netvsc
