#include "driver/rndis_packet.h"

#include <cstring>

#include "driver/ethernet.h"
#include "driver/shared_memory.h"

namespace netvsc {

using namespace wire::rndis;

namespace {

uint16_t
read_be16(const uint8_t *at)
{
    return static_cast<uint16_t>(at[0] << 8 | at[1]);
}

uint32_t
tci_to_vlan(uint16_t tci)
{
    return (tci >> 13 & kVlanPriorityMask) | (tci & 1u << 12 ? kVlanCfi : 0) |
           (tci & kVlanIdMask) << kVlanIdShift;
}

/* Walks the elements in `area`, `at` bytes into the message; each must lie
 * in what is left, so that the walk always advances (H.1: Linux does not). */
bool
parse_elements(std::span<const uint8_t> area, uint32_t at,
               netvsc_rx_frame *frame, RndisShape *shape)
{
    while (!area.empty()) {
        if (area.size() < sizeof(PerPacketInfo)) {
            return false;
        }
        auto info = read_shared<PerPacketInfo>(area.data());
        uint32_t size = info.size;
        if (size < sizeof info || size > area.size() || size % 4 != 0) {
            return false;
        }
        bool known = info.type == kPpiChecksum || info.type == kPpiVlan ||
                     info.type == kPpiHashValue;
        if (shape) {
            shape->add(at, info, known ? at + info.offset : 0);
        }
        if (known) {
            uint32_t offset = info.offset;
            if (offset < sizeof info || size < sizeof(PerPacketInfo32) ||
                offset > size - sizeof(uint32_t)) {
                return false;
            }
            auto value = read_shared<uint32_t>(area.data() + offset);
            switch (info.type) {
            case kPpiChecksum:
                frame->flags |= rx_checksum_flags(value);
                break;
            case kPpiVlan:
                frame->flags |= NETVSC_RX_VLAN;
                frame->vlan_tci = vlan_to_tci(value);
                break;
            case kPpiHashValue:
                frame->flags |= NETVSC_RX_HASH;
                frame->rss_hash = value;
                break;
            }
        }
        area = area.subspan(size);
        at += size;
    }
    return true;
}

/* `offset` (relative to byte 8) and `length` lie in a message of `size`. */
bool
inside(uint32_t offset, uint32_t length, uint32_t size)
{
    return offset <= size - kOffsetBase &&
           length <= size - kOffsetBase - offset;
}

} // namespace

std::optional<Malformed>
parse_rndis_packet(std::span<const uint8_t> range, netvsc_fragment *fragment,
                   netvsc_rx_frame *frame, RndisShape *shape) noexcept
{
    if (range.size() < sizeof(Packet)) {
        return Malformed::kRndisHeader;
    }
    auto packet = read_shared<Packet>(range.data());
    if (packet.header.type != kPacket ||
        packet.header.length < sizeof packet ||
        packet.header.length > range.size()) {
        return Malformed::kRndisHeader;
    }
    uint32_t length = packet.header.length;
    if (packet.data_offset < kPpiOffset ||
        packet.data_length < kEthernetHeader ||
        packet.data_length > kMaxRxFrame ||
        !inside(packet.data_offset, packet.data_length, length)) {
        return Malformed::kRndisData;
    }
    frame->flags = 0;
    frame->rss_hash = 0;
    if (shape) {
        shape->begin(packet);
    }
    if (packet.ppi_length != 0) {
        if (packet.ppi_offset < kPpiOffset ||
            !inside(packet.ppi_offset, packet.ppi_length, length) ||
            !parse_elements(range.subspan(kOffsetBase + packet.ppi_offset,
                                          packet.ppi_length),
                            kOffsetBase + packet.ppi_offset, frame, shape)) {
            return Malformed::kRndisPpi;
        }
    }
    if (shape) {
        shape->end();
    }
    fragment->data = range.data() + kOffsetBase + packet.data_offset;
    fragment->size = packet.data_length;
    frame->fragments = fragment;
    frame->n_fragments = 1;
    frame->size = packet.data_length;
    return std::nullopt;
}

void
build_tagged_rndis_packet(const netvsc_tx_frame &frame, uint32_t length,
                          uint8_t *to) noexcept
{
    struct [[gnu::packed]] {
        Packet packet;
        PerPacketInfo32 vlan;
    } header = {};
    uint32_t size = frame.size - kVlanTag;
    header.packet.header = {kPacket, length};
    header.packet.data_offset = kTxHeaderSizeVlan - kOffsetBase;
    header.packet.data_length = size;
    header.packet.ppi_offset = kPpiOffset;
    header.packet.ppi_length = sizeof header.vlan;
    header.vlan.info = {sizeof header.vlan, kPpiVlan, sizeof header.vlan.info};
    header.vlan.value =
        tci_to_vlan(read_be16(frame.data + kEthernetAddresses + 2));
    std::memcpy(to, &header, sizeof header);
    to += sizeof header;
    std::memcpy(to, frame.data, kEthernetAddresses);
    std::memcpy(to + kEthernetAddresses,
                frame.data + kEthernetAddresses + kVlanTag,
                frame.size - kEthernetAddresses - kVlanTag);
}

} // namespace netvsc
