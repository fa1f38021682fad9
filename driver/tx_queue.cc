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
        count(burst.first(n));
        taken += n;
        if (n < burst.size()) {
            break;
        }
    }
    return taken;
}

bool
TxQueue::sendable(const netvsc_tx_frame &frame) const noexcept
{
    return frame.size >= kEthernetHeader &&
           frame.size - (has_vlan_tag(frame) ? kVlanTag : 0) <=
               limits_.max_frame;
}

unsigned
TxQueue::send_burst(std::span<const netvsc_tx_frame> frames) noexcept
{
    std::array<Filled, kMaxBurst> filled;
    unsigned n = 0; /* Sections in `filled`, the last one open. */
    unsigned i = 0;
    for (; i < frames.size(); i++) {
        if (sendable(frames[i]) &&
            (n == 0 || !append(&filled[n - 1], frames[i]))) {
            Filled next;
            if (!open_section(&next)) {
                no_section_.add(frames.size() - i);
                break;
            }
            /* An empty section takes every sendable frame. */
            (void) append(&next, frames[i]);
            filled[n++] = next;
        }
        if (n > 0) {
            filled[n - 1].frames = i + 1;
        }
    }
    unsigned published = publish(std::span(filled).first(n));
    if (published == n) {
        return i;
    }
    unsigned sent = published ? filled[published - 1].frames : 0;
    ring_full_.add(i - sent);
    return sent;
}

bool
TxQueue::open_section(Filled *filled) noexcept
{
    auto section = sections_->take(index_);
    if (!section) {
        completions_->harvest();
        section = sections_->take(index_);
    }
    if (!section) {
        return false;
    }
    *filled = {};
    filled->index = *section;
    return true;
}

/* Adds the frame to the section if the host's limits allow. */
bool
TxQueue::append(Filled *filled, const netvsc_tx_frame &frame) noexcept
{
    bool vlan = has_vlan_tag(frame);
    uint32_t at =
        (filled->bytes + limits_.alignment - 1) & ~(limits_.alignment - 1);
    uint32_t size = rndis_packet_size(frame, vlan);
    if (filled->packets == limits_.max_packets ||
        at + size > limits_.max_message) {
        return false;
    }
    uint8_t *section = sections_->section(filled->index).data();
    if (at != filled->bytes) {
        /* The padding belongs to the message before it (E.9). */
        uint32_t length = at - filled->last;
        std::memset(section + filled->bytes, 0, at - filled->bytes);
        std::memcpy(section + filled->last +
                        offsetof(wire::rndis::Header, length),
                    &length, sizeof length);
    }
    build_rndis_packet(frame, vlan, section + at);
    filled->last = at;
    filled->bytes = at + size;
    filled->packets++;
    return true;
}

/* Returns how many sections went out; the others are taken back. */
unsigned
TxQueue::publish(std::span<Filled> filled) noexcept
{
    std::array<NvspPacket, kMaxBurst> packets;
    for (size_t i = 0; i < filled.size(); i++) {
        wire::nvsp::SendRndisPacket message = {
            wire::nvsp::kSendRndisPacket, wire::nvsp::kChannelTypeData,
            filled[i].index, filled[i].bytes};
        TransactionId id = {generation_, TransactionId::Kind::kData,
                            filled[i].index};
        packets[i] = make_nvsp_packet(message, id.encode(), true);
    }
    unsigned sent = channel_->send(
        std::span<const NvspPacket>(packets.data(), filled.size()),
        kCompletionReserve, [&](unsigned going) {
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
TxQueue::count(std::span<const netvsc_tx_frame> frames) noexcept
{
    uint64_t packets = 0, bytes = 0;
    for (const netvsc_tx_frame &frame : frames) {
        if (sendable(frame)) {
            packets++;
            bytes += frame.size;
            bins_[size_bin(frame.size)].add();
        } else if (frame.size < kEthernetHeader) {
            too_small_.add();
        } else {
            too_big_.add();
        }
    }
    packets_.add(packets);
    bytes_.add(bytes);
}

void
TxQueue::add_to(Statistics *statistics) const noexcept
{
    statistics->tx_packets += packets_.get();
    statistics->tx_bytes += bytes_.get();
    statistics->tx_ring_packets += ring_packets_.get();
    statistics->tx_no_section += no_section_.get();
    statistics->tx_ring_full += ring_full_.get();
    statistics->tx_too_big += too_big_.get();
    statistics->tx_too_small += too_small_.get();
    for (unsigned i = 0; i < bins_.size(); i++) {
        statistics->tx_size_bins[i] += bins_[i].get();
    }
}

} // namespace netvsc
