#include "host/netvsp/receive_path.h"

#include <algorithm>
#include <utility>

#include "host/base/ethernet.h"
#include "host/netvsp/message_head.h"

namespace netvsc::host {

namespace rndis = wire::rndis;

namespace {

/* Left unused: Windows guests read that far beyond the message (E.10). */
constexpr uint32_t kTail = 36;

/* Sub-allocations of small MTUs still hold every control message. */
constexpr uint32_t kSmallestMtu = 1500;

/* A tag control information word in the order of the element (E.7). */
uint32_t
vlan_value(uint16_t tci)
{
    uint32_t priority = tci >> 13;
    uint32_t cfi = tci >> 12 & 1;
    uint32_t id = tci & rndis::kVlanIdMask;
    return priority | (cfi ? rndis::kVlanCfi : 0) | id << rndis::kVlanIdShift;
}

bool
is_tagged(Bytes frame)
{
    return frame.size() >= kEthernetHeader + kVlanTagSize &&
           load_be16(frame, kEthernetTypeAt) == kEthernetVlan;
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

uint32_t
ReceivePath::suballoc_size_for(uint32_t mtu)
{
    size_t frame_size = std::max(mtu, kSmallestMtu) + kEthernetHeader;
    return static_cast<uint32_t>(
        round_up(kDataAt + frame_size + kTail, wire::kRingUnit));
}

bool
ReceivePath::attach(MutableBytes buffer, uint32_t mtu)
{
    mtu_ = mtu;
    suballoc_size_ = suballoc_size_for(mtu);
    auto count = static_cast<uint32_t>(buffer.size() / suballoc_size_);
    if (count <= nic_.control_suballocs) {
        return false;
    }
    auto reuse = SubAllocations::Reuse::kHottest;
    if (nic_.generator) {
        reuse = SubAllocations::Reuse::kInTurn;
        if (nic_.generator->suballocs) {
            count = std::min(count, nic_.control_suballocs +
                                        nic_.generator->suballocs);
        }
    }
    buffer_ = buffer;
    prefilled_ = false;
    ledger_.emplace(count, nic_.control_suballocs, reuse);

    uint32_t per_packet = std::min(nic_.ranges, kBatch);
    uint32_t packets = (kBatch + per_packet - 1) / per_packet;
    batch_room_ = packets * transfer_room(per_packet);
    return true;
}

void
ReceivePath::revoke()
{
    buffer_ = {};
}

/* --- Data -------------------------------------------------------------- */

unsigned
ReceivePath::deliver(Backend &backend, const Oids &oids)
{
    uint32_t transfer = 0;
    unsigned count = 0;
    for (; count < kBatch; count++) {
        if (backend.patient() && !ledger_->data_free()) {
            break;
        }
        std::optional<WireFrame> frame = backend.receive();
        if (!frame) {
            break;
        }
        size_t tag = is_tagged(frame->bytes) ? kVlanTagSize : 0;
        if (frame->bytes.size() < kEthernetHeader ||
            frame->bytes.size() - tag > kEthernetHeader + mtu_) {
            counters_.rx.dropped_oversize++;
            continue;
        }
        if (!oids.wants(frame->bytes)) {
            counters_.rx.dropped_filter++;
            continue;
        }
        std::optional<uint32_t> index = ledger_->take_data();
        if (!index) {
            counters_.rx.dropped_no_suballoc++;
            continue;
        }

        if (filled_ == 0) {
            transfer = *index;
        } else {
            ledger_->join(transfer, *index);
        }
        Placement placement =
            place(frame->bytes, frame->checksum_good, *index, oids);
        placements_[filled_] = placement;
        ranges_[filled_] = {kDataAt + placement.frame_size,
                            *index * suballoc_size_};
        counters_.rx.frames++;
        counters_.rx.bytes += frame->bytes.size();
        if (++filled_ == nic_.ranges) {
            send_batch(transfer);
        }
    }
    if (filled_) {
        send_batch(transfer);
    }
    return count;
}

unsigned
ReceivePath::generate(Generator &generator, unsigned frames, const Oids &oids)
{
    if (!std::exchange(prefilled_, true)) {
        generator.prefill(
            buffer_.first(size_t{ledger_->count()} * suballoc_size_),
            suballoc_size_, nic_.control_suballocs, kEthernetHeader + mtu_,
            oids);
    }
    uint32_t transfer = 0;
    unsigned count = 0;
    for (; count < frames; count++) {
        std::optional<uint32_t> index = ledger_->take_data();
        if (!index) {
            break;
        }
        if (filled_ == 0) {
            transfer = *index;
        } else {
            ledger_->join(transfer, *index);
        }
        const wire::TransferPageRange &message = generator.message(*index);
        uint32_t frame_size = message.byte_count - kDataAt;
        placements_[filled_] = {generator.head_size(), frame_size};
        ranges_[filled_] = message;
        counters_.rx.bytes += frame_size;
        if (++filled_ == nic_.ranges) {
            send_batch(transfer);
        }
    }
    if (filled_) {
        send_batch(transfer);
    }
    counters_.rx.frames += count;
    counters_.wire.read += count;
    return count;
}

ReceivePath::Placement
ReceivePath::place(MutableBytes frame, bool checksum_good, uint32_t index,
                   const Oids &oids)
{
    MessageHead head;
    /* The host always strips the tag (E.7): the addresses move over it. */
    if (is_tagged(frame)) {
        auto tci = load_be16(frame, kEthernetTypeAt + sizeof(uint16_t));
        head.add_info(rndis::kPpiVlan, vlan_value(tci));
        std::memmove(frame.data() + kVlanTagSize, frame.data(),
                     kEthernetTypeAt);
        frame = frame.subspan(kVlanTagSize);
    }
    if (checksum_good) {
        bool ipv4 = load_be16(frame, kEthernetTypeAt) == kEthernetIpv4;
        head.add_verdict(oids.reportable(classify_good_frame(frame), ipv4));
    }

    MutableBytes to = suballoc(index);
    auto frame_size = static_cast<uint32_t>(frame.size());
    uint32_t head_size = head.write(to, frame_size);
    std::memcpy(to.data() + kDataAt, frame.data(), frame.size());
    return {head_size, frame_size};
}

void
ReceivePath::send_batch(uint32_t transfer)
{
    auto ranges = std::span(ranges_).first(filled_);
    channel_.transfer(transfer, wire::nvsp::kChannelTypeData, ranges);
    if (trace_.on()) {
        for (unsigned i = 0; i < filled_; i++) {
            TracePiece pieces[] = {
                {0, placements_[i].header_size},
                {kDataAt, std::min(placements_[i].frame_size, trace_.snap())}};
            trace_.record_cut(
                TraceKind::kReceiveBuffer,
                buffer_.subspan(ranges[i].byte_offset, ranges[i].byte_count),
                pieces, ranges[i].byte_offset);
        }
    }
    filled_ = 0;
}

/* --- Control ----------------------------------------------------------- */

bool
ReceivePath::send_control(Bytes message)
{
    std::optional<uint32_t> index = ledger_->take_control();
    if (!index) {
        return false;
    }
    MutableBytes to = suballoc(*index);
    assert(message.size() <= to.size());
    std::memcpy(to.data(), message.data(), message.size());

    wire::TransferPageRange range = {static_cast<uint32_t>(message.size()),
                                     *index * suballoc_size_};
    channel_.transfer(*index, wire::nvsp::kChannelTypeControl, {&range, 1});
    trace_.record(TraceKind::kReceiveBuffer, message, range.byte_offset);
    return true;
}

bool
ReceivePath::complete(uint64_t trans_id)
{
    return ledger_ && ledger_->give_back(trans_id);
}

} // namespace netvsc::host
