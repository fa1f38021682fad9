#include "host/netvsp/transmit_path.h"

#include <algorithm>

#include "host/base/ethernet.h"
#include "wire/rndis.h"

namespace netvsc::host {

namespace rndis = wire::rndis;

namespace {

/* What a message in place is asked for at once: about eight small frames. */
constexpr size_t kAhead = 1024;
constexpr size_t kCacheLine = 64;

/* The tag control information of an element's value (E.7). */
uint16_t
tci_of(uint32_t value)
{
    uint32_t priority = value & rndis::kVlanPriorityMask;
    uint32_t cfi = value & rndis::kVlanCfi ? 1 : 0;
    uint32_t id = value >> rndis::kVlanIdShift & rndis::kVlanIdMask;
    return static_cast<uint16_t>(priority << 13 | cfi << 12 | id);
}

} // namespace

/* --- MessageGatherer --------------------------------------------------- */

MessageGatherer::MessageGatherer(GuestMemory &memory)
    : memory_(memory),
      message_(std::make_unique_for_overwrite<std::byte[]>(kLongestMessage))
{
}

std::optional<MutableBytes>
MessageGatherer::gather(const RingPacket &packet,
                        const wire::nvsp::SendRndisPacket &nvsp)
{
    section_bytes_ = gpa_bytes_ = 0;
    if (nvsp.section_index != wire::nvsp::kNoSection) {
        std::optional<Bytes> bytes = section(nvsp);
        if (!bytes) {
            return std::nullopt;
        }
        section_at_ = uint64_t{nvsp.section_index} * section_size_;
        section_bytes_ = nvsp.section_size;
        std::copy(bytes->begin(), bytes->end(), message_.get());
    }
    if (packet.desc.type == wire::kPacketGpaDirect && !add_ranges(packet)) {
        section_bytes_ = gpa_bytes_ = 0;
        return std::nullopt;
    }
    return MutableBytes(message_.get(), section_bytes_ + gpa_bytes_);
}

std::optional<Bytes>
MessageGatherer::view(const RingPacket &packet,
                      const wire::nvsp::SendRndisPacket &nvsp) const
{
    if (packet.desc.type == wire::kPacketGpaDirect ||
        nvsp.section_index == wire::nvsp::kNoSection) {
        return std::nullopt;
    }
    std::optional<Bytes> bytes = section(nvsp);
    if (bytes) {
        /* They are in the cache of the guest's core; the walk from header to
         * header would wait for one after the other. */
        for (size_t at = 0; at < std::min(bytes->size(), kAhead);
             at += kCacheLine) {
            __builtin_prefetch(bytes->data() + at);
        }
    }
    return bytes;
}

std::optional<Bytes>
MessageGatherer::section(const wire::nvsp::SendRndisPacket &nvsp) const
{
    uint64_t at = uint64_t{nvsp.section_index} * section_size_;
    /* Without a buffer (revoked, or never shared) there is no section, not
     * even for no bytes. */
    if (send_buffer_.empty() || at > send_buffer_.size() ||
        nvsp.section_size > send_buffer_.size() - at ||
        nvsp.section_size > kLongestMessage) {
        return std::nullopt;
    }
    return send_buffer_.subspan(at, nvsp.section_size);
}

/* Reads the ranges of a GPA-direct packet (A.5), each of which may span any
 * number of pages, and appends what they hold. */
bool
MessageGatherer::add_ranges(const RingPacket &packet)
{
    Bytes list =
        packet.bytes.first(packet.bytes.size() - packet.payload.size());
    if (list.size() < sizeof(wire::GpaDirectHeader)) {
        return false;
    }
    auto header = load<wire::GpaDirectHeader>(list);
    list = list.subspan(sizeof header);
    if (!header.range_count) {
        return false;
    }

    gpa_.clear();
    uint32_t total = 0;
    uint32_t room = kLongestMessage - section_bytes_;
    for (uint32_t i = 0; i < header.range_count; i++) {
        if (list.size() < sizeof(wire::GpaRange)) {
            return false;
        }
        auto range = load<wire::GpaRange>(list);
        list = list.subspan(sizeof range);
        if (range.byte_offset >= wire::kPageSize ||
            range.byte_count > room - total) {
            return false;
        }
        total += range.byte_count;

        uint32_t offset = range.byte_offset;
        uint32_t left = range.byte_count;
        auto pages = round_up(uint64_t{offset} + left, wire::kPageSize) /
                     wire::kPageSize;
        if (list.size() / sizeof(uint64_t) < pages) {
            return false;
        }
        for (; left; list = list.subspan(sizeof(uint64_t)), offset = 0) {
            auto page = load<uint64_t>(list);
            uint32_t here = std::min(left, wire::kPageSize - offset);
            if (page > UINT64_MAX / wire::kPageSize) {
                return false;
            }
            uint64_t address = page * wire::kPageSize + offset;
            if (!gpa_.empty() &&
                gpa_.back().address + gpa_.back().size == address) {
                gpa_.back().size += here; /* One read for both. */
            } else {
                gpa_.push_back({address, here});
            }
            left -= here;
        }
    }
    if (!memory_.read(gpa_, {message_.get() + section_bytes_, total})) {
        return false;
    }
    gpa_bytes_ = total;
    return true;
}

void
MessageGatherer::record(Trace &trace, std::span<const TracePiece> pieces)
{
    if (!trace.on()) {
        return;
    }
    /* The pieces are cut of the message; the two records hold a part each. */
    auto record_part = [&](TraceKind kind, uint32_t from, uint32_t size,
                           uint64_t position) {
        Bytes part(message_.get() + from, size);
        std::vector<TracePiece> mine;
        for (const TracePiece &piece : pieces) {
            uint32_t first = std::max(piece.offset, from);
            uint32_t end = std::min(piece.offset + piece.size, from + size);
            if (first < end) {
                mine.push_back({first - from, end - first});
            }
        }
        if (pieces.empty()) {
            trace.record(kind, part, position);
        } else {
            trace.record_cut(kind, part, mine, position);
        }
    };
    if (section_bytes_) {
        record_part(TraceKind::kSendBuffer, 0, section_bytes_, section_at_);
    }
    if (gpa_bytes_) {
        record_part(TraceKind::kGpa, section_bytes_, gpa_bytes_, 0);
    }
}

/* --- TransmitPath ------------------------------------------------------ */

TransmitPath::TransmitPath(const NicConfig &nic, const Agreement &agreement,
                           Backend &backend, Counters &counters)
    : nic_(nic), agreement_(agreement), backend_(backend), counters_(counters)
{
    frames_.reserve(nic.packets_per_message);
}

bool
TransmitPath::parse(Bytes message)
{
    frames_.clear();
    if (!parse_packets(message)) {
        frames_.clear();
        return false;
    }
    return true;
}

bool
TransmitPath::parse_packets(Bytes message)
{
    /* E.9: a sequence of PACKETs, each but the last padded so that the next
     * one is aligned. */
    uint32_t alignment = 1u << nic_.alignment_shift;
    uint32_t at = 0;
    auto end = static_cast<uint32_t>(message.size());
    do {
        if (end - at < sizeof(rndis::Packet)) {
            return false;
        }
        auto header = load_once<rndis::Header>(message, at);
        if (header.type != rndis::kPacket ||
            header.length < sizeof(rndis::Packet) ||
            header.length > end - at) {
            return false;
        }
        Frame frame{};
        if (frames_.size() == nic_.packets_per_message ||
            !parse_packet(message.subspan(at, header.length), at, frame)) {
            return false;
        }
        frames_.push_back(frame);
        at += header.length;
        if (at < end && header.length % alignment) {
            return false;
        }
    } while (at < end);
    return true;
}

bool
TransmitPath::parse_packet(Bytes bytes, uint32_t at, Frame &frame)
{
    auto packet = load_once<rndis::Packet>(bytes);
    if (packet.oob_data_offset || packet.oob_data_length ||
        packet.oob_elements || packet.vc_handle) {
        return false;
    }

    uint64_t data = uint64_t{packet.data_offset} + rndis::kOffsetBase;
    if (data < sizeof packet || data > bytes.size() ||
        packet.data_length > bytes.size() - data ||
        packet.data_length < kEthernetHeader ||
        packet.data_length > agreement_.mtu + kEthernetHeader + kVlanTagSize) {
        return false;
    }
    frame.packet_at = at;
    frame.head_end = static_cast<uint32_t>(at + sizeof packet);
    frame.data_at = static_cast<uint32_t>(at + data);
    frame.data_size = packet.data_length;

    if (!packet.ppi_length) {
        return true;
    }
    uint64_t info = uint64_t{packet.ppi_offset} + rndis::kOffsetBase;
    if (info < sizeof packet || info > bytes.size() ||
        packet.ppi_length > bytes.size() - info) {
        return false;
    }
    frame.head_end = static_cast<uint32_t>(at + info + packet.ppi_length);
    return parse_info(bytes.subspan(info, packet.ppi_length), frame);
}

bool
TransmitPath::parse_info(Bytes elements, Frame &frame)
{
    for (uint32_t size; !elements.empty(); elements = elements.subspan(size)) {
        if (elements.size() < sizeof(rndis::PerPacketInfo)) {
            return false;
        }
        auto info = load_once<rndis::PerPacketInfo>(elements);
        size = info.size;
        if (size < sizeof info || size > elements.size() || size % 4 ||
            info.offset < sizeof info || info.offset > size) {
            return false;
        }
        if (info.type != rndis::kPpiVlan && info.type != rndis::kPpiChecksum &&
            info.type != rndis::kPpiLargeSend) {
            continue; /* Hash values and the like choose nothing here. */
        }
        if (size - info.offset < sizeof(uint32_t)) {
            return false;
        }
        auto value = load_once<uint32_t>(elements, info.offset);
        if (info.type == rndis::kPpiVlan) {
            frame.tci = tci_of(value);
        } else if (info.type == rndis::kPpiLargeSend) {
            return false; /* The host does not announce large sends. */
        } else if (value & (rndis::kTxChecksumIpv4 | rndis::kTxChecksumIpv6)) {
            uint32_t offset = value >> rndis::kTxChecksumOffsetShift &
                              rndis::kTxChecksumOffsetMask;
            frame.checksum = {(value & rndis::kTxChecksumIpHeader) != 0,
                              (value & rndis::kTxChecksumTcp) != 0,
                              (value & rndis::kTxChecksumUdp) != 0,
                              static_cast<uint16_t>(offset)};
            /* G.4: 0 stands for headers of the usual length. */
            if (offset >= frame.data_size) {
                return false;
            }
        }
    }
    return true;
}

std::vector<TracePiece>
TransmitPath::pieces(uint32_t snap) const
{
    std::vector<TracePiece> pieces;
    for (const Frame &frame : frames_) {
        uint32_t kept = std::min(frame.data_size, snap);
        if (frame.data_at == frame.head_end) {
            pieces.push_back(
                {frame.packet_at, frame.head_end - frame.packet_at + kept});
        } else if (frame.data_at > frame.head_end) {
            pieces.push_back(
                {frame.packet_at, frame.head_end - frame.packet_at});
            pieces.push_back({frame.data_at, kept});
        } else {
            return {}; /* Unusual order: keep everything. */
        }
    }
    return pieces;
}

void
TransmitPath::send(MutableBytes message)
{
    for (const Frame &frame : frames_) {
        send_frame(message, frame);
    }
}

void
TransmitPath::sink(Bytes message, Sink &sink)
{
    for (const Frame &frame : frames_) {
        sink.take(message.subspan(frame.data_at, frame.data_size),
                  frame.checksum);
        counters_.tx.bytes += frame.data_size + (frame.tci ? kVlanTagSize : 0);
    }
    counters_.tx.frames += frames_.size();
    counters_.wire.written += frames_.size();
}

void
TransmitPath::send_frame(MutableBytes message, const Frame &frame)
{
    MutableBytes bytes = message.subspan(frame.data_at, frame.data_size);
    bool checksum_good = false;
    if (frame.checksum.ip_header || frame.checksum.tcp || frame.checksum.udp) {
        /* A request that does not fit the headers changes nothing, as on a
         * switch that cannot parse the frame. */
        std::optional<ChecksumVerdict> verdict =
            complete_checksums(bytes, frame.checksum);
        checksum_good = verdict && (verdict->tcp || verdict->udp);
    }
    if (frame.tci) {
        /* The addresses move into the RNDIS header, which was read. */
        std::byte *start = bytes.data() - kVlanTagSize;
        std::memmove(start, bytes.data(), kEthernetTypeAt);
        bytes = {start, bytes.size() + kVlanTagSize};
        store_be16(bytes, kEthernetTypeAt, kEthernetVlan);
        store_be16(bytes, kEthernetTypeAt + sizeof(uint16_t), *frame.tci);
    }
    counters_.tx.frames++;
    counters_.tx.bytes += bytes.size();
    if (!backend_.transmit(bytes, checksum_good)) {
        counters_.tx.dropped_backend++;
    }
}

} // namespace netvsc::host
