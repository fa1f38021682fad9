/* Ledger of the receive buffer: who has which sub-allocation (G.1).
 *
 * The receive buffer is cut into equal sub-allocations.  The host takes one
 * for each message it places there, joins those of one transfer-pages packet
 * to a transfer, and gets all of them back when the guest completes that
 * packet.  The transfer id is the index of the transfer's first
 * sub-allocation: unique while it is outstanding and below their number, as
 * DPDK needs it (D.10).  The first few are kept for control messages, so that
 * answers never starve behind data. */

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace netvsc::host {

class SubAllocations {
public:
    /* Which of the free ones for data comes first: the most recently returned,
     * whose memory is in the cache, or the one that waits longest. */
    enum class Reuse { kHottest, kInTurn };

    /* `count` sub-allocations, the first `control` of them for control. */
    SubAllocations(uint32_t count, uint32_t control,
                   Reuse reuse = Reuse::kHottest);

    /* Starts a transfer of one sub-allocation; nothing when none is free. */
    [[nodiscard]] std::optional<uint32_t>
    take_data()
    {
        std::optional<uint32_t> index = take(free_data_);
        data_free_ -= index.has_value();
        return index;
    }
    [[nodiscard]] std::optional<uint32_t> take_control();

    /* Makes `index`, taken by itself, part of the transfer `id`. */
    void join(uint32_t id, uint32_t index);

    /* Takes a whole transfer back and says how many sub-allocations it had;
     * 0 when no such transfer is outstanding. */
    [[nodiscard]] uint32_t give_back(uint64_t id);

    [[nodiscard]] uint32_t
    count() const
    {
        return static_cast<uint32_t>(slots_.size());
    }
    /* Of those for data, without and with the guest. */
    [[nodiscard]] uint32_t
    data_free() const
    {
        return data_free_;
    }
    [[nodiscard]] uint32_t
    data_outstanding() const
    {
        return count() - control_ - data_free_;
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
    enum class State : uint32_t { kFree, kFirst, kJoined };
    static constexpr uint32_t kEnd = UINT32_MAX;

    /* A slot is in a free list or in the list of its transfer. */
    struct Slot {
        uint32_t next;
        State state;
    };

    /* Inline, like take_data(): an optional that is returned through memory
     * costs more than all the rest. */
    [[nodiscard]] std::optional<uint32_t>
    take(uint32_t &head)
    {
        if (head == kEnd) {
            return std::nullopt;
        }
        uint32_t index = head;
        head = slots_[index].next;
        slots_[index] = {kEnd, State::kFirst};
        issued_++;
        return index;
    }
    void put(uint32_t index);
    void put_data(uint32_t index);

    std::vector<Slot> slots_;
    uint32_t control_;
    Reuse reuse_;
    uint32_t free_control_ = kEnd;
    uint32_t free_data_ = kEnd;
    uint32_t last_data_ = kEnd; /* Of the free ones; kInTurn. */
    uint32_t data_free_ = 0;
    uint64_t issued_ = 0;
    uint64_t returned_ = 0;
};

} // namespace netvsc::host
