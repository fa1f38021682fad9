/* RNDIS PACKET messages: an Ethernet frame with its per-packet info (E.3). */

#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "driver/frame.h"
#include "driver/statistics.h"
#include "wire/rndis.h"

namespace netvsc {

/* Reads one PACKET message in `range`, which the host can write meanwhile:
 * every field is copied once, checked, and used from the copy.  On success
 * `fragment` is the frame's data and `frame` describes it; otherwise the
 * cause is returned. */
[[nodiscard]] std::optional<Malformed>
parse_rndis_packet(std::span<const uint8_t> range, netvsc_fragment *fragment,
                   netvsc_rx_frame *frame) noexcept;

/* Bytes of header in front of a frame that goes out, VLAN element included
 * or not. */
inline constexpr uint32_t kTxHeaderSize = sizeof(wire::rndis::Packet);
inline constexpr uint32_t kTxHeaderSizeVlan =
    kTxHeaderSize + sizeof(wire::rndis::PerPacketInfo32);

/* Whether the frame starts with an 802.1Q tag that must leave it (E.7). */
[[nodiscard]] bool has_vlan_tag(const netvsc_tx_frame &frame) noexcept;

/* Length of the message that build_rndis_packet() makes. */
[[nodiscard]] uint32_t rndis_packet_size(const netvsc_tx_frame &frame,
                                         bool vlan) noexcept;

/* Writes the message to `to`, which has rndis_packet_size() bytes. */
void build_rndis_packet(const netvsc_tx_frame &frame, bool vlan,
                        uint8_t *to) noexcept;

} // namespace netvsc
