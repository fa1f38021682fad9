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

/* Second word of every packet: its transaction id. */
constexpr uint32_t kIdWord = 1;

/* The fixed part behind the descriptor: set id in the low 16 bits, range
 * count in the high 32 (A.5). */
constexpr uint32_t kTransferWord =
    sizeof(wire::PacketDescriptor) / wire::kRingUnit;

/* What counts of a transfer's message. */
constexpr uint32_t kMessageWords =
    sizeof(wire::nvsp::SendRndisPacket) / wire::kRingUnit;

/* Messages between the one that is read and the one that is fetched.  A host
 * that uses its whole buffer in turn lets every message be a miss: without
 * this, a frame of 64 bytes took 50% longer. */
constexpr uint32_t kFetchAhead = 8;

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
RxQueue::set_send_sections(SendSections *sections,
                           ControlSection *control_section) noexcept
{
    sections_ = sections;
    control_section_ = control_section;
}

unsigned
RxQueue::poll(std::span<netvsc_rx_frame> frames) noexcept
{
    polls_.add();
    polled_ = !fault_->reason() && channel_->try_consume();
    if (!polled_) {
        return 0;
    }
    Poll poll;
    poll.frames = frames.first(std::min<size_t>(frames.size(), kMaxBurst));
    take(&poll);
    if (poll.n > 0) {
        frames_.add(poll.tally);
        multicast_.add(poll.tally.multicast);
    }
    return poll.n;
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
    Poll poll;
    poll.frames = frames;
    take(&poll);
    discarded_.add(poll.n);
    send_completions();
    bool progress = poll.n > 0 || ring_packets_.get() != before;
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
        unsigned most = std::min(transfer_.count - transfer_.next,
                                 kMaxRangesPerPoll - ranges);
        take_messages(most);
        ranges += most;
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
        unsigned packets = take_sent(kMaxPacketsPerPoll);
        while (packets < kMaxPacketsPerPoll && next_packet(&no_room)) {
            packets++;
            packets += take_sent(kMaxPacketsPerPoll - packets);
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
    return room;
}

void
RxQueue::take(Poll *poll) noexcept
{
    poll->room = completion_room();
    /* A transfer that an earlier poll began may end in this one. */
    if (transfer_.active && poll->room == 0) {
        return;
    }
    while (poll->n < poll->frames.size() && poll->ranges < kMaxRangesPerPoll) {
        if (transfer_.active) {
            take_some(poll);
            continue;
        }
        if (poll->packets == kMaxPacketsPerPoll) {
            break;
        }
        /* Many packets at once, as long as they are what hosts send; one
         * that is not takes the full checks. */
        unsigned before = poll->packets;
        auto type = channel_->in().next_type();
        if (!type && !channel_->in().broken()) {
            break;
        }
        switch (type.value_or(0)) {
        case wire::kPacketCompletion:
            poll->packets += take_sent(kMaxPacketsPerPoll - before);
            break;
        case wire::kPacketTransferPages:
            take_transfers(poll);
            break;
        }
        if (poll->packets == before) {
            if (!next_packet(&poll->room)) {
                break;
            }
            poll->packets++;
        }
    }
    channel_->publish_consumed();
}

/* --- What hosts send ----------------------------------------------------- */

/* Takes completions of data packets as long as they are in one piece, tell
 * of success, and are for a section that is away.  Returns how many. */
unsigned
RxQueue::take_sent(unsigned most) noexcept
{
    if (!sections_) {
        return 0;
    }
    constexpr uint32_t kWords = std::tuple_size_v<CompletionPacket>;
    const uint64_t ids =
        TransactionId{generation_, TransactionId::Kind::kData, 0}.encode();
    SendSections &sections = *sections_;
    RingReader::Run run = channel_->in().run();
    unsigned n = 0;
    for (; n < most && run.words() > kWords; n++) {
        const uint64_t first = run[0];
        const uint32_t words = descriptor_words(first);
        if (first != descriptor_word(wire::kPacketCompletion, words, 0) ||
            words < kWords || words >= run.words() ||
            run[kTransferWord] !=
                message_word(wire::nvsp::kSendRndisPacketComplete,
                             wire::nvsp::kStatusSuccess) ||
            !sections.complete(run[kIdWord] - ids)) {
            break;
        }
        run.skip(words);
    }
    channel_->in().consume(run);
    ring_packets_.add(n);
    return n;
}

/* Takes transfers of frames as long as they are in one piece, have nothing
 * between header, ranges and message, and the poll has room for all of their
 * frames. */
void
RxQueue::take_transfers(Poll *poll) noexcept
{
    if (buffer_.empty()) {
        return;
    }
    RingReader::Run run = channel_->in().run();
    const unsigned most =
        std::min(kMaxPacketsPerPoll - poll->packets, poll->room);
    unsigned n = 0;
    for (; n < most && run.words() > kFirstRange; n++) {
        const uint64_t first = run[0];
        const uint32_t words = descriptor_words(first);
        const uint64_t fixed = run[kTransferWord];
        const uint32_t ranges = high(fixed);
        const uint32_t message = kFirstRange + ranges;
        /* No range becomes very many. */
        if (ranges - 1 >= poll->frames.size() - poll->n ||
            low(first) != (wire::kPacketTransferPages | message << 16) ||
            words < message + kMessageWords || words >= run.words() ||
            static_cast<uint16_t>(fixed) != wire::nvsp::kReceiveBufferId ||
            run[message] != message_word(wire::nvsp::kSendRndisPacket,
                                         wire::nvsp::kChannelTypeData)) {
            break;
        }
        const uint64_t id = run[kIdWord];
        bool good = take_frames(run.from(kFirstRange), ranges, poll);
        finish(id, !good);
        run.skip(words);
        /* Bad ranges give no frames, so that the room for frames does not
         * bound them: take() does. */
        if (!good) {
            n++;
            break;
        }
    }
    channel_->in().consume(run);
    ring_packets_.add(n);
    poll->packets += n;
    poll->room -= n;
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
           high(in.words(packet)[packet.desc.offset8]) ==
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
    RingReader::Words words = in.words(packet);
    uint64_t fixed = words[kTransferWord];
    uint64_t nvsp = words[payload];
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

/* Where a transfer's ranges must be.  Copies of what does not change, which
 * the compiler cannot know. */
class RxQueue::Buffer {
public:
    explicit Buffer(const RxQueue &rxq)
        : buffer_(rxq.buffer_), suballoc_size_(rxq.suballoc_size_)
    {
    }

    /* Where the range would be. */
    const uint8_t *
    place(uint64_t word) const
    {
        return buffer_.data() + high(word);
    }
    /* The range that `word` describes, without data() if it is not in the
     * buffer. */
    std::span<const uint8_t>
    range(uint64_t word) const
    {
        uint32_t size = low(word), offset = high(word);
        if (size > suballoc_size_ ||
            uint64_t{offset} + size > buffer_.size()) {
            return {};
        }
        return {buffer_.data() + offset, size};
    }

private:
    const std::span<uint8_t> buffer_;
    const uint32_t suballoc_size_;
};

/* Takes the frames of `n` ranges, for which there is room.  False if one was
 * malformed. */
bool
RxQueue::take_frames(uint64_t *ranges, uint32_t n, Poll *poll) noexcept
{
    const Buffer buffer(*this);
    netvsc_rx_frame *frame = &poll->frames[poll->n];
    netvsc_fragment *fragment = &fragments_[poll->n];
    bool good = true;
    for (uint32_t left = n; left > 0; left--, ranges++) {
        if (left > kFetchAhead) {
            shape_.prefetch(buffer.place(load_word(ranges + kFetchAhead)));
        }
        auto range = buffer.range(load_word(ranges));
        if (!shape_.parse(range, fragment, frame)) [[unlikely]] {
            std::optional<Malformed> cause = Malformed::kRange;
            if (range.data()) {
                cause = parse_rndis_packet(range, fragment, frame,
                                           shape_.wants_to_learn() ? &shape_
                                                                   : nullptr);
            }
            if (cause) {
                count(*cause);
                good = false;
                continue;
            }
        }
        poll->tally.add(*frame, *fragment);
        frame++;
        fragment++;
    }
    poll->n = static_cast<unsigned>(frame - poll->frames.data());
    poll->ranges += n;
    return good;
}

/* Takes what there is room for of the transfer under way. */
void
RxQueue::take_some(Poll *poll) noexcept
{
    /* Malformed ranges give no frame, but count all the same. */
    auto n = static_cast<uint32_t>(std::min<size_t>(
        {poll->frames.size() - poll->n, transfer_.count - transfer_.next,
         kMaxRangesPerPoll - poll->ranges}));
    if (transfer_.control) {
        take_messages(n);
        poll->ranges += n;
    } else {
        std::array<uint64_t, kMaxBurst> copy;
        auto words = channel_->in().words(transfer_.packet);
        uint64_t *ranges =
            words.from(kFirstRange + transfer_.next, std::span(copy).first(n));
        if (!take_frames(ranges, n, poll)) {
            transfer_.failed = true;
        }
        transfer_.next += n;
    }
    if (transfer_.next == transfer_.count) {
        finish_transfer();
        poll->room--;
    }
}

/* Takes `n` ranges with control messages. */
void
RxQueue::take_messages(unsigned n) noexcept
{
    const Buffer buffer(*this);
    auto words = channel_->in().words(transfer_.packet);
    for (; n > 0; n--) {
        auto range = buffer.range(words[kFirstRange + transfer_.next++]);
        if (!range.data()) {
            count(Malformed::kRange);
            transfer_.failed = true;
            continue;
        }
        control_.add();
        if (!mailbox_->deliver_rndis(range)) {
            count(Malformed::kReply);
            transfer_.failed = true;
        }
    }
}

void
RxQueue::finish_transfer() noexcept
{
    channel_->in().consume(transfer_.packet);
    finish(transfer_.packet.desc.trans_id, transfer_.failed);
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
    bool good = false;
    if (sections_) {
        good = control ? id->index == kControlSection &&
                             control_section_->complete()
                       : sections_->complete(id->index);
    }
    if (!good) {
        count(Malformed::kTransactionId);
        return;
    }
    /* The section is ours again whatever the message says. */
    if (packet.payload_size() < sizeof(wire::nvsp::SendRndisPacketComplete)) {
        count(Malformed::kPacketHeader);
        return;
    }
    uint64_t message = channel_->in().words(packet)[packet.desc.offset8];
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
    switch (low(channel_->in().words(packet)[packet.desc.offset8])) {
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
    if (n_owed_ == 0) {
        return;
    }
    auto owed = std::span(owed_).first(n_owed_);
    if (channel_->send_completions(owed) != owed.size()) {
        /* take() made sure of the room: the host moved its index back. */
        fault_->raise("wrote an impossible index to the send ring");
    }
    n_owed_ = 0;
}

void
RxQueue::add_to(Statistics *statistics) const noexcept
{
    frames_.add_to(&statistics->rx_packets, &statistics->rx_bytes,
                   &statistics->rx_size_bins);
    statistics->rx_multicast += multicast_.get();
    statistics->rx_discarded += discarded_.get();
    statistics->rx_control += control_.get();
    statistics->rx_ring_packets += ring_packets_.get();
    statistics->tx_failed += tx_failed_.get();
    for (unsigned i = 0; i < malformed_.size(); i++) {
        statistics->malformed[i] += malformed_[i].get();
    }
}

} // namespace netvsc
