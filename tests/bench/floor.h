/* The floor: the least that receiving and sending these frames can cost.
 *
 * It reads the same packets in the same rings, checks and parses the same
 * headers, copies the same frames between the same memories, builds the same
 * messages, and answers in the rings as the protocol demands.  What a driver
 * needs besides is left out: ledgers of sections and transfers, counters,
 * locks, limits, signals, barriers against a host that sleeps, control
 * messages, packets that are allocated and freed.
 *
 * It shares no code with driver/ but the wire formats.  It checks everything
 * before it uses it, but takes no pains over a host that changes its memory
 * meanwhile. */

#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "driver/frame.h"

namespace netvsc::bench {

/* Where a received frame goes, and what is known of it. */
struct FloorPacket {
    uint8_t *data; /* Room for the largest frame. */
    uint32_t size;
    uint32_t rss_hash;
    uint16_t vlan_tci;
    uint16_t flags; /* enum netvsc_rx_flags. */
};

class Floor {
public:
    /* What a channel has. */
    struct Channel {
        std::span<uint8_t> to_guest, to_host; /* Control pages included. */
        std::span<const uint8_t> receive_buffer;
        std::span<uint8_t> send_buffer;
        uint32_t section_size;
        uint32_t frames_per_message;
        uint32_t alignment; /* Of the messages in a section. */
    };

    explicit Floor(const Channel &channel);

    /* Takes the transfers that fit `packets` and completes them; goes past
     * completions.  Returns how many frames; malformed ones do not count. */
    [[nodiscard]] unsigned receive(std::span<FloorPacket> packets) noexcept;

    /* Sends a burst in sections 1 and up: the host has given all of the burst
     * before back, so they are hot. */
    void send(std::span<const netvsc_tx_frame> frames) noexcept;

private:
    [[nodiscard]] uint64_t word(uint32_t at) const noexcept;
    [[nodiscard]] bool copy_frame(uint64_t range,
                                  FloorPacket *packet) const noexcept;
    template <size_t Words>
    void put(const std::array<uint64_t, Words> &words) noexcept;
    void put_message(uint32_t section, uint32_t bytes) noexcept;

    const Channel channel_;
    const uint32_t size_; /* Of the data of a ring. */
    uint32_t read_;       /* Next packet for us. */
    uint32_t write_;      /* Next packet for the host. */
};

} // namespace netvsc::bench
