/* RNDIS PACKET messages: an Ethernet frame with its per-packet info (E.3). */

#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "driver/counts.h"
#include "driver/ethernet.h"
#include "driver/frame.h"
#include "driver/rndis_shape.h"
#include "wire/rndis.h"

namespace netvsc {

/* Reads one PACKET message in `range`, which the host can write meanwhile:
 * every field is copied once, checked, and used from the copy.  On success
 * `fragment` is the frame's data, `frame` describes it and `shape`, unless
 * null, knows the message's form; otherwise the cause is returned. */
[[nodiscard]] std::optional<Malformed>
parse_rndis_packet(std::span<const uint8_t> range, netvsc_fragment *fragment,
                   netvsc_rx_frame *frame, RndisShape *shape) noexcept;

/* Bytes of header in front of a frame that goes out, VLAN element included
 * or not. */
inline constexpr uint32_t kTxHeaderSize = sizeof(wire::rndis::Packet);
inline constexpr uint32_t kTxHeaderSizeVlan =
    kTxHeaderSize + sizeof(wire::rndis::PerPacketInfo32);

/* The most that a message is longer than its frame without tags: the outer tag
 * in the element, the other one in the frame. */
inline constexpr uint32_t kTxOverhead = kTxHeaderSizeVlan + kVlanTag;

/* Whether these two bytes, behind the addresses, begin an 802.1Q tag. */
[[nodiscard]] inline bool
is_vlan_tag(const uint8_t *at) noexcept
{
    constexpr std::array<uint8_t, 2> kTagType = {0x81, 0x00};
    uint16_t type;
    std::memcpy(&type, at, sizeof type);
    return type == std::bit_cast<uint16_t>(kTagType);
}

/* Whether the frame starts with an 802.1Q tag that must leave it (E.7). */
[[nodiscard]] inline bool
has_vlan_tag(const netvsc_tx_frame &frame) noexcept
{
    return frame.size >= kEthernetHeader + kVlanTag &&
           is_vlan_tag(frame.data + kEthernetAddresses);
}

/* Tags beside which a frame is still let through at its full size: those of a
 * provider's network around a customer's. */
inline constexpr uint32_t kMostTags = 2;

/* Bytes of the tags, 802.1Q or 802.1ad, behind the frame's addresses: they do
 * not count against the MTU. */
[[nodiscard]] inline uint32_t
tag_bytes(const netvsc_tx_frame &frame) noexcept
{
    auto is_tag = [](const uint8_t *at) {
        return is_vlan_tag(at) || (at[0] == 0x88 && at[1] == 0xa8);
    };
    uint32_t bytes = 0;
    while (bytes < kMostTags * kVlanTag &&
           frame.size >= kEthernetHeader + bytes + kVlanTag &&
           is_tag(frame.data + kEthernetAddresses + bytes)) {
        bytes += kVlanTag;
    }
    return bytes;
}

/* Length of the message with a frame of `size` bytes, without padding. */
[[nodiscard]] inline uint32_t
rndis_packet_size(uint32_t size, bool vlan) noexcept
{
    return vlan ? kTxHeaderSizeVlan + size - kVlanTag : kTxHeaderSize + size;
}

/* Writes the message of a frame with a tag to `to`.  `length`: its
 * rndis_packet_size() and the padding, which is not written. */
void build_tagged_rndis_packet(const netvsc_tx_frame &frame, uint32_t length,
                               uint8_t *to) noexcept;

/* Writes the header for a frame of `size` bytes without a tag; returns where
 * the frame goes. */
inline uint8_t *
put_rndis_header(uint32_t size, uint32_t length, uint8_t *to) noexcept
{
    /* Four words that say something, and zeros (E.3); by hand, because a
     * struct would be put together on the stack and copied. */
    auto pair = [](uint32_t low, uint32_t high) {
        return low | uint64_t{high} << 32;
    };
    uint64_t front[] = {pair(wire::rndis::kPacket, length),
                        pair(kTxHeaderSize - wire::rndis::kOffsetBase, size)};
    std::memcpy(to, &front[0], sizeof front[0]);
    std::memcpy(to + sizeof front[0], &front[1], sizeof front[1]);
    std::memset(to + sizeof front, 0, kTxHeaderSize - sizeof front);
    return to + kTxHeaderSize;
}

} // namespace netvsc
