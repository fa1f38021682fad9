#include "driver/tx_queue.h"

#include <algorithm>
#include <cstring>

#include "driver/ethernet.h"
#include "driver/rndis_packet.h"
#include "driver/size_bins.h"
#include "driver/transaction_id.h"

namespace netvsc {

namespace {

/* `size` zeros; more than a word only where a host aligns to more.  A whole
 * word is written at least: the next message covers what is too much. */
void
put_padding(uint8_t *to, uint32_t size)
{
    uint64_t zero = 0;
    std::memcpy(to, &zero, sizeof zero);
    if (size > sizeof zero) [[unlikely]] {
        std::memset(to, 0, size);
    }
}

} // namespace

TxQueue::TxQueue(unsigned index, Channel *channel, SendSections *sections,
                 RxQueue *completions, SessionFault *fault,
                 uint16_t generation, const TxLimits &limits)
    : index_(index), channel_(channel), sections_(sections),
      completions_(completions), fault_(fault), generation_(generation),
      limits_(limits)
{
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
    /* Copies, which what is written to the sections cannot change. */
    const TxLimits limits = limits_;
    const uint32_t align = limits.alignment - 1;
    std::array<Filled, kMaxBurst> filled;
    unsigned n = 0; /* Sections in `filled`, the last one open. */
    uint8_t *section = nullptr;
    uint32_t bytes = 0, last = 0;
    uint32_t packets = limits.max_packets; /* Full, so that one is opened. */
    Tally tally;
    unsigned i = 0;
    auto close = [&] {
        if (n > 0) {
            filled[n - 1].bytes = bytes;
            filled[n - 1].frames = i;
        }
    };
    for (; i < frames.size(); i++) {
        const netvsc_tx_frame frame = frames[i];
        bool vlan = has_vlan_tag(frame);
        if (!fits(frame, vlan, limits)) [[unlikely]] {
            tally.refuse(frame);
            continue;
        }
        uint32_t at = (bytes + align) & ~align;
        uint32_t size = rndis_packet_size(frame, vlan);
        if (packets == limits.max_packets || at + size > limits.max_message) {
            auto index = open_section();
            close();
            if (!index) {
                no_section_.add(frames.size() - i);
                break;
            }
            filled[n++].index = *index;
            section = sections_->section(*index).data();
            /* An empty section takes every frame that fits. */
            at = bytes = packets = 0;
        }
        if (at != bytes) {
            /* The padding belongs to the message before it (E.9). */
            put_padding(section + bytes, at - bytes);
            uint32_t length = at - last;
            std::memcpy(section + last + offsetof(wire::rndis::Header, length),
                        &length, sizeof length);
        }
        build_rndis_packet(frame, vlan, section + at);
        last = at;
        bytes = at + size;
        packets++;
        tally.add(frame.size);
    }
    if (i == frames.size()) {
        close();
    }
    unsigned published = publish(std::span(filled).first(n));
    if (published < n) {
        unsigned sent = published ? filled[published - 1].frames : 0;
        ring_full_.add(i - sent);
        i = sent;
        tally = {};
        for (const netvsc_tx_frame &frame : frames.first(i)) {
            if (fits(frame, has_vlan_tag(frame), limits)) {
                tally.add(frame.size);
            } else {
                tally.refuse(frame);
            }
        }
    }
    count(tally);
    return i;
}

std::optional<uint32_t>
TxQueue::open_section() noexcept
{
    auto section = sections_->take(index_);
    if (!section) {
        completions_->harvest();
        section = sections_->take(index_);
    }
    return section;
}

/* Returns how many sections went out; the others are taken back. */
unsigned
TxQueue::publish(std::span<const Filled> filled) noexcept
{
    if (filled.empty()) {
        return 0;
    }
    unsigned sent = channel_->send(
        static_cast<unsigned>(filled.size()), kCompletionReserve,
        [&](unsigned i) {
            wire::nvsp::SendRndisPacket message = {
                wire::nvsp::kSendRndisPacket, wire::nvsp::kChannelTypeData,
                filled[i].index, filled[i].bytes};
            TransactionId id = {generation_, TransactionId::Kind::kData,
                                filled[i].index};
            return make_nvsp_packet(message, id.encode(), true);
        },
        [&](unsigned going) {
            for (const Filled &one : filled.first(going)) {
                sections_->give(one.index);
            }
        });
    ring_packets_.add(sent);
    for (size_t i = filled.size(); i-- > sent;) {
        sections_->put_back(index_, filled[i].index);
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
