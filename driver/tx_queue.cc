#include "driver/tx_queue.h"

#include <algorithm>
#include <cstring>

#include "driver/copy.h"
#include "driver/ethernet.h"
#include "driver/range.h"
#include "driver/rndis_packet.h"
#include "driver/transaction_id.h"

namespace netvsc {

TxQueue::TxQueue(const SessionContext &context, NetChannel *channel,
                 unsigned share, const TxLimits &limits)
    : ring_(&channel->ring), sections_(&channel->sections),
      share_(&channel->sections.share(share)), consumer_(&channel->consumer),
      fault_(context.fault), generation_(context.generation), limits_(limits)
{
    /* Added to a frame's place in its burst. */
    limits_.max_packets = std::min(limits_.max_packets, kMaxBurst);
    set_max_frame(limits_.max_frame);
}

unsigned
TxQueue::send(std::span<const netvsc_tx_frame> frames) noexcept
{
    if (fault_->reason()) {
        return 0;
    }
    frames = frames.first(std::min<size_t>(frames.size(), kMaxBurst));
    /* Once for all of its frames: an atomic that each of them loads costs
     * eight instructions more. */
    limits_.max_frame = max_frame_.load(std::memory_order_relaxed);
    Burst burst;
    unsigned n = place(frames, &burst);
    /* In a loop of its own, because a call costs the other one all of its
     * registers. */
    for (const Copy *copy = burst.copies.data(); copy != burst.last_copy;
         copy++) {
        std::memcpy(copy->to, copy->from, copy->size);
    }
    auto filled = std::span(burst.filled).first(burst.sections);
    unsigned published = publish(filled);
    if (published < filled.size()) {
        unsigned sent = published ? filled[published - 1].frames : 0;
        counters_.add(Count::kTxRingFull, n - sent);
        n = sent;
        burst.tally = {};
        for (const netvsc_tx_frame &frame : frames.first(n)) {
            if (fits(frame)) {
                burst.tally.add(frame.size);
            } else {
                burst.tally.refuse(frame);
            }
        }
    }
    count(burst.tally);
    return n;
}

/* A section that is being filled.  Each message is followed by the padding
 * for the next one, which belongs to it (E.9); the last one has none. */
class TxQueue::Filling {
public:
    Filling() = default;
    explicit Filling(uint8_t *section) : section_(section) {}

    bool
    empty() const noexcept
    {
        return next_ == 0;
    }
    bool
    takes(uint32_t size, const TxLimits &limits) const noexcept
    {
        return next_ + size <= limits.max_message;
    }
    /* Makes place for a message of `size` bytes. */
    void
    add(uint32_t size, const TxLimits &limits) noexcept
    {
        const size_t align = limits.alignment - 1;
        last_ = next_;
        end_ = last_ + size;
        next_ = (end_ + align) & ~align;
        if (limits.alignment <= kWord) [[likely]] {
            /* The frame is written later, over what is not padding. */
            uint64_t zero = 0;
            std::memcpy(section_ + next_ - kWord, &zero, kWord);
        } else if (next_ <= limits.max_message) {
            std::memset(section_ + end_, 0, next_ - end_);
        }
    }
    /* The last message and its length with padding. */
    uint8_t *
    message() const noexcept
    {
        return section_ + last_;
    }
    uint32_t
    length() const noexcept
    {
        return static_cast<uint32_t>(next_ - last_);
    }
    /* Takes the last one's padding off; returns the bytes used. */
    uint32_t
    finish() noexcept
    {
        auto length = static_cast<uint32_t>(end_ - last_);
        std::memcpy(message() + offsetof(wire::rndis::Header, length), &length,
                    sizeof length);
        return static_cast<uint32_t>(end_);
    }

    [[gnu::always_inline]] unsigned
    add_plain(std::span<const netvsc_tx_frame> frames, const TxLimits &limits,
              Burst *burst) noexcept;

private:
    static constexpr uint32_t kWord = sizeof(uint64_t);

