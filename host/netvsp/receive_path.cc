#include "host/netvsp/receive_path.h"

#include <algorithm>
#include <utility>

#include "host/base/ethernet.h"
#include "host/netvsp/message_head.h"

namespace netvsc::host {

namespace rndis = wire::rndis;

namespace {

/* A tag control information word in the order of the element (E.7). */
uint32_t
vlan_value(uint16_t tci)
{
    uint32_t priority = tci >> 13;
    uint32_t cfi = tci >> 12 & 1;
    uint32_t id = tci & rndis::kVlanIdMask;
    return priority | (cfi ? rndis::kVlanCfi : 0) | id << rndis::kVlanIdShift;
}

} // namespace

unsigned
drop_frames(Backend &backend, uint64_t &dropped)
{
    if (backend.patient()) {
        return 0;
    }
    unsigned count = 0;
    while (count < ReceivePath::kBatch && backend.receive()) {
        count++;
    }
    dropped += count;
    return count;
}

ReceivePath::ReceivePath(const NicConfig &nic, ReceiveBuffer &buffer,
                         uint32_t index, Channel &channel, Counters &counters,
                         Trace &trace)
    : nic_(nic), buffer_(buffer), index_(index), channel_(channel),
      counters_(counters), trace_(trace)
{
    uint32_t per_packet = std::min(nic.ranges, kBatch);
    uint32_t packets = (kBatch + per_packet - 1) / per_packet;
    batch_room_ = packets * transfer_room(per_packet);
}

/* --- Data -------------------------------------------------------------- */

ReceivePath::Added
ReceivePath::add(const WireFrame &frame, const ReceiveScaling::Choice &choice,
                 const Oids &oids)
{
    if (!has_room()) {
        return Added::kNoRoom;
    }
    in_round_ = true;
    std::optional<uint32_t> index = buffer_.ledger()->take_data(index_);
    if (!index) {
        return Added::kNoSuballoc;
    }
    counters_.rx.frames++;
    counters_.rx.bytes += frame.bytes.size();
    frames_++;
    bytes_ += frame.bytes.size();
    append(*index, place(frame, *index, choice, oids));
    return Added::kYes;
}

void
ReceivePath::append(uint32_t index, const Placement &placement)
{
    if (filled_ == 0) {
        transfer_ = index;
    } else {
        buffer_.ledger()->join(transfer_, index);
    }
    placements_[filled_] = placement;
    ranges_[filled_] = {kDataAt + placement.frame_size, buffer_.offset(index)};
    if (++filled_ == nic_.ranges) {
        send_batch();
    }
}

void
ReceivePath::flush()
{
    in_round_ = false;
    if (filled_) {
        send_batch();
    }
}

unsigned
ReceivePath::generate(Generator &generator, unsigned frames)
{
    SubAllocations &ledger = *buffer_.ledger();
    unsigned count = 0;
    uint64_t bytes = 0;
    for (; count < frames; count++) {
        std::optional<uint32_t> index = ledger.take_data(index_);
        if (!index) {
            break;
        }
        uint32_t frame_size =
            generator.message(*index, index_).byte_count - kDataAt;
        bytes += frame_size;
        append(*index, {generator.head_size(), frame_size});
    }
    flush();
    frames_ += count;
    bytes_ += bytes;
    counters_.rx.frames += count;
    counters_.rx.bytes += bytes;
    counters_.wire.read += count;
    return count;
}

ReceivePath::Placement
ReceivePath::place(const WireFrame &wire_frame, uint32_t index,
                   const ReceiveScaling::Choice &choice, const Oids &oids)
{
    MutableBytes frame = wire_frame.bytes;
    MessageHead head;
    /* The host always strips the tag (E.7): the addresses move over it. */
    if (is_tagged(frame)) {
        auto tci = load_be16(frame, kEthernetTypeAt + sizeof(uint16_t));
        head.add_info(rndis::kPpiVlan, vlan_value(tci));
        std::memmove(frame.data() + kVlanTagSize, frame.data(),
                     kEthernetTypeAt);
        frame = frame.subspan(kVlanTagSize);
    }
    if (wire_frame.checksum_good) {
        bool ipv4 = load_be16(frame, kEthernetTypeAt) == kEthernetIpv4;
        head.add_verdict(oids.reportable(classify_good_frame(frame), ipv4));
    }

    if (choice.info) {
        head.add_info(rndis::kPpiHashValue, choice.hash);
        head.add_info(rndis::kPpiHashInfo, choice.info);
    }

    MutableBytes to = buffer_.suballoc(index);
    auto frame_size = static_cast<uint32_t>(frame.size());
    uint32_t head_size = head.write(to, frame_size);
    std::memcpy(to.data() + kDataAt, frame.data(), frame.size());
    return {head_size, frame_size};
}

void
ReceivePath::send_batch()
{
    auto ranges = std::span(ranges_).first(filled_);
    channel_.transfer(transfer_, wire::nvsp::kChannelTypeData, ranges);
    if (trace_.on()) {
        for (unsigned i = 0; i < filled_; i++) {
            TracePiece pieces[] = {
                {0, placements_[i].header_size},
                {kDataAt, std::min(placements_[i].frame_size, trace_.snap())}};
            trace_.record_cut(TraceKind::kReceiveBuffer,
                              buffer_.bytes().subspan(ranges[i].byte_offset,
                                                      ranges[i].byte_count),
                              pieces, ranges[i].byte_offset);
        }
    }
    filled_ = 0;
}

/* --- Control ----------------------------------------------------------- */

bool
ReceivePath::send_control(Bytes message)
{
    std::optional<uint32_t> index = buffer_.ledger()->take_control();
    if (!index) {
        return false;
    }
    MutableBytes to = buffer_.suballoc(*index);
    assert(message.size() <= to.size());
    std::memcpy(to.data(), message.data(), message.size());

    wire::TransferPageRange range = {static_cast<uint32_t>(message.size()),
                                     buffer_.offset(*index)};
    channel_.transfer(*index, wire::nvsp::kChannelTypeControl, {&range, 1});
    trace_.record(TraceKind::kReceiveBuffer, message, range.byte_offset);
    return true;
}

bool
ReceivePath::complete(uint64_t trans_id)
{
    auto &ledger = buffer_.ledger();
    return ledger && ledger->give_back(trans_id, index_);
}

} // namespace netvsc::host
