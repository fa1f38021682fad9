#include "driver/tx_queue.h"

#include <algorithm>
#include <cstring>

#include "driver/ethernet.h"
#include "driver/rndis_packet.h"
#include "driver/size_bins.h"
#include "driver/transaction_id.h"

namespace netvsc {

TxQueue::TxQueue(unsigned index, Channel *channel, SendSections *sections,
                 RxQueue *completions, SessionFault *fault,
                 uint16_t generation, const TxLimits &limits)
    : channel_(channel), sections_(sections), share_(&sections->share(index)),
      completions_(completions), fault_(fault), generation_(generation),
      limits_(limits)
{
    /* Added to a frame's place in its burst. */
    limits_.max_packets = std::min(limits_.max_packets, kMaxBurst);
    /* So that an empty section takes every frame. */
    limits_.max_frame =
        std::min(limits_.max_frame, limits_.max_message - kTxHeaderSizeVlan);
}

unsigned
TxQueue::send(std::span<const netvsc_tx_frame> frames) noexcept
{
    unsigned taken = 0;
    while (taken < frames.size() && !fault_->reason()) {
        auto burst = frames.subspan(
            taken, std::min<size_t>(frames.size() - taken, kMaxBurst));
        unsigned n = send_burst(burst);
        taken += n;
        if (n < burst.size()) {
            break;
        }
    }
    return taken;
}

unsigned
TxQueue::send_burst(std::span<const netvsc_tx_frame> frames) noexcept
{
    Burst burst;
    unsigned n = place(frames, &burst);
    for (unsigned i = 0; i < n; i++) {
        if (burst.to[i]) {
            const uint32_t size = frames[i].size;
            burst.tally.add(size);
            std::memcpy(burst.to[i], frames[i].data, size);
        }
    }
    auto filled = std::span(burst.filled).first(burst.sections);
    unsigned published = publish(filled);
    if (published < filled.size()) {
        unsigned sent = published ? filled[published - 1].frames : 0;
        ring_full_.add(n - sent);
        n = sent;
        burst.tally = {};
        for (const netvsc_tx_frame &frame : frames.first(n)) {
            if (fits(frame, has_vlan_tag(frame))) {
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

    unsigned add_plain(std::span<const netvsc_tx_frame> frames,
                       const TxLimits &limits, uint8_t **to) noexcept;

private:
    static constexpr uint32_t kWord = sizeof(uint64_t);

    /* Offsets of less than 32 bits, in the type that needs no conversion. */
    uint8_t *section_ = nullptr;
    size_t last_ = 0, end_ = 0; /* Of the last message. */
    size_t next_ = 0;           /* Where the next one goes. */
};

/* Gives each frame its place in a section and writes its header; returns how
 * many found one. */
unsigned
TxQueue::place(std::span<const netvsc_tx_frame> frames, Burst *burst) noexcept
{
    share_->refill();
    Filling section;
    unsigned n = 0;    /* Sections, the last one open. */
    unsigned full = 0; /* Frame that needs another section. */
    unsigned i = 0;
    auto close = [&] {
        if (n > 0) {
            burst->filled[n - 1].bytes = section.finish();
            burst->filled[n - 1].frames = i;
        }
    };
    for (;;) {
        size_t end = std::min<size_t>(frames.size(), full);
        if (i < end) {
            i += section.add_plain(frames.subspan(i, end - i), limits_,
                                   &burst->to[i]);
        }
        if (i == frames.size()) {
            break;
        }
        const netvsc_tx_frame &frame = frames[i];
        bool vlan = has_vlan_tag(frame);
        if (!fits(frame, vlan)) [[unlikely]] {
            burst->tally.refuse(frame);
            burst->to[i++] = nullptr;
            full++;
            continue;
        }
        uint32_t size = rndis_packet_size(frame.size, vlan);
        if (i >= full || !section.takes(size, limits_)) {
            auto index = share_->take();
            if (!index) [[unlikely]] {
                index = harvest();
            }
            if (!index) {
                no_section_.add(frames.size() - i);
                break;
            }
            close();
            burst->filled[n++].index = *index;
            section = Filling(sections_->section(*index).data());
            full = i + limits_.max_packets;
            continue;
        }
        /* What add_plain() leaves to others: a tag, a frame that is too short
         * for one, a large alignment. */
        section.add(size, limits_);
        if (vlan) {
            build_tagged_rndis_packet(frame, section.length(),
                                      section.message());
            burst->tally.add(frame.size);
            burst->to[i++] = nullptr;
        } else {
            burst->to[i++] = put_rndis_header(frame.size, section.length(),
                                              section.message());
        }
    }
    close();
    burst->sections = n;
    return i;
}

/* Adds the frames in front that are as most are: of a good size, without a
 * tag, and there is room for them.  Returns how many. */
unsigned
TxQueue::Filling::add_plain(std::span<const netvsc_tx_frame> frames,
                            const TxLimits &limits, uint8_t **to) noexcept
{
    constexpr uint32_t kLeast = kEthernetHeader + kVlanTag;
    /* Copies, which what is written to the section cannot change. */
    const TxLimits fixed = limits;
    Filling filling = *this;
    size_t i = 0;
    if (fixed.alignment > kWord) {
        return 0;
    }
    for (; i < frames.size(); i++) {
        const uint32_t size = frames[i].size;
        const uint32_t length = rndis_packet_size(size, false);
        /* Too small becomes huge. */
        if (size - kLeast > fixed.max_frame - kLeast ||
            is_vlan_tag(frames[i].data + kEthernetAddresses) ||
            !filling.takes(length, fixed)) {
            break;
        }
        filling.add(length, fixed);
        to[i] = put_rndis_header(size, filling.length(), filling.message());
    }
    *this = filling;
    return static_cast<unsigned>(i);
}

/* Looks for sections that came back when there are none. */
std::optional<uint32_t>
TxQueue::harvest() noexcept
{
    completions_->harvest();
    share_->refill();
    return share_->take();
}

/* Returns how many sections went out; the others are taken back. */
unsigned
TxQueue::publish(std::span<const Filled> filled) noexcept
{
    if (filled.empty()) {
        return 0;
    }
    const uint16_t generation = generation_;
    unsigned sent = channel_->send(
        static_cast<unsigned>(filled.size()), kCompletionReserve,
        [&](unsigned i) {
            const uint32_t index = filled[i].index, bytes = filled[i].bytes;
            /* Its completion can come as soon as it is published. */
            sections_->give(index);
            TransactionId id = {generation, TransactionId::Kind::kData, index};
            return make_section_packet(index, bytes, id.encode());
        });
    ring_packets_.add(sent);
    for (size_t i = filled.size(); i-- > sent;) {
        share_->put_back(filled[i].index);
    }
    return sent;
}

void
TxQueue::count(const Tally &tally) noexcept
{
    frames_.add(tally);
    too_small_.add(tally.too_small);
    too_big_.add(tally.too_big);
}

void
TxQueue::add_to(Statistics *statistics) const noexcept
{
    frames_.add_to(&statistics->tx_packets, &statistics->tx_bytes,
                   &statistics->tx_size_bins);
    statistics->tx_ring_packets += ring_packets_.get();
    statistics->tx_no_section += no_section_.get();
    statistics->tx_ring_full += ring_full_.get();
    statistics->tx_too_big += too_big_.get();
    statistics->tx_too_small += too_small_.get();
}

} // namespace netvsc
