/* A VMBus channel: its two rings, and who may touch them when.
 *
 * Outgoing ring: several writers (receive completions, transmit queues,
 * control), one lock, taken once per burst.  Inbound ring: one consumer at a
 * time, by a try-lock taken once per burst. */

#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <mutex>
#include <optional>
#include <span>
#include <type_traits>

#include "driver/counter.h"
#include "driver/ring.h"
#include "driver/sysfs.h"
#include "driver/uio.h"
#include "wire/nvsp.h"

namespace netvsc {

/* Tells the host that a ring became non-empty (reference C.5). */
class HostSignal {
public:
    /* By the channel's bit in the monitor page; without a monitor id, by its
     * bit in the interrupt page and the kernel. */
    HostSignal(Uio *uio, uint32_t relid, std::optional<uint32_t> monitor_id);

    void signal() noexcept;

private:
    Uio *uio_;
    uint32_t *word_;
    uint32_t bit_;
    bool monitor_;
};

/* An NVSP message as a ring packet: descriptor and 40 bytes, 7 words. */
using NvspPacket = std::array<uint64_t, 7>;

/* A receive completion: descriptor and the 8 bytes that hosts read. */
using CompletionPacket = std::array<uint64_t, 3>;

/* Makes a packet of `message`; `trans_id` 0 and no flag: no completion. */
template <typename Message>
NvspPacket
make_nvsp_packet(const Message &message, uint64_t trans_id, bool completion)
{
    static_assert(sizeof message <= wire::nvsp::kMessageSize);
    struct {
        wire::PacketDescriptor desc;
        uint8_t payload[wire::nvsp::kMessageSize];
    } packet = {};
    packet.desc.type = wire::kPacketInband;
    packet.desc.offset8 = sizeof packet.desc / wire::kRingUnit;
    packet.desc.len8 = sizeof packet / wire::kRingUnit;
    packet.desc.flags = completion ? wire::kCompletionRequested : 0;
    packet.desc.trans_id = trans_id;
    std::memcpy(packet.payload, &message, sizeof message);
    return std::bit_cast<NvspPacket>(packet);
}

/* Answers the transfer-pages packet `trans_id`: its sub-allocations are the
 * host's again. */
inline CompletionPacket
make_receive_completion(uint64_t trans_id, uint32_t status)
{
    struct {
        wire::PacketDescriptor desc;
        wire::nvsp::SendRndisPacketComplete message;
    } packet = {};
    packet.desc.type = wire::kPacketCompletion;
    packet.desc.offset8 = sizeof packet.desc / wire::kRingUnit;
    packet.desc.len8 = sizeof packet / wire::kRingUnit;
    packet.desc.trans_id = trans_id;
    packet.message.type = wire::nvsp::kSendRndisPacketComplete;
    packet.message.status = status;
    return std::bit_cast<CompletionPacket>(packet);
}

/* Ring packets that one poll takes at the most, so that a host which refills
 * as fast as we drain cannot keep a PMD thread (peers.md 4b). */
inline constexpr unsigned kMaxPacketsPerPoll = 64;

/* And ranges, of which a malformed packet can hold tens of thousands: more
 * than the 375 of the largest packet that hosts send. */
inline constexpr unsigned kMaxRangesPerPoll = 512;

/* Room in the outgoing ring that only receive completions use: enough for
 * those of one poll, so that what was received can always be given back. */
inline constexpr uint32_t kCompletionReserve =
    kMaxPacketsPerPoll * (sizeof(CompletionPacket) + wire::kTrailerSize);

class Channel {
public:
    /* `rings`: both rings of the channel, each half of it. */
    Channel(std::span<uint8_t> rings, HostSignal signal);

    /* Sends up to `n` packets in order as far as they fit beside `keep_free`
     * bytes, with one publication and at most one signal.  `make(i)` gives
     * the words of packet i.  Returns how many, and tells `going` before the
     * host can see the first of them. */
    template <typename Make, typename Going>
    [[nodiscard]] unsigned
    send(unsigned n, uint32_t keep_free, Make make, Going going) noexcept
    {
        using Words = std::remove_cvref_t<decltype(make(0u))>;
        constexpr uint32_t kBytes = sizeof(Words) + wire::kTrailerSize;
        std::lock_guard lock(out_lock_);
        unsigned sent = 0;
        while (sent < n && out_.fits(kBytes, keep_free)) {
            const Words &words = make(sent++);
            out_.put(std::span(words));
        }
        going(sent);
        if (out_.publish()) {
            signal_host();
        }
        return sent;
    }
    template <size_t Words>
    [[nodiscard]] unsigned
    send(std::span<const std::array<uint64_t, Words>> packets,
         uint32_t keep_free) noexcept
    {
        return send(
            static_cast<unsigned>(packets.size()),
            keep_free, [&](unsigned i) -> const auto & { return packets[i]; },
            [](unsigned) {});
    }

    /* How many receive completions fit now.  Nobody else uses that room
     * until they are sent: the caller is the consumer, and the other writers
     * keep kCompletionReserve free. */
    [[nodiscard]] unsigned completion_room() noexcept;

    /* The host has read everything that was sent. */
    [[nodiscard]] bool out_drained() noexcept;

    /* The host left its index impossible: nothing can be sent any more. */
    [[nodiscard]] bool out_broken() noexcept;

    /* The consumer: try_consume(), then in(), then end_consume(). */
    [[nodiscard]] bool
    try_consume() noexcept
    {
        return !consumed_by_other_.load(std::memory_order_relaxed) &&
               !consumed_by_other_.exchange(true, std::memory_order_acquire);
    }
    void
    end_consume() noexcept
    {
        consumed_by_other_.store(false, std::memory_order_release);
    }
    RingReader &
    in() noexcept
    {
        return in_;
    }
    const RingReader &
    in() const noexcept
    {
        return in_;
    }

    /* Publishes the read index and signals if the host waits for room. */
    void publish_consumed() noexcept;

    /* Signals sent; any thread. */
    uint64_t
    signals() const noexcept
    {
        return signals_.get();
    }

private:
    void
    signal_host() noexcept
    {
        signals_.add();
        signal_.signal();
    }

    alignas(64) std::mutex out_lock_;
    RingWriter out_;
    HostSignal signal_;
    Counter signals_; /* Under out_lock_. */
    alignas(64) std::atomic<bool> consumed_by_other_{false};
    RingReader in_;
};

} // namespace netvsc
