#include "host/channel.h"

namespace netvsc::host {

Channel::Channel(FrontEnd &front_end, Counters &counters, Trace &trace)
    : to_host_(front_end.to_host_ring()), to_guest_(front_end.to_guest_ring()),
      front_end_(front_end), counters_(counters), trace_(trace)
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

void
Channel::complete(uint64_t trans_id, Bytes message)
{
    constexpr size_t kHeader = sizeof(wire::PacketDescriptor);
    wire::PacketDescriptor desc{};
    desc.type = wire::kPacketCompletion;
    desc.offset8 = kHeader / wire::kRingUnit;
    desc.trans_id = trans_id;

    /* Every reply is 40 bytes long, zero padded (D.4); an empty one has no
     * payload at all (D.8). */
    size_t size = kHeader;
    if (!message.empty()) {
        size += wire::nvsp::kMessageSize;
        MutableBytes payload =
            MutableBytes(packet_).subspan(kHeader, wire::nvsp::kMessageSize);
        std::memcpy(payload.data(), message.data(), message.size());
        std::memset(payload.data() + message.size(), 0,
                    payload.size() - message.size());
    }
    desc.len8 = static_cast<uint16_t>(size / wire::kRingUnit);
    store(packet_, 0, desc);
    write(size);
}

void
Channel::transfer(uint64_t trans_id, uint32_t channel_type,
                  std::span<const wire::TransferPageRange> ranges)
{
    size_t payload = sizeof(wire::TransferPagesHeader) + ranges.size_bytes();
    size_t size = payload + wire::nvsp::kMessageSize;

    wire::TransferPagesHeader header{};
    header.desc.type = wire::kPacketTransferPages;
    header.desc.offset8 = static_cast<uint16_t>(payload / wire::kRingUnit);
    header.desc.len8 = static_cast<uint16_t>(size / wire::kRingUnit);
    header.desc.flags = wire::kCompletionRequested;
    header.desc.trans_id = trans_id;
    header.set_id = wire::nvsp::kReceiveBufferId;
    header.range_count = static_cast<uint32_t>(ranges.size());
    store(packet_, 0, header);
    std::memcpy(packet_.data() + sizeof header, ranges.data(),
                ranges.size_bytes());

    wire::nvsp::SendRndisPacket message{};
    message.type = wire::nvsp::kSendRndisPacket;
    message.channel_type = channel_type;
    message.section_index = wire::nvsp::kNoSection;
    store(packet_, payload, message);
    std::memset(packet_.data() + payload + sizeof message, 0,
                wire::nvsp::kMessageSize - sizeof message);
    write(size);
    counters_.rx.ring_packets++;
}

void
Channel::write(size_t size)
{
    if (trace_.on()) {
        uint32_t position = to_guest_.position();
        store(packet_, size, ring_trailer(position));
        trace_.record(TraceKind::kToGuest,
                      Bytes(packet_).first(size + wire::kTrailerSize),
                      position);
    }
    to_guest_.write(Bytes(packet_).first(size));
}

void
Channel::publish()
{
    bool space = to_host_.publish();
    bool packets = to_guest_.publish();
    if (space || packets) {
        counters_.signals++;
        front_end_.interrupt();
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
