/* RNDIS PACKETs to the guest: header and per-packet info in front of a frame
 * (E.3, E.4). */

#pragma once

#include <array>

#include "host/base/checksum.h"
#include "wire/rndis.h"

namespace netvsc::host {

/* Frame data start here in a sub-allocation: room for the header and any
 * per-packet info, as openvmm has it (E.10). */
inline constexpr uint32_t kDataAt = 256;

/* Put together in private memory, then copied in one go. */
class MessageHead {
public:
    /* Elements that one message can have. */
    static constexpr size_t kMaxElements = 4;

    void
    add_info(uint32_t type, uint32_t value)
    {
        wire::rndis::PerPacketInfo32 element{};
        element.info.size = sizeof element;
        element.info.type = type;
        element.info.offset = sizeof element.info;
        element.value = value;
        store(bytes_, size_, element);
        size_ += sizeof element;
    }
    /* Which checksums the guest need not examine; nothing for none. */
    void
    add_verdict(const ChecksumVerdict &verdict)
    {
        using namespace wire::rndis;
        if (verdict.any()) {
            add_info(kPpiChecksum,
                     (verdict.ip_header ? kRxChecksumIpSucceeded : 0) |
                         (verdict.tcp ? kRxChecksumTcpSucceeded : 0) |
                         (verdict.udp ? kRxChecksumUdpSucceeded : 0));
        }
    }
    /* The message of a frame of so many bytes at kDataAt; returns how long
     * its head is. */
    uint32_t
    write(MutableBytes to, uint32_t frame_size)
    {
        wire::rndis::Packet packet{};
        auto info = static_cast<uint32_t>(size_ - sizeof packet);
        packet.header = {wire::rndis::kPacket, kDataAt + frame_size};
        packet.data_offset = kDataAt - wire::rndis::kOffsetBase;
        packet.data_length = frame_size;
        packet.ppi_offset = info ? wire::rndis::kPpiOffset : 0;
        packet.ppi_length = info;
        store(bytes_, 0, packet);
        std::memcpy(to.data(), bytes_.data(), size_);
        return static_cast<uint32_t>(size_);
    }

private:
    static constexpr size_t kLongest =
        sizeof(wire::rndis::Packet) +
        kMaxElements * sizeof(wire::rndis::PerPacketInfo32);
    static_assert(kLongest <= kDataAt);

    std::array<std::byte, kLongest> bytes_;
    size_t size_ = sizeof(wire::rndis::Packet);
};

} // namespace netvsc::host
