#include "tests/bench/floor.h"

#include <atomic>
#include <cstddef>
#include <cstring>

#include "wire/nvsp.h"
#include "wire/ring.h"
#include "wire/rndis.h"

namespace netvsc::bench {

namespace {

namespace rndis = wire::rndis;

constexpr size_t kWriteIndex = offsetof(wire::RingControl, write_index);
constexpr size_t kReadIndex = offsetof(wire::RingControl, read_index);

/* Places in ring packets, in bytes. */
constexpr uint32_t kTransId = offsetof(wire::PacketDescriptor, trans_id);
constexpr uint32_t kRangeCount = sizeof(wire::PacketDescriptor);
constexpr uint32_t kRanges = sizeof(wire::TransferPagesHeader);

std::atomic_ref<uint32_t>
index(std::span<uint8_t> ring, size_t offset)
{
    return std::atomic_ref(
        *reinterpret_cast<uint32_t *>(ring.data() + offset));
}

uint32_t
low(uint64_t word)
{
    return static_cast<uint32_t>(word);
}

uint32_t
high(uint64_t word)
{
    return static_cast<uint32_t>(word >> 32);
}

uint64_t
pair(uint32_t low, uint32_t high)
{
    return low | uint64_t{high} << 32;
}

uint64_t
load(const uint8_t *from)
{
    uint64_t value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

/* The first word of a packet with its payload right behind the descriptor. */
constexpr uint64_t
descriptor(uint16_t type, uint16_t flags, uint16_t words)
{
    constexpr uint64_t kPayloadAt =
        sizeof(wire::PacketDescriptor) / wire::kRingUnit;
    return type | kPayloadAt << 16 | uint64_t{words} << 32 |
           uint64_t{flags} << 48;
}

/* What an element says (E.5, E.7). */
void
apply(uint32_t type, uint32_t value, FloorPacket *packet)
{
    auto flag = [value](uint32_t bits, netvsc_rx_flags then) {
        return static_cast<uint16_t>(value & bits ? then : 0);
    };
    switch (type) {
    case rndis::kPpiChecksum:
        packet->flags |=
            flag(rndis::kRxChecksumIpSucceeded, NETVSC_RX_IP_GOOD) |
            flag(rndis::kRxChecksumIpFailed, NETVSC_RX_IP_BAD) |
            flag(rndis::kRxChecksumTcpSucceeded |
                     rndis::kRxChecksumUdpSucceeded,
                 NETVSC_RX_L4_GOOD) |
            flag(rndis::kRxChecksumTcpFailed | rndis::kRxChecksumUdpFailed,
                 NETVSC_RX_L4_BAD);
        break;
    case rndis::kPpiHashValue:
        packet->rss_hash = value;
        packet->flags |= NETVSC_RX_HASH;
        break;
    case rndis::kPpiVlan:
        packet->vlan_tci = static_cast<uint16_t>(
            (value & rndis::kVlanPriorityMask) << 13 |
            (value & rndis::kVlanCfi ? 1 << 12 : 0) |
            (value >> rndis::kVlanIdShift & rndis::kVlanIdMask));
        packet->flags |= NETVSC_RX_VLAN;
        break;
    }
}

} // namespace

Floor::Floor(const Channel &channel)
    : channel_(channel),
      size_(static_cast<uint32_t>(channel.to_guest.size() - wire::kPageSize)),
      read_(index(channel.to_guest, kReadIndex).load()),
      write_(index(channel.to_host, kWriteIndex).load())
{
}

/* A word for us; packets go on at the front of the ring. */
uint64_t
Floor::word(uint32_t at) const noexcept
{
    at = at >= size_ ? at - size_ : at;
    return load(channel_.to_guest.data() + wire::kPageSize + at);
}

/* A packet for the host, which is never that far behind that there would be
 * no room: a burst is under way at the most. */
template <size_t Words>
void
Floor::put(const std::array<uint64_t, Words> &words) noexcept
{
    uint8_t *data = channel_.to_host.data() + wire::kPageSize;
    const uint64_t trailer = pair(0, write_);
    if (write_ + sizeof words + sizeof trailer < size_) {
        std::memcpy(data + write_, words.data(), sizeof words);
        write_ += sizeof words;
        std::memcpy(data + write_, &trailer, sizeof trailer);
        write_ += sizeof trailer;
        return;
    }
    auto put_word = [&](uint64_t word) {
        std::memcpy(data + write_, &word, sizeof word);
        write_ += wire::kRingUnit;
        write_ = write_ == size_ ? 0 : write_;
    };
    for (uint64_t word : words) {
        put_word(word);
    }
    put_word(trailer);
}

/* --- Receive ------------------------------------------------------------- */

/* One range: an RNDIS PACKET, checked and copied. */
bool
Floor::copy_frame(uint64_t range, FloorPacket *packet) const noexcept
{
    const uint32_t size = low(range), offset = high(range);
    if (size < sizeof(rndis::Packet) ||
        uint64_t{offset} + size > channel_.receive_buffer.size()) {
        return false;
    }
    const uint8_t *message = channel_.receive_buffer.data() + offset;
    const uint64_t header = load(message);
    const uint64_t data = load(message + offsetof(rndis::Packet, data_offset));
    const uint64_t ppi = load(message + offsetof(rndis::Packet, ppi_offset));
    const uint64_t data_at = uint64_t{low(data)} + rndis::kOffsetBase;
    const uint64_t ppi_at = uint64_t{low(ppi)} + rndis::kOffsetBase;
    const uint64_t ppi_end = ppi_at + high(ppi);
    if (low(header) != rndis::kPacket || high(header) > size ||
        data_at + high(data) > high(header) || ppi_end > high(header)) {
        return false;
    }
    packet->flags = 0;
    packet->size = high(data);
    for (uint64_t element = ppi_at; element < ppi_end;) {
        if (ppi_end - element < sizeof(rndis::PerPacketInfo32)) {
            return false;
        }
        /* Size and type; where the value is, and the value. */
        const uint64_t front = load(message + element);
        const uint64_t back = load(message + element + sizeof front);
        if (low(back) != sizeof(rndis::PerPacketInfo) ||
            low(front) < sizeof(rndis::PerPacketInfo32) ||
            low(front) > ppi_end - element) {
            return false;
        }
        apply(high(front), high(back), packet);
        element += low(front);
    }
    std::memcpy(packet->data, message + data_at, high(data));
    return true;
}

unsigned
Floor::receive(std::span<FloorPacket> packets) noexcept
{
    const uint32_t end =
        index(channel_.to_guest, kWriteIndex).load(std::memory_order_acquire);
    FloorPacket *packet = packets.data();
    size_t room = packets.size();
    while (read_ != end) {
        const uint64_t desc = word(read_);
        const uint32_t type = desc & 0xffff, payload = desc >> 16 & 0xffff,
                       words = desc >> 32 & 0xffff;
        if (type == wire::kPacketTransferPages) {
            const uint32_t ranges = high(word(read_ + kRangeCount));
            const uint64_t nvsp = word(read_ + payload * wire::kRingUnit);
            if (ranges > room || payload >= words ||
                kRanges + ranges * wire::kRingUnit >
                    payload * wire::kRingUnit ||
                nvsp != pair(wire::nvsp::kSendRndisPacket,
                             wire::nvsp::kChannelTypeData)) {
                break;
            }
            for (uint32_t i = 0; i < ranges; i++) {
                const uint64_t range =
                    word(read_ + kRanges + i * wire::kRingUnit);
                const bool good = copy_frame(range, packet);
                packet += good;
                room -= good;
            }
            put(std::array{descriptor(wire::kPacketCompletion, 0, 3),
                           word(read_ + kTransId),
                           pair(wire::nvsp::kSendRndisPacketComplete,
                                wire::nvsp::kStatusSuccess)});
        } else if (type != wire::kPacketCompletion) {
            break;
        }
        read_ += words * wire::kRingUnit + wire::kTrailerSize;
        read_ = read_ >= size_ ? read_ - size_ : read_;
    }
    index(channel_.to_guest, kReadIndex)
        .store(read_, std::memory_order_release);
    index(channel_.to_host, kWriteIndex)
        .store(write_, std::memory_order_release);
    return static_cast<unsigned>(packet - packets.data());
}

/* --- Transmit ------------------------------------------------------------ */

void
Floor::put_message(uint32_t section, uint32_t bytes) noexcept
{
    constexpr uint16_t kWords =
        (sizeof(wire::PacketDescriptor) + wire::nvsp::kMessageSize) /
        wire::kRingUnit;
    put(std::array<uint64_t, kWords>{
        descriptor(wire::kPacketInband, wire::kCompletionRequested, kWords),
        section,
        pair(wire::nvsp::kSendRndisPacket, wire::nvsp::kChannelTypeData),
        pair(section, bytes)});
}

void
Floor::send(std::span<const netvsc_tx_frame> frames) noexcept
{
    constexpr uint32_t kHeader = sizeof(rndis::Packet);
    const uint32_t section_size = channel_.section_size,
                   mask = channel_.alignment - 1;
    uint8_t *section = channel_.send_buffer.data();
    uint32_t number = 0, at = 0, last = 0, left = 0;
    for (const netvsc_tx_frame &frame : frames) {
        const uint32_t next = (at + mask) & ~mask;
        if (left == 0 || next + kHeader + frame.size > section_size) {
            if (number > 0) {
                put_message(number, at);
            }
            number++;
            section += section_size;
            at = 0;
            left = channel_.frames_per_message;
        } else if (next != at) {
            /* The padding belongs to the message before it (E.9). */
            const uint32_t length = next - last;
            std::memcpy(section + last + offsetof(rndis::Header, length),
                        &length, sizeof length);
            std::memset(section + at, 0, next - at);
            at = next;
        }
        const uint64_t front[] = {
            pair(rndis::kPacket, kHeader + frame.size),
            pair(kHeader - rndis::kOffsetBase, frame.size)};
        std::memcpy(section + at, front, sizeof front);
        std::memset(section + at + sizeof front, 0, kHeader - sizeof front);
        std::memcpy(section + at + kHeader, frame.data, frame.size);
        last = at;
        at += kHeader + frame.size;
        left--;
    }
    if (number > 0) {
        put_message(number, at);
    }
    index(channel_.to_host, kWriteIndex)
        .store(write_, std::memory_order_release);
}

} // namespace netvsc::bench
