#include "driver/rndis_shape.h"

namespace netvsc {

using namespace wire::rndis;

uint16_t
rx_checksum_flags(uint32_t value) noexcept
{
    uint16_t flags = 0;
    if (value & kRxChecksumIpSucceeded) {
        flags |= NETVSC_RX_IP_GOOD;
    } else if (value & kRxChecksumIpFailed) {
        flags |= NETVSC_RX_IP_BAD;
    }
    if (value & (kRxChecksumTcpSucceeded | kRxChecksumUdpSucceeded)) {
        flags |= NETVSC_RX_L4_GOOD;
    } else if (value & (kRxChecksumTcpFailed | kRxChecksumUdpFailed)) {
        flags |= NETVSC_RX_L4_BAD;
    }
    return flags;
}

void
RndisShape::set_verdict(uint32_t checksum) noexcept
{
    last_checksum_ = checksum;
    flags_ = element_flags_ | (rx_checksum_flags(checksum) & verdict_mask_);
}

void
RndisShape::expect(uint32_t at, const void *bytes, uint32_t size) noexcept
{
    std::memcpy(reinterpret_cast<uint8_t *>(expected_.data()) + at, bytes,
                size);
    std::memset(reinterpret_cast<uint8_t *>(mask_.data()) + at, 0xff, size);
}

void
RndisShape::begin(const Packet &packet) noexcept
{
    readable_ = kNever;
    expected_ = {};
    mask_ = {};
    expect(0, &packet, sizeof packet);
    uint32_t ignored = 0;
    std::memcpy(reinterpret_cast<uint8_t *>(mask_.data()) +
                    offsetof(Header, length),
                &ignored, sizeof ignored);
    std::memcpy(reinterpret_cast<uint8_t *>(mask_.data()) +
                    offsetof(Packet, data_length),
                &ignored, sizeof ignored);

    element_flags_ = verdict_mask_ = 0;
    checksum_at_ = hash_at_ = vlan_at_ = 0;
    data_at_ = kOffsetBase + packet.data_offset;
    end_ = sizeof packet + packet.ppi_length;
    /* Elements anywhere else, or behind the frame, are for the full walk. */
    known_form_ =
        (packet.ppi_length == 0 || packet.ppi_offset == kPpiOffset) &&
        end_ <= kMaxBytes && data_at_ >= end_;
}

void
RndisShape::add(uint32_t at, const PerPacketInfo &element,
                uint32_t value_at) noexcept
{
    if (!known_form_) {
        return;
    }
    expect(at, &element, sizeof element);
    auto note = [&](size_t *where, bool first) {
        /* Of two elements of a kind the last counts, or both. */
        known_form_ &= first;
        *where = value_at;
    };
    switch (value_at ? element.type : kPpiInternal) {
    case kPpiChecksum:
        note(&checksum_at_, verdict_mask_ == 0);
        verdict_mask_ = UINT16_MAX;
        break;
    case kPpiHashValue:
        note(&hash_at_, !(element_flags_ & NETVSC_RX_HASH));
        element_flags_ |= NETVSC_RX_HASH;
        break;
    case kPpiVlan:
        note(&vlan_at_, !(element_flags_ & NETVSC_RX_VLAN));
        element_flags_ |= NETVSC_RX_VLAN;
        break;
    }
}

void
RndisShape::end() noexcept
{
    if (known_form_) {
        vectors_ = (end_ + sizeof(Vector) - 1) / sizeof(Vector);
        readable_ = vectors_ * sizeof(Vector);
        set_verdict(last_checksum_);
    }
}

} // namespace netvsc
