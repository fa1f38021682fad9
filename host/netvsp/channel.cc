#include "host/netvsp/channel.h"

#include <algorithm>

namespace netvsc::host {

Channel::Channel(ChannelLink &link, Counters &counters, Trace &trace)
    : to_host_(link.to_host_ring()), to_guest_(link.to_guest_ring()),
      link_(link), counters_(counters), trace_(trace)
{
}

IncomingRing::Result
Channel::read(RingPacket &packet)
{
    IncomingRing::Result result = to_host_.read(packet);
    if (result == IncomingRing::Result::kPacket) {
        trace_.record(TraceKind::kToHost, packet.with_trailer,
                      packet.position);
    }
    return result;
}

namespace {

/* Fields go to their place one by one: a copy of a structure that was just
 * written would have to wait until it is. */
void
store_descriptor(MutableBytes packet, uint16_t type, size_t payload,
                 uint16_t flags, uint64_t trans_id)
{
    using Descriptor = wire::PacketDescriptor;
    store(packet, offsetof(Descriptor, type), type);
    store(packet, offsetof(Descriptor, offset8),
          static_cast<uint16_t>(payload / wire::kRingUnit));
    store(packet, offsetof(Descriptor, len8),
          static_cast<uint16_t>(packet.size() / wire::kRingUnit));
    store(packet, offsetof(Descriptor, flags), flags);
    store(packet, offsetof(Descriptor, trans_id), trans_id);
}

} // namespace

MutableBytes
Channel::start(size_t size)
{
    MutableBytes place = trace_.on() ? MutableBytes() : to_guest_.place(size);
    return place.empty() ? MutableBytes(packet_).first(size) : place;
}

void
Channel::finish(Bytes packet)
{
    if (trace_.on()) {
        uint32_t position = to_guest_.position();
        store(packet_, packet.size(), ring_trailer(position));
        trace_.record(TraceKind::kToGuest,
                      Bytes(packet_).first(packet.size() + wire::kTrailerSize),
                      position);
    }
    to_guest_.write(packet);
}

void
Channel::complete(uint64_t trans_id, Bytes message)
{
    constexpr size_t kHeader = sizeof(wire::PacketDescriptor);
    /* Every reply is 40 bytes long, zero padded (D.4); an empty one has no
     * payload at all (D.8). */
    size_t size = kHeader + (message.empty() ? 0 : wire::nvsp::kMessageSize);
    MutableBytes packet = start(size);

    store_descriptor(packet, wire::kPacketCompletion, kHeader, 0, trans_id);
    std::copy(message.begin(), message.end(), packet.begin() + kHeader);
    std::memset(packet.data() + kHeader + message.size(), 0,
                size - kHeader - message.size());
    finish(packet);
}

void
Channel::notify(Bytes message)
{
    constexpr size_t kHeader = sizeof(wire::PacketDescriptor);
    size_t size = kHeader + round_up(message.size(), wire::kRingUnit);
    MutableBytes packet = start(size);

    store_descriptor(packet, wire::kPacketInband, kHeader, 0, 0);
    std::copy(message.begin(), message.end(), packet.begin() + kHeader);
    std::memset(packet.data() + kHeader + message.size(), 0,
                size - kHeader - message.size());
    finish(packet);
}

void
Channel::transfer(uint64_t trans_id, uint32_t channel_type,
                  std::span<const wire::TransferPageRange> ranges)
{
    size_t payload = sizeof(wire::TransferPagesHeader) + ranges.size_bytes();
    size_t size = payload + wire::nvsp::kMessageSize;
    MutableBytes packet = start(size);

    using Header = wire::TransferPagesHeader;
    store_descriptor(packet, wire::kPacketTransferPages, payload,
                     wire::kCompletionRequested, trans_id);
    store(packet, offsetof(Header, set_id), wire::nvsp::kReceiveBufferId);
    store(packet, offsetof(Header, sender_owns_set), uint16_t{0});
    store(packet, offsetof(Header, range_count),
          static_cast<uint32_t>(ranges.size()));
    std::memcpy(packet.data() + sizeof(Header), ranges.data(),
                ranges.size_bytes());

    wire::nvsp::SendRndisPacket message{};
    message.type = wire::nvsp::kSendRndisPacket;
    message.channel_type = channel_type;
    message.section_index = wire::nvsp::kNoSection;
    store(packet, payload, message);
    std::memset(packet.data() + payload + sizeof message, 0,
                wire::nvsp::kMessageSize - sizeof message);
    finish(packet);
    counters_.rx.ring_packets++;
}

void
Channel::publish()
{
    bool space = to_host_.publish();
    bool packets = to_guest_.publish();
    if (space || packets) {
        counters_.signals++;
        link_.interrupt();
    }
}

const char *
Channel::fault() const
{
    if (to_host_.fault()) {
        return to_host_.fault();
    }
    return to_guest_.broken() ? "read index of the ring to the guest out of "
                                "range"
                              : nullptr;
}

} // namespace netvsc::host
