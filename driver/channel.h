/* A VMBus channel: its two rings, and who may touch them when.
 *
 * Outgoing ring: several writers (receive completions, transmit queues,
 * control), one lock, taken once per burst.  Inbound ring: one consumer at a
 * time, by a try-lock taken once per burst. */

#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <mutex>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

#include "driver/cache_line.h"
#include "driver/counter.h"
#include "driver/kernel/sysfs.h"
#include "driver/kernel/uio.h"
#include "driver/ring.h"
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

/* The first word of the descriptor of a packet of `words` words (A.4). */
constexpr uint64_t
descriptor_word(uint16_t type, uint32_t words, uint16_t flags) noexcept
{
    constexpr uint64_t kOffset =
        sizeof(wire::PacketDescriptor) / wire::kRingUnit;
    return type | kOffset << 16 | uint64_t{words} << 32 |
           uint64_t{flags} << 48;
}

/* The packet's words, out of the same word. */
constexpr uint32_t
descriptor_words(uint64_t first) noexcept
{
    return static_cast<uint16_t>(first >> 32);
}

/* Two values of an NVSP message, the first one in front. */
constexpr uint64_t
message_word(uint32_t first, uint32_t second) noexcept
{
    return first | uint64_t{second} << 32;
}

/* Makes a packet of `message`; `trans_id` 0 and no flag: no completion. */
template <typename Message>
NvspPacket
make_nvsp_packet(const Message &message, uint64_t trans_id, bool completion)
{
    NvspPacket packet = {
        descriptor_word(wire::kPacketInband, std::tuple_size_v<NvspPacket>,
                        completion ? wire::kCompletionRequested : 0),
        trans_id};
    static_assert(sizeof message <= wire::nvsp::kMessageSize);
    std::memcpy(&packet[2], &message, sizeof message);
    return packet;
}

/* The packet for the `bytes` of frames in a send section (D.6).  As
 * make_nvsp_packet(), but out of registers. */
constexpr NvspPacket
make_section_packet(uint32_t section, uint32_t bytes,
                    uint64_t trans_id) noexcept
{
    return {descriptor_word(wire::kPacketInband, std::tuple_size_v<NvspPacket>,
                            wire::kCompletionRequested),
            trans_id,
            message_word(wire::nvsp::kSendRndisPacket,
                         wire::nvsp::kChannelTypeData),
            message_word(section, bytes)};
}

/* Answers the transfer-pages packet `trans_id`: its sub-allocations are the
 * host's again. */
constexpr CompletionPacket
make_receive_completion(uint64_t trans_id, uint32_t status) noexcept
{
    return {descriptor_word(wire::kPacketCompletion,
                            std::tuple_size_v<CompletionPacket>, 0),
            trans_id,
            message_word(wire::nvsp::kSendRndisPacketComplete, status)};
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
     * the words of packet i, which goes out for certain then, and not before
     * make() has returned.  Returns how many.
     *
     * Receive completions are the consumer's, and so is a signal that it
     * still owes: it is the same signal. */
    template <typename Make>
    [[nodiscard]] unsigned
    send(unsigned n, uint32_t keep_free, Make make) noexcept
    {
        constexpr uint32_t kBytes = sizeof(make(0)) + wire::kTrailerSize;
        std::lock_guard lock(out_lock_);
        n = out_.fitting(n, kBytes, keep_free);
        for (unsigned i = 0; i < n; i++) {
            out_.put(make(i));
        }
        bool wanted = out_.publish();
        if constexpr (std::is_same_v<decltype(make(0)), CompletionPacket>) {
            wanted |= std::exchange(signal_owed_, false);
        }
        if (wanted) {
            signal_host();
        }
        return n;
    }

    /* How many receive completions fit, kMaxPacketsPerPoll at the most;
     * nobody else uses that room until they are sent.  The consumer's, and
     * without the lock: what it sent itself it knows, and whatever the other
     * writers do meanwhile, they leave more than kCompletionReserve. */
    [[nodiscard]] unsigned
    completion_room() const noexcept
    {
        constexpr uint32_t kBytes =
            sizeof(CompletionPacket) + wire::kTrailerSize;
        uint32_t free = out_.free_behind_published();
        /* Strictly less than free: a full ring would look empty (A.3). */
        return free == 0 ? 0
                         : std::min((free - 1) / kBytes, kMaxPacketsPerPoll);
    }

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
        if (signal_owed_) [[unlikely]] {
            send_owed_signal();
        }
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

    /* Publishes the read index.  If the host waits for the room it is
     * signalled with the completions, or else by end_consume(). */
    void
    publish_consumed() noexcept
    {
        signal_owed_ |= in_.publish();
    }

    /* Signals sent; any thread. */
    uint64_t
    signals() const noexcept
    {
        return signals_.get();
    }

private:
    void send_owed_signal() noexcept;
    void
    signal_host() noexcept
    {
        signals_.add();
        signal_.signal();
    }

    /* The writers'. */
    alignas(kCacheLine) std::mutex out_lock_;
    RingWriter out_;
    HostSignal signal_;
    Counter signals_; /* Under out_lock_. */
    /* The consumer's. */
    alignas(kCacheLine) std::atomic<bool> consumed_by_other_{false};
    bool signal_owed_ = false;
    RingReader in_;
};

} // namespace netvsc
