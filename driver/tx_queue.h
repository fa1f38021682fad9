/* Transmit queue: fills send sections and publishes them (reference E.9). */

#pragma once

#include <array>
#include <span>

#include "driver/channel.h"
#include "driver/frame.h"
#include "driver/rx_queue.h"
#include "driver/send_sections.h"
#include "driver/session_fault.h"
#include "driver/statistics.h"

namespace netvsc {

/* What the host allows (INITIALIZE_CMPLT) and the port's MTU. */
struct TxLimits {
    uint32_t max_frame = 0;   /* Ethernet frame without tag. */
    uint32_t max_message = 0; /* Bytes of one ring packet's messages. */
    uint32_t max_packets = 1; /* Frames of one ring packet. */
    uint32_t alignment = 1;   /* Of each message but the first. */
};

class TxQueue {
public:
    /* `index`: which share of `sections` is this queue's.  `completions`:
     * the receive queue of the same channel, where they arrive. */
    TxQueue(unsigned index, Channel *channel, SendSections *sections,
            RxQueue *completions, SessionFault *fault, uint16_t generation,
            const TxLimits &limits);

    /* Sends frames in order and returns how many were taken; the rest found
     * no section or no room and is counted.  A frame that can never be sent
     * (too big, too small) is taken, dropped and counted.  Never blocks.
     * One thread at a time: with several, the caller locks. */
    [[nodiscard]] unsigned
    send(std::span<const netvsc_tx_frame> frames) noexcept;

    /* Adds this queue's counters; any thread. */
    void add_to(Statistics *statistics) const noexcept;

private:
    /* A section that is being filled, or waits for its publication. */
    struct Filled {
        uint32_t index;
        uint32_t bytes = 0;
        uint32_t packets = 0;
        uint32_t last = 0;   /* Offset of its last message. */
        unsigned frames = 0; /* Of the caller's array up to its end. */
    };

    unsigned send_burst(std::span<const netvsc_tx_frame> frames) noexcept;
    bool open_section(Filled *filled) noexcept;
    bool append(Filled *filled, const netvsc_tx_frame &frame) noexcept;
    unsigned publish(std::span<Filled> filled) noexcept;
    void count(std::span<const netvsc_tx_frame> frames) noexcept;
    bool sendable(const netvsc_tx_frame &frame) const noexcept;

    unsigned index_;
    Channel *channel_;
    SendSections *sections_;
    RxQueue *completions_;
    SessionFault *fault_;
    uint16_t generation_;
    TxLimits limits_;

    Counter packets_, bytes_, ring_packets_, no_section_, ring_full_, too_big_,
        too_small_;
    std::array<Counter, kSizeBinLimits.size()> bins_;
};

} // namespace netvsc
