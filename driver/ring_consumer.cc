#include "driver/ring_consumer.h"

#include <algorithm>

#include "driver/nvsp_packets.h"
#include "driver/range.h"
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

/* How many ranges of frames there is room for, if each is a frame. */
uint32_t
most_ranges(const RxBurst &burst)
{
    return static_cast<uint32_t>(burst.frames.size()) - burst.n;
}

} // namespace

RingConsumer::RingConsumer(const SessionContext &context, Channel *channel,
                           const ReceiveBuffer &buffer, SendSections *sections,
                           ControlSection *control, Counters *counters)
    : channel_(channel), sections_(sections), control_(control),
      mailbox_(context.mailbox), fault_(context.fault), counters_(counters),
      generation_(context.generation), buffer_(buffer),
      parser_(buffer, counters)
{
}

void
RingConsumer::end() noexcept
{
    send_completions();
    channel_->end_consume();
}

bool
RingConsumer::discard() noexcept
{
    if (!try_begin()) {
        return false;
    }
    uint64_t before = counters_->get(Count::kRxRingPackets);
    std::array<netvsc_rx_frame, kMaxBurst> frames;
    RxBurst burst;
    burst.frames = frames;
    poll(&burst);
    counters_->add(Count::kRxDiscarded, burst.n);
    bool progress =
        burst.n > 0 || counters_->get(Count::kRxRingPackets) != before;
    end();
    return progress;
}

void
RingConsumer::read_control() noexcept
{
    if (!try_begin()) {
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
        deliver_control(most);
        ranges += most;
        if (transfer_.next < transfer_.count) {
            break;
        }
        finish_transfer();
        room--;
    }
    channel_->publish_consumed();
    end();
}

void
RingConsumer::harvest() noexcept
{
    if (!try_begin()) {
        return;
    }
    unsigned no_room = 0;
    if (!transfer_.active) {
        unsigned packets = fast_completions(kMaxPacketsPerPoll);
        while (packets < kMaxPacketsPerPoll && next_packet(&no_room)) {
            packets++;
            packets += fast_completions(kMaxPacketsPerPoll - packets);
        }
        channel_->publish_consumed();
    }
    channel_->end_consume();
}

bool
RingConsumer::unmask() noexcept
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
RingConsumer::completion_room() noexcept
{
    unsigned room = channel_->completion_room();
    /* Asked only when it stopped us: else the ring is plainly usable. */
    if (room == 0 && channel_->out_broken()) {
        fault_->raise("wrote an impossible index to the send ring");
    }
    return room;
}

void
RingConsumer::poll(RxBurst *burst) noexcept
{
    burst->room = completion_room();
    /* A transfer that an earlier poll began may end in this one. */
    if (transfer_.active && burst->room == 0) {
        return;
    }
    while (burst->n < burst->frames.size() &&
           burst->ranges < kMaxRangesPerPoll) {
        if (transfer_.active) {
            continue_transfer(burst);
            continue;
        }
        if (burst->packets == kMaxPacketsPerPoll) {
            break;
        }
        /* Many packets at once, as long as they are what hosts send; one
         * that is not is left to the full path. */
        unsigned before = burst->packets;
        auto type = channel_->in().next_type();
        if (!type && !channel_->in().broken()) {
            break;
        }
        switch (type.value_or(0)) {
        case wire::kPacketCompletion:
            burst->packets += fast_completions(kMaxPacketsPerPoll - before);
            break;
        case wire::kPacketTransferPages:
            fast_transfers(burst);
            break;
        }
        if (burst->packets == before) {
            if (!next_packet(&burst->room)) {
                break;
            }
            burst->packets++;
        }
    }
    channel_->publish_consumed();
}

/* --- Fast path ------------------------------------------------------------
 *
 * For packets in the form in which hosts send nearly all: read in place, as
 * many as lie in one piece.  It stops at the first packet that it does not
 * recognise and leaves it untouched to the full path below.  What the fast
 * path accepts must mean the same there: change both together. */

