/* NVSP messages as packets of a ring (D.3, D.6). */

#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "driver/ring.h"
#include "wire/nvsp.h"

namespace netvsc {

/* An NVSP message as a ring packet: descriptor and 40 bytes, 7 words. */
using NvspPacket = std::array<uint64_t, 7>;

/* Two values of an NVSP message, the first one in front. */
constexpr uint64_t
message_word(uint32_t first, uint32_t second) noexcept
{
    return first | uint64_t{second} << 32;
}

/* Makes a packet of `message`; `trans_id` 0 and no flag: no completion. */
template <typename Message>
NvspPacket
make_nvsp_packet(const Message &message, uint64_t trans_id, bool completion)
{
    NvspPacket packet = {
        descriptor_word(wire::kPacketInband, std::tuple_size_v<NvspPacket>,
                        completion ? wire::kCompletionRequested : 0),
        trans_id};
    static_assert(sizeof message <= wire::nvsp::kMessageSize);
    std::memcpy(&packet[2], &message, sizeof message);
    return packet;
}

/* The packet for the `bytes` of frames in a send section (D.6).  As
 * make_nvsp_packet(), but out of registers. */
constexpr NvspPacket
make_section_packet(uint32_t section, uint32_t bytes,
                    uint64_t trans_id) noexcept
{
    return {descriptor_word(wire::kPacketInband, std::tuple_size_v<NvspPacket>,
                            wire::kCompletionRequested),
            trans_id,
            message_word(wire::nvsp::kSendRndisPacket,
                         wire::nvsp::kChannelTypeData),
            message_word(section, bytes)};
}

/* What answers a transfer-pages packet: its sub-allocations are the host's
 * again. */
constexpr uint64_t
receive_completion(bool failed) noexcept
{
    return message_word(wire::nvsp::kSendRndisPacketComplete,
                        failed ? wire::nvsp::kStatusFailure
                               : wire::nvsp::kStatusSuccess);
}

} // namespace netvsc
