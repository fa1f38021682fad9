#include "driver/rx_queue.h"

#include <algorithm>

#include "driver/ethernet.h"
#include "driver/rndis_packet.h"
#include "driver/size_bins.h"
#include "driver/transaction_id.h"

namespace netvsc {

namespace {

/* First range of a transfer-pages packet, in words. */
constexpr uint32_t kFirstRange =
    sizeof(wire::TransferPagesHeader) / wire::kRingUnit;

/* The fixed part behind the descriptor: set id in the low 16 bits, range
 * count in the high 32 (A.5). */
constexpr uint32_t kTransferWord =
    sizeof(wire::PacketDescriptor) / wire::kRingUnit;

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

} // namespace

RxQueue::RxQueue(Channel *channel, ControlMailbox *mailbox,
                 SessionFault *fault, uint16_t generation)
    : channel_(channel), mailbox_(mailbox), fault_(fault),
      generation_(generation)
{
}

void
RxQueue::set_receive_buffer(std::span<uint8_t> buffer,
                            uint32_t suballoc_size) noexcept
{
    buffer_ = buffer;
    suballoc_size_ = suballoc_size;
}

void
RxQueue::set_send_sections(SendSections *sections) noexcept
{
    sections_ = sections;
}

unsigned
RxQueue::poll(std::span<netvsc_rx_frame> frames) noexcept
{
    polls_.add();
    polled_ = !fault_->reason() && channel_->try_consume();
    if (!polled_) {
        return 0;
    }
    unsigned n =
        take(frames.first(std::min<size_t>(frames.size(), kMaxBurst)));
    count(frames.first(n));
    return n;
}

void
RxQueue::release() noexcept
{
    if (polled_) {
        polled_ = false;
        send_completions();
        channel_->end_consume();
    }
}

bool
RxQueue::discard() noexcept
{
    if (fault_->reason() || !channel_->try_consume()) {
        return false;
    }
    uint64_t before = ring_packets_.get();
    std::array<netvsc_rx_frame, kMaxBurst> frames;
    unsigned n = take(frames);
    discarded_.add(n);
    send_completions();
    bool progress = n > 0 || ring_packets_.get() != before;
    channel_->end_consume();
    return progress;
}

void
RxQueue::read_control() noexcept
{
    if (fault_->reason() || !channel_->try_consume()) {
        return;
    }
    unsigned room = completion_room();
    unsigned ranges = 0;
    for (unsigned i = 0; i < kMaxPacketsPerPoll; i++) {
        if (!transfer_.active && (next_is_frames() || !next_packet(&room))) {
            break;
        }
        if (!transfer_.active) {
            continue;
        }
        /* Asked of the transfer itself: the host may have changed the ring
         * since the look ahead. */
        if (!transfer_.control || room == 0) {
            break;
        }
        while (transfer_.next < transfer_.count &&
               ranges++ < kMaxRangesPerPoll) {
            (void) take_range(nullptr, nullptr);
        }
        if (transfer_.next < transfer_.count) {
            break;
        }
        finish_transfer();
        room--;
    }
    channel_->publish_consumed();
    send_completions();
    channel_->end_consume();
}

void
RxQueue::harvest() noexcept
{
    if (fault_->reason() || !channel_->try_consume()) {
        return;
    }
    unsigned no_room = 0;
    if (!transfer_.active) {
        for (unsigned i = 0; i < kMaxPacketsPerPoll; i++) {
            if (!next_packet(&no_room)) {
                break;
            }
        }
        channel_->publish_consumed();
    }
    channel_->end_consume();
}

bool
RxQueue::unmask() noexcept
{
    if (!channel_->try_consume()) {
        return true;
    }
    bool waiting = channel_->in().unmask();
    channel_->end_consume();
    return waiting;
}

/* --- With the consumer's lock held --------------------------------------- */

/* How many transfers can be completed before the next send_completions(). */
unsigned
RxQueue::completion_room() noexcept
{
    unsigned room = channel_->completion_room();
    /* Asked only when it stopped us: else the ring is plainly usable. */
    if (room == 0 && channel_->out_broken()) {
        fault_->raise("wrote an impossible index to the send ring");
    }
    return std::min(room, kMaxPacketsPerPoll);
}

unsigned
RxQueue::take(std::span<netvsc_rx_frame> frames) noexcept
{
    unsigned n = 0;
    unsigned room = completion_room();
    /* A transfer that an earlier poll began may end in this one. */
    if (transfer_.active && room == 0) {
        return 0;
    }
    unsigned packets = 0;
    unsigned ranges = 0;
    while (n < frames.size()) {
        if (transfer_.active) {
            if (ranges++ == kMaxRangesPerPoll) {
                break;
            }
            n += take_range(&frames[n], &fragments_[n]);
            if (transfer_.next == transfer_.count) {
                finish_transfer();
                room--;
            }
        } else if (packets++ == kMaxPacketsPerPoll || !next_packet(&room)) {
            break;
        }
    }
    channel_->publish_consumed();
    return n;
}

/* Handles or begins the next packet.  False if there is none, or if it is a
 * transfer whose completion has no room. */
bool
RxQueue::next_packet(unsigned *room) noexcept
{
    RingReader &in = channel_->in();
    RingPacket packet;
    switch (in.next(&packet)) {
    case RingReader::Next::kEmpty:
        return false;
    case RingReader::Next::kBroken:
        fault_->raise("wrote an impossible index or packet length to the "
                      "receive ring");
        return false;
    case RingReader::Next::kPacket:
        break;
    }
    if (packet.desc.type == wire::kPacketTransferPages) {
        if (*room == 0) {
            return false;
        }
        ring_packets_.add();
        begin_transfer(packet);
        if (!transfer_.active) {
            (*room)--;
        }
        return true;
    }
    ring_packets_.add();
    if (!packet.header_ok()) {
        count(Malformed::kPacketHeader);
    } else if (packet.desc.type == wire::kPacketCompletion) {
        take_completion(packet);
    } else if (packet.desc.type == wire::kPacketInband) {
        take_inband(packet);
    } else {
        count(Malformed::kPacketType);
    }
    in.consume(packet);
    return true;
}

/* Whether the next packet carries frames. */
bool
RxQueue::next_is_frames() noexcept
{
    RingReader &in = channel_->in();
    RingPacket packet;
    return in.next(&packet) == RingReader::Next::kPacket &&
           packet.desc.type == wire::kPacketTransferPages &&
           packet.header_ok() && packet.payload_size() > 0 &&
           high(in.word(packet, packet.desc.offset8)) ==
               wire::nvsp::kChannelTypeData;
}

void
RxQueue::begin_transfer(const RingPacket &packet) noexcept
{
    RingReader &in = channel_->in();
    transfer_ = {};
    transfer_.packet = packet;

    uint32_t payload = packet.desc.offset8;
    if (!packet.header_ok() || payload < kFirstRange ||
        packet.payload_size() < sizeof(wire::nvsp::SendRndisPacket)) {
        count(Malformed::kPacketHeader);
        transfer_.failed = true;
        finish_transfer();
        return;
    }
    uint64_t fixed = in.word(packet, kTransferWord);
    uint64_t nvsp = in.word(packet, payload);
    uint32_t ranges = high(fixed);
    std::optional<Malformed> cause;
    if (static_cast<uint16_t>(fixed) != wire::nvsp::kReceiveBufferId ||
        buffer_.empty()) {
        cause = Malformed::kSetId;
    } else if (ranges == 0 || ranges > payload - kFirstRange) {
        cause = Malformed::kPacketHeader;
    } else if (low(nvsp) != wire::nvsp::kSendRndisPacket ||
               high(nvsp) > wire::nvsp::kChannelTypeControl) {
        cause = Malformed::kNvspType;
    }
    if (cause) {
        count(*cause);
        transfer_.failed = true;
        finish_transfer();
        return;
    }
    transfer_.count = ranges;
    transfer_.control = high(nvsp) == wire::nvsp::kChannelTypeControl;
    transfer_.active = true;
}

/* Takes the next range.  True if it gave a frame. */
bool
RxQueue::take_range(netvsc_rx_frame *frame, netvsc_fragment *fragment) noexcept
{
    uint64_t word =
        channel_->in().word(transfer_.packet, kFirstRange + transfer_.next);
    transfer_.next++;
    uint32_t size = low(word), offset = high(word);
    std::optional<Malformed> cause;
    if (size > suballoc_size_ || offset > buffer_.size() ||
        size > buffer_.size() - offset) {
        cause = Malformed::kRange;
    } else if (transfer_.control) {
        control_.add();
        if (mailbox_->deliver_rndis(buffer_.subspan(offset, size))) {
            return false;
        }
        cause = Malformed::kReply;
    } else {
        cause =
            parse_rndis_packet(buffer_.subspan(offset, size), fragment, frame);
    }
    if (cause) {
        count(*cause);
        transfer_.failed = true;
        return false;
    }
    return true;
}

void
RxQueue::finish_transfer() noexcept
{
    channel_->in().consume(transfer_.packet);
    finished_[n_finished_++] =
        make_receive_completion(transfer_.packet.desc.trans_id,
                                transfer_.failed ? wire::nvsp::kStatusFailure
                                                 : wire::nvsp::kStatusSuccess);
    transfer_.active = false;
}

void
RxQueue::take_completion(const RingPacket &packet) noexcept
{
    auto id = TransactionId::decode(packet.desc.trans_id);
    if (!id || id->generation != generation_) {
        count(Malformed::kTransactionId);
        return;
    }
    if (id->kind == TransactionId::Kind::kNvsp) {
        std::array<uint64_t, wire::nvsp::kMessageSize / 8> payload;
        uint32_t words = std::min<uint32_t>(
            packet.payload_size() / wire::kRingUnit, payload.size());
        channel_->in().copy(packet, packet.desc.offset8,
                            std::span(payload).first(words));
        auto bytes = std::as_bytes(std::span(payload).first(words));
        if (!mailbox_->deliver_nvsp(
                id->index, {reinterpret_cast<const uint8_t *>(bytes.data()),
                            bytes.size()})) {
            count(Malformed::kReply);
        }
        return;
    }
    bool control = id->kind == TransactionId::Kind::kControl;
    if (control != (id->index == kControlSection) || !sections_ ||
        !sections_->complete(id->index)) {
        count(Malformed::kTransactionId);
        return;
    }
    /* The section is ours again whatever the message says. */
    if (packet.payload_size() < sizeof(wire::nvsp::SendRndisPacketComplete)) {
        count(Malformed::kPacketHeader);
        return;
    }
    uint64_t message = channel_->in().word(packet, packet.desc.offset8);
    if (low(message) != wire::nvsp::kSendRndisPacketComplete) {
        count(Malformed::kNvspType);
    } else if (high(message) != wire::nvsp::kStatusSuccess) {
        tx_failed_.add();
    }
    if (control) {
        mailbox_->notify();
    }
}

void
RxQueue::take_inband(const RingPacket &packet) noexcept
{
    if (packet.payload_size() == 0) {
        count(Malformed::kPacketHeader);
        return;
    }
    switch (low(channel_->in().word(packet, packet.desc.offset8))) {
    case wire::nvsp::kSendVfAssociation:
    case wire::nvsp::kSendIndirectionTable:
        /* Announcements that ask for nothing: there is no VF to switch to
         * and one channel to send on. */
        break;
    default:
        count(Malformed::kNvspType);
    }
}

void
RxQueue::send_completions() noexcept
{
    if (n_finished_ == 0) {
        return;
    }
    unsigned sent = channel_->send(
        std::span<const CompletionPacket>(finished_.data(), n_finished_), 0);
    if (sent != n_finished_) {
        /* take() made sure of the room: the host moved its index back. */
        fault_->raise("wrote an impossible index to the send ring");
    }
    n_finished_ = 0;
}

void
RxQueue::count(std::span<const netvsc_rx_frame> frames) noexcept
{
    if (frames.empty()) {
        return;
    }
    uint64_t bytes = 0, multicast = 0;
    std::array<uint32_t, kSizeBinLimits.size()> bins{};
    for (const netvsc_rx_frame &frame : frames) {
        /* As OVS sees it, with the tag back in. */
        uint32_t size =
            frame.size + (frame.flags & NETVSC_RX_VLAN ? kVlanTag : 0);
        bytes += size;
        /* Group bit of the destination, broadcast included. */
        multicast += frame.fragments->data[0] & 1;
        bins[size_bin(size)]++;
    }
    packets_.add(frames.size());
    bytes_.add(bytes);
    multicast_.add(multicast);
    for (unsigned i = 0; i < bins.size(); i++) {
        if (bins[i]) {
            bins_[i].add(bins[i]);
        }
    }
}

void
RxQueue::add_to(Statistics *statistics) const noexcept
{
    statistics->rx_packets += packets_.get();
    statistics->rx_bytes += bytes_.get();
    statistics->rx_multicast += multicast_.get();
    statistics->rx_discarded += discarded_.get();
    statistics->rx_control += control_.get();
    statistics->rx_ring_packets += ring_packets_.get();
    statistics->tx_failed += tx_failed_.get();
    for (unsigned i = 0; i < bins_.size(); i++) {
        statistics->rx_size_bins[i] += bins_[i].get();
    }
    for (unsigned i = 0; i < malformed_.size(); i++) {
        statistics->malformed[i] += malformed_[i].get();
    }
}

} // namespace netvsc