/* Handles completions of data packets as long as they are in one piece, tell
 * of success, and are for a section that is away.  Returns how many. */
unsigned
RingConsumer::fast_completions(unsigned most) noexcept
{
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
    counters_->add(Count::kRxRingPackets, n);
    return n;
}

/* Handles transfers of frames as long as they are in one piece, have nothing
 * between header, ranges and message, and the poll has room for all of their
 * frames. */
void
RingConsumer::fast_transfers(RxBurst *burst) noexcept
{
    if (buffer_.empty()) {
        return;
    }
    RingReader::Run run = channel_->in().run();
    const unsigned most =
        std::min(kMaxPacketsPerPoll - burst->packets, burst->room);
    unsigned n = 0;
    for (; n < most && run.words() > kFirstRange; n++) {
        const uint64_t first = run[0];
        const uint32_t words = descriptor_words(first);
        const uint64_t fixed = run[kTransferWord];
        const uint32_t ranges = high(fixed);
        const uint32_t message = kFirstRange + ranges;
        if (!netvsc_in_range(ranges, 1, most_ranges(*burst)) ||
            low(first) != (wire::kPacketTransferPages | message << 16) ||
            words < message + kMessageWords || words >= run.words() ||
            static_cast<uint16_t>(fixed) != wire::nvsp::kReceiveBufferId ||
            run[message] != message_word(wire::nvsp::kSendRndisPacket,
                                         wire::nvsp::kChannelTypeData)) {
            break;
        }
        const uint64_t id = run[kIdWord];
        bool good = parser_.parse(run.from(kFirstRange), ranges, burst);
        owe_completion(id, !good);
        run.skip(words);
        /* Bad ranges give no frames, so that the room for frames does not
         * bound them: poll() does. */
        if (!good) {
            n++;
            break;
        }
    }
    channel_->in().consume(run);
    counters_->add(Count::kRxRingPackets, n);
    burst->packets += n;
    burst->room -= n;
}

/* --- Full path ------------------------------------------------------------
 *
 * For packets of every form, also where the ring cuts them, and for those
 * that are malformed. */

/* Handles or begins the next packet.  False if there is none, or if it is a
 * transfer whose completion has no room. */
bool
RingConsumer::next_packet(unsigned *room) noexcept
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
        counters_->add(Count::kRxRingPackets);
        begin_transfer(packet);
        if (!transfer_.active) {
            (*room)--;
        }
        return true;
    }
    counters_->add(Count::kRxRingPackets);
    if (!packet.header_ok()) {
        counters_->add(Malformed::kPacketHeader);
    } else if (packet.desc.type == wire::kPacketCompletion) {
        handle_completion(packet);
    } else if (packet.desc.type == wire::kPacketInband) {
        handle_inband(packet);
    } else {
        counters_->add(Malformed::kPacketType);
    }
    in.consume(packet);
    return true;
}

/* Whether the next packet carries frames. */
bool
RingConsumer::next_is_frames() noexcept
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
RingConsumer::begin_transfer(const RingPacket &packet) noexcept
{
    RingReader &in = channel_->in();
    transfer_ = {};
    transfer_.packet = packet;

    uint32_t payload = packet.desc.offset8;
    if (!packet.header_ok() || payload < kFirstRange ||
        packet.payload_size() < sizeof(wire::nvsp::SendRndisPacket)) {
        counters_->add(Malformed::kPacketHeader);
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
        counters_->add(*cause);
        transfer_.failed = true;
        finish_transfer();
        return;
    }
    transfer_.count = ranges;
    transfer_.control = high(nvsp) == wire::nvsp::kChannelTypeControl;
    transfer_.active = true;
}