    /* Offsets of less than 32 bits, in the type that needs no conversion. */
    uint8_t *section_ = nullptr;
    size_t last_ = 0, end_ = 0; /* Of the last message. */
    size_t next_ = 0;           /* Where the next one goes. */
};

/* Adds the frames in front that are as most are: of a good size, without a
 * tag, and there is room for them.  Returns how many. */
inline unsigned
TxQueue::Filling::add_plain(std::span<const netvsc_tx_frame> frames,
                            const TxLimits &limits, Burst *burst) noexcept
{
    constexpr uint32_t kLeast = kEthernetHeader + kVlanTag;
    /* Copies, which what is written to the section cannot change. */
    const TxLimits fixed = limits;
    Filling filling = *this;
    uint64_t bytes = 0;
    if (fixed.alignment > kWord) {
        return 0;
    }
    const netvsc_tx_frame *frame = frames.data(), *end = frame + frames.size();
    for (; frame != end; frame++) {
        const uint8_t *from = frame->data;
        const uint32_t size = frame->size;
        const uint32_t length = rndis_packet_size(size, false);
        if (!netvsc_in_range(size, kLeast, fixed.max_frame - kLeast + 1) ||
            is_vlan_tag(from + kEthernetAddresses) ||
            !filling.takes(length, fixed)) {
            break;
        }
        filling.add(length, fixed);
        uint8_t *to =
            put_rndis_header(size, filling.length(), filling.message());
        bytes += size;
        if (netvsc_copy_short(to, from, size)) {
            static_assert(kSizeBinLimits[0] == 64);
            burst->tally.bins[0]++;
        } else {
            *burst->last_copy++ = {to, from, size};
            burst->tally.bins[size_bin(size)]++;
        }
    }
    burst->tally.bytes += bytes;
    *this = filling;
    return static_cast<unsigned>(frame - frames.data());
}

/* Gives each frame its place in a section and writes its header; returns how
 * many found one. */
unsigned
TxQueue::place(std::span<const netvsc_tx_frame> frames, Burst *burst) noexcept
{
    const auto most = static_cast<unsigned>(frames.size());
    share_->refill();
    Filling section;
    unsigned n = 0;    /* Sections, the last one open. */
    unsigned full = 0; /* Frame that needs another section. */
    unsigned i = 0;
    auto refuse = [&] { burst->tally.refuse(frames[i++]); };
    auto close = [&] {
        if (n > 0) {
            burst->filled[n - 1].bytes = section.finish();
            burst->filled[n - 1].frames = i;
        }
    };
    for (;;) {
        if (i < full) {
            i +=
                section.add_plain(frames.subspan(i, full - i), limits_, burst);
        }
        if (i == frames.size()) {
            break;
        }
        if (i < full) {
            /* What add_plain() leaves to others: a frame that cannot be sent,
             * has a tag, or is too short for one, a large alignment, and a
             * section without room. */
            const netvsc_tx_frame &frame = frames[i];
            bool vlan = has_vlan_tag(frame);
            if (!fits(frame)) [[unlikely]] {
                refuse();
                full = std::min(full + 1, most);
                continue;
            }
            uint32_t size = rndis_packet_size(frame.size, vlan);
            if (section.takes(size, limits_)) {
                section.add(size, limits_);
                burst->tally.add(frame.size);
                if (vlan) {
                    build_tagged_rndis_packet(frame, section.length(),
                                              section.message());
                } else {
                    uint8_t *to = put_rndis_header(
                        frame.size, section.length(), section.message());
                    *burst->last_copy++ = {to, frame.data, frame.size};
                }
                i++;
                continue;
            }
        }
        auto index = share_->pop();
        if (!index) [[unlikely]] {
            index = harvest();
        }
        if (!index) [[unlikely]] {
            if (!fits(frames[i])) {
                refuse();
                continue;
            }
            counters_.add(Count::kTxNoSection, frames.size() - i);
            break;
        }
        close();
        burst->filled[n++].index = *index;
        section = Filling(sections_->section(*index).data());
        full = std::min(i + limits_.max_packets, most);
    }
    close();
    if (section.empty() && n > 0) [[unlikely]] {
        /* Its frames were refused. */
        share_->put_back(burst->filled[--n].index);
    }
    burst->sections = n;
    return i;
}

/* Looks for sections that came back when there are none. */
std::optional<uint32_t>
TxQueue::harvest() noexcept
{
    consumer_->harvest();
    share_->refill();
    return share_->pop();
}

/* Returns how many sections went out; the others are taken back. */
unsigned
TxQueue::publish(std::span<const Filled> filled) noexcept
{
    if (filled.empty()) {
        return 0;
    }
    const uint16_t generation = generation_;
    SendSections &sections = *sections_;
    unsigned sent = 0;
    {
        Channel::SendBatch batch(ring_);
        for (const Filled &one : filled) {
            const uint32_t index = one.index, bytes = one.bytes;
            TransactionId id = {generation, TransactionId::Kind::kData, index};
            if (!batch.put(make_section_packet(index, bytes, id.encode()))) {
                break;
            }
            /* Its completion can come as soon as the batch ends. */
            sections.give(index);
            sent++;
        }
    }
    counters_.add(Count::kTxRingPackets, sent);
    for (size_t i = filled.size(); i-- > sent;) {
        share_->put_back(filled[i].index);
    }
    return sent;
}

void
TxQueue::count(const Tally &tally) noexcept
{
    frames_.add(tally);
    if (tally.too_small + tally.too_big > 0) [[unlikely]] {
        counters_.add(Count::kTxTooSmall, tally.too_small);
        counters_.add(Count::kTxTooBig, tally.too_big);
        /* One thread at a time writes. */
        biggest_refused_.store(
            std::max(biggest_refused_.load(std::memory_order_relaxed),
                     tally.biggest),
            std::memory_order_relaxed);
    }
}

void
TxQueue::add_to(Statistics *statistics) const noexcept
{
    frames_.add_to(&statistics->tx);
    counters_.add_to(statistics);
    statistics->tx_biggest_refused =
        std::max<uint64_t>(statistics->tx_biggest_refused,
                           biggest_refused_.load(std::memory_order_relaxed));
}

} // namespace netvsc
