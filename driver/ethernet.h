/* Ethernet sizes that more than one part of the driver needs. */

#pragma once

#include <cstdint>

namespace netvsc {

/* Both addresses, in front of a frame's type or tag. */
inline constexpr uint32_t kEthernetAddresses = 12;
/* And the type: what is shorter is no frame, and NDIS counts it into the MTU
 * (reference D.3, E.3). */
inline constexpr uint32_t kEthernetHeader = 14;
/* An 802.1Q tag: type and TCI. */
inline constexpr uint32_t kVlanTag = 4;

} // namespace netvsc