/* Handles what there is room for of the transfer under way. */
void
RingConsumer::continue_transfer(RxBurst *burst) noexcept
{
    /* Malformed ranges give no frame, but count all the same. */
    const uint32_t n =
        std::min({transfer_.count - transfer_.next, most_ranges(*burst),
                  kMaxRangesPerPoll - burst->ranges});
    if (transfer_.control) {
        deliver_control(n);
        burst->ranges += n;
    } else {
        std::array<uint64_t, kMaxBurst> copy;
        auto words = channel_->in().words(transfer_.packet);
        uint64_t *ranges =
            words.from(kFirstRange + transfer_.next, std::span(copy).first(n));
        if (!parser_.parse(ranges, n, burst)) {
            transfer_.failed = true;
        }
        transfer_.next += n;
    }
    if (transfer_.next == transfer_.count) {
        finish_transfer();
        burst->room--;
    }
}

/* Hands `n` ranges with control messages to the control thread. */
void
RingConsumer::deliver_control(unsigned n) noexcept
{
    const ReceiveBuffer buffer = buffer_;
    auto words = channel_->in().words(transfer_.packet);
    for (; n > 0; n--) {
        auto range = buffer.range(words[kFirstRange + transfer_.next++]);
        if (!range.data()) {
            counters_->add(Malformed::kRange);
            transfer_.failed = true;
            continue;
        }
        counters_->add(Count::kRxControl);
        if (!mailbox_->deliver_rndis(range)) {
            counters_->add(Malformed::kReply);
            transfer_.failed = true;
        }
    }
}

void
RingConsumer::finish_transfer() noexcept
{
    channel_->in().consume(transfer_.packet);
    owe_completion(transfer_.packet.desc.trans_id, transfer_.failed);
    transfer_.active = false;
}

void
RingConsumer::handle_completion(const RingPacket &packet) noexcept
{
    auto id = TransactionId::decode(packet.desc.trans_id);
    if (!id || id->generation != generation_) {
        counters_->add(Malformed::kTransactionId);
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
            counters_->add(Malformed::kReply);
        }
        return;
    }
    bool control = id->kind == TransactionId::Kind::kControl;
    bool good = control ? control_ && id->index == kControlSection &&
                              control_->complete()
                        : sections_->complete(id->index);
    if (!good) {
        counters_->add(Malformed::kTransactionId);
        return;
    }
    /* The section is ours again whatever the message says. */
    if (packet.payload_size() < sizeof(wire::nvsp::SendRndisPacketComplete)) {
        counters_->add(Malformed::kPacketHeader);
        return;
    }
    uint64_t message = channel_->in().words(packet)[packet.desc.offset8];
    if (low(message) != wire::nvsp::kSendRndisPacketComplete) {
        counters_->add(Malformed::kNvspType);
    } else if (high(message) != wire::nvsp::kStatusSuccess) {
        counters_->add(Count::kTxFailed);
    }
    if (control) {
        mailbox_->notify();
    }
}

void
RingConsumer::handle_inband(const RingPacket &packet) noexcept
{
    std::array<uint64_t, kMaxInbandMessage / wire::kRingUnit> message;
    auto words = std::min<uint32_t>(packet.payload_size() / wire::kRingUnit,
                                    message.size());
    if (words == 0) {
        counters_->add(Malformed::kPacketHeader);
        return;
    }
    channel_->in().copy(packet, packet.desc.offset8,
                        std::span(message).first(words));
    auto bytes = std::as_bytes(std::span(message).first(words));
    if (!mailbox_->deliver_inband(
            {reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()})) {
        counters_->add(Malformed::kNvspType);
    }
}

void
RingConsumer::send_completions() noexcept
{
    if (n_owed_ == 0) {
        return;
    }
    auto owed = std::span(owed_).first(n_owed_);
    if (channel_->send_completions(owed) != owed.size()) {
        /* poll() made sure of the room: the host moved its index back. */
        fault_->raise("wrote an impossible index to the send ring");
    }
    n_owed_ = 0;
}

} // namespace netvsc
