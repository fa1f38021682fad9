/* Transmit queue: fills send sections and publishes them (E.9). */

#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>
#include <span>

#include "driver/cache_line.h"
#include "driver/counters.h"
#include "driver/ethernet.h"
#include "driver/frame.h"
#include "driver/net_channel.h"
#include "driver/nvsp_packets.h"
#include "driver/rndis_packet.h"
#include "driver/send_sections.h"
#include "driver/session_context.h"

namespace netvsc {

/* What the host allows (INITIALIZE_CMPLT) and the port's MTU. */
struct TxLimits {
    uint32_t max_frame = 0;   /* Ethernet frame without tags. */
    uint32_t max_message = 0; /* Bytes of one ring packet's messages. */
    uint32_t max_packets = 1; /* Frames of one ring packet. */
    uint32_t alignment = 1;   /* Of each message but the first. */
};

class alignas(kCacheLine) TxQueue {
public:
    /* A queue on `channel`; `share`: which one of its sections is this
     * queue's. */
    TxQueue(const SessionContext &context, NetChannel *channel, unsigned share,
            const TxLimits &limits);

    /* Sends frames in order, kMaxBurst at the most, and returns how many were
     * taken; the rest found no section or no room, or comes after what found
     * none.  A frame that can never be sent (too big, too small) is taken,
     * dropped and counted.  Never blocks.  One thread at a time: with several,
     * the caller locks. */
    [[nodiscard]] unsigned
    send(std::span<const netvsc_tx_frame> frames) noexcept;

    /* Another limit for the frames to come; any thread. */
    void
    set_max_frame(uint32_t size) noexcept
    {
        /* So that an empty section takes every frame. */
        max_frame_.store(std::min(size, limits_.max_message - kTxOverhead),
                         std::memory_order_relaxed);
    }

    /* Adds this queue's counters; any thread. */
    void add_to(Statistics *statistics) const noexcept;

private:
    /* A section that waits for its publication. */
    struct Filled {
        uint32_t index;
        uint32_t bytes;
        unsigned frames; /* Of the caller's array up to its end. */
    };
    class Filling;

    /* What is counted of a burst. */
    struct Tally : FrameTally {
        void
        refuse(const netvsc_tx_frame &frame) noexcept
        {
            if (frame.size < kEthernetHeader) {
                too_small++;
            } else {
                too_big++;
                biggest = std::max(biggest, frame.size);
            }
        }
        uint32_t too_big = 0, too_small = 0;
        uint32_t biggest = 0; /* Of those that are too big, in bytes. */
    };

    /* A frame that is to be copied yet. */
    struct Copy {
        uint8_t *to;
        const uint8_t *from;
        uint32_t size;
    };

    /* A call's frames on their way to the ring. */
    struct Burst {
        std::array<Filled, kMaxBurst> filled;
        unsigned sections; /* In `filled`. */
        std::array<Copy, kMaxBurst> copies;
        Copy *last_copy = copies.data(); /* The one behind it. */
        Tally tally;
    };

    unsigned place(std::span<const netvsc_tx_frame> frames,
                   Burst *burst) noexcept;
    std::optional<uint32_t> harvest() noexcept;
    unsigned publish(std::span<const Filled> filled) noexcept;
    void count(const Tally &tally) noexcept;
    bool
    fits(const netvsc_tx_frame &frame) const noexcept
    {
        const uint32_t most = limits_.max_frame;
        return frame.size >= kEthernetHeader &&
               (frame.size <= most || frame.size - tag_bytes(frame) <= most);
    }

    Channel *ring_;
    SendSections *sections_;
    SendSections::Share *share_;
    RingConsumer *consumer_;
    SessionFault *fault_;
    uint16_t generation_;
    TxLimits limits_;                    /* Of the burst at hand. */
    std::atomic<uint32_t> max_frame_{0}; /* Of the next one. */

    FrameCounters frames_;
    Counters counters_;
    std::atomic<uint32_t> biggest_refused_{0};
};

} // namespace netvsc
