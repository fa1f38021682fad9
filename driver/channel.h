/* A VMBus channel: its two rings, and who may touch them when.
 *
 * Outgoing ring: several writers (receive completions, transmit queues,
 * control), one lock, taken once per burst.  Inbound ring: one consumer at a
 * time, by a try-lock taken once per burst. */

#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <optional>
#include <span>
#include <utility>

#include "driver/cache_line.h"
#include "driver/counters.h"
#include "driver/kernel/uio.h"
#include "driver/ring.h"

namespace netvsc {

/* Tells the host that a ring became non-empty (C.5). */
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

/* Answers a packet of the host: descriptor and the 8 bytes of payload that
 * hosts read. */
struct Completion {
    uint64_t trans_id;
    uint64_t payload;
};
using CompletionPacket = std::array<uint64_t, 3>;

/* Ring packets that one poll takes at the most, so that a host which refills
 * as fast as we drain cannot keep a PMD thread. */
inline constexpr unsigned kMaxPacketsPerPoll = 64;

/* Room in the outgoing ring that only receive completions use: enough for
 * those of one poll, so that what was received can always be given back. */
inline constexpr uint32_t kCompletionReserve =
    kMaxPacketsPerPoll * (sizeof(CompletionPacket) + wire::kTrailerSize);

class Channel {
public:
    /* `rings`: both rings of the channel, each half of it. */
    Channel(std::span<uint8_t> rings, HostSignal signal);

    /* Packets of any sizes that go out in this order, with one publication
     * and at most one signal, when the batch ends.  Holds the ring's lock
     * until then.  The room for receive completions stays free. */
    class SendBatch {
    public:
        explicit SendBatch(Channel *channel) noexcept
            : channel_(channel), lock_(channel->out_lock_),
              ring_(channel->out_.begin(kCompletionReserve))
        {
        }
        ~SendBatch()
        {
            ring_.end();
            if (channel_->out_.publish()) {
                channel_->signal_host();
            }
        }
        SendBatch(const SendBatch &) = delete;
        SendBatch &operator=(const SendBatch &) = delete;

        /* False if the packet does not fit; else it goes out for certain, and
         * not before the batch ends. */
        template <size_t Words>
        [[nodiscard]] bool
        put(const std::array<uint64_t, Words> &packet) noexcept
        {
            return ring_.put(packet);
        }

    private:
        Channel *const channel_;
        std::lock_guard<std::mutex> lock_;
        RingWriter::Batch ring_;
    };

    /* The consumer: gives the host what it waits for, completions in order
     * and a signal that is still owed; it is the same signal.  Returns how
     * many went out: all, if completion_room() was asked. */
    [[nodiscard]] size_t
    send_completions(std::span<const Completion> completions) noexcept
    {
        std::lock_guard lock(out_lock_);
        RingWriter::Batch ring = out_.begin(0);
        size_t n = 0;
        for (const Completion &one : completions) {
            if (!ring.put(CompletionPacket{
                    descriptor_word(wire::kPacketCompletion,
                                    std::tuple_size_v<CompletionPacket>, 0),
                    one.trans_id, one.payload})) [[unlikely]] {
                break;
            }
            n++;
        }
        ring.end();
        bool owed = std::exchange(signal_owed_, false);
        if (out_.publish() || owed) {
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
