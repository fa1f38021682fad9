/* Ledger of the receive buffer: who has which sub-allocation (G.1).
 *
 * The receive buffer is cut into equal sub-allocations.  The host takes one
 * for each message it places there, joins those of one transfer-pages packet
 * to a transfer, and gets all of them back when the guest completes that
 * packet.  The transfer id is the index of the transfer's first
 * sub-allocation: unique while it is outstanding and below their number, as
 * DPDK needs it (D.10).  The first few are kept for control messages, so that
 * answers never starve behind data.
 *
 * The others are divided among the channels, each of which takes from its own
 * range, so that a channel whose guest keeps its frames starves nobody else.
 * Whichever channel used a sub-allocation, it comes back to the range that it
 * is in: ranges may change while the guest has some. */

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace netvsc::host {

class SubAllocations {
public:
    /* Fits the ledger's entries; a NIC has 64 channels at most (D.7). */
    static constexpr uint32_t kMaxChannels = 256;

    /* Which of the free ones for data comes first: the most recently returned,
     * whose memory is in the cache, or the one that waits longest. */
    enum class Reuse { kHottest, kInTurn };

    /* `count` sub-allocations, the first `control` of them for control. */
    SubAllocations(uint32_t count, uint32_t control,
                   Reuse reuse = Reuse::kHottest);

    /* Gives each of so many channels, from 0 on, an equal share of those for
     * data; before the first call channel 0 has them all.  `channels` is at
     * least 1 and at most kMaxChannels. */
    void divide(uint32_t channels);

    /* Starts a transfer of one sub-allocation on a channel; nothing when none
     * of its range is free. */
    [[nodiscard]] std::optional<uint32_t>
    take_data(uint32_t channel = 0)
    {
        Range &range = ranges_[channel];
        std::optional<uint32_t> index = take(range.first_free, channel);
        range.free -= index.has_value();
        return index;
    }
    /* The primary channel carries control messages. */
    [[nodiscard]] std::optional<uint32_t> take_control();

    /* Makes `index`, taken by itself, part of the transfer `id`. */
    void join(uint32_t id, uint32_t index);

    /* Takes a whole transfer back and says how many sub-allocations it had;
     * 0 when no such transfer is outstanding on that channel. */
    [[nodiscard]] uint32_t give_back(uint64_t id, uint32_t channel = 0);

    [[nodiscard]] uint32_t
    count() const
    {
        return static_cast<uint32_t>(slots_.size());
    }
    [[nodiscard]] bool
    is_free(uint32_t index) const
    {
        return slots_[index].state == State::kFree;
    }
    /* Of a channel's range, without and with the guest. */
    [[nodiscard]] uint32_t
    data_free(uint32_t channel = 0) const
    {
        return ranges_[channel].free;
    }
    [[nodiscard]] uint32_t
    data_outstanding(uint32_t channel = 0) const
    {
        return ranges_[channel].count - ranges_[channel].free;
    }
    /* The first of a channel's range, and how many there are. */
    [[nodiscard]] uint32_t
    first(uint32_t channel) const
    {
        return ranges_[channel].first;
    }
    [[nodiscard]] uint32_t
    share(uint32_t channel) const
    {
        return ranges_[channel].count;
    }
    /* Sub-allocations, since the ledger was opened. */
    [[nodiscard]] uint64_t
    issued() const
    {
        return issued_;
    }
    [[nodiscard]] uint64_t
    returned() const
    {
        return returned_;
    }
    [[nodiscard]] uint64_t
    outstanding() const
    {
        return issued_ - returned_;
    }

private:
    enum class State : uint8_t { kFree, kFirst, kJoined };
    static constexpr uint32_t kEnd = UINT32_MAX;

    /* A slot is in a free list or in the list of its transfer. */
    struct Slot {
        uint32_t next;
        State state;
        uint8_t channel; /* That carries its transfer. */
        uint8_t range;   /* To which it comes back. */
    };
    struct Range {
        uint32_t first = 0;
        uint32_t count = 0;
        uint32_t free = 0;
        uint32_t first_free = kEnd;
        uint32_t last_free = kEnd; /* kInTurn. */
    };

    /* Inline, like take_data(): an optional that is returned through memory
     * costs more than all the rest. */
    [[nodiscard]] std::optional<uint32_t>
    take(uint32_t &head, uint32_t channel)
    {
        if (head == kEnd) {
            return std::nullopt;
        }
        uint32_t index = head;
        head = slots_[index].next;
        Slot &slot = slots_[index];
        slot.next = kEnd;
        slot.state = State::kFirst;
        slot.channel = static_cast<uint8_t>(channel);
        issued_++;
        return index;
    }
    void put(uint32_t index);
    void put_data(uint32_t index);

    std::vector<Slot> slots_;
    uint32_t control_;
    Reuse reuse_;
    uint32_t free_control_ = kEnd;
    std::vector<Range> ranges_; /* Of the channels. */
    uint64_t issued_ = 0;
    uint64_t returned_ = 0;
};

} // namespace netvsc::host
