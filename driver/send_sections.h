/* Ledger of the send buffer's sections: who may write to which.
 *
 * A section belongs to a transmit queue until its packet is published, to
 * the host until its completion arrives, then to its queue again.  A Share is
 * its queue's; complete() is the ring reader's; they meet in a single-producer
 * list, so neither needs a read-modify-write. */

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "driver/cache_line.h"

namespace netvsc {

/* Section 0 carries the control messages, one at a time. */
inline constexpr uint32_t kControlSection = 0;

class alignas(kCacheLine) SendSections {
public:
    /* `buffer`: the mapped send buffer; `section_size`: as announced. */
    SendSections(std::span<uint8_t> buffer, uint32_t section_size);

    uint32_t
    section_size() const noexcept
    {
        return section_size_;
    }
    uint32_t
    count() const noexcept
    {
        return count_;
    }
    std::span<uint8_t>
    section(uint32_t index) const noexcept
    {
        return buffer_.subspan(size_t{index} * section_size_, section_size_);
    }

    /* Deals the sections out to `queues` queues, which get new shares.
     * Sections in flight go to their new owner when they come back.  Nobody
     * else may be in here. */
    void partition(unsigned queues);

    /* What one queue has.  Only it may be in here, but for complete(). */
    class Share {
    public:
        /* Room for all that a queue can own: no list is ever full. */
        explicit Share(uint32_t most);

        /* Takes over what came back; it is taken first, while it is still in
         * the cache.  Once for each burst: the line is the reader's. */
        void
        refill() noexcept
        {
            const uint32_t tail = tail_.load(std::memory_order_acquire);
            uint32_t head = head_, n = n_free_;
            for (; head != tail; head++) {
                free_[n++] = slot(head).load(std::memory_order_relaxed);
            }
            head_ = head;
            n_free_ = n;
        }
        /* The section that was put there last. */
        [[nodiscard]] std::optional<uint32_t>
        take() noexcept
        {
            if (n_free_ == 0) {
                return std::nullopt;
            }
            return free_[--n_free_];
        }
        /* Not published: the section was never away. */
        void
        put_back(uint32_t index) noexcept
        {
            free_[n_free_++] = index;
        }

    private:
        friend class SendSections;
        /* An atomic, because the list is never full and so its writer does
         * not look at `head_`: the host orders the two ends. */
        std::atomic_ref<uint32_t>
        slot(uint32_t position) noexcept
        {
            return std::atomic_ref(returned_[position & mask_]);
        }

        const uint32_t mask_; /* Of `returned_`'s size, a power of two. */
        LineVector<uint32_t> free_;               /* A stack, the queue's. */
        LineVector<uint32_t> returned_;           /* A ring, the reader's. */
        alignas(kCacheLine) uint32_t n_free_ = 0; /* The queue's. */
        uint32_t head_ = 0;
        alignas(kCacheLine) std::atomic<uint32_t> tail_{0}; /* The reader's. */
    };
    Share &
    share(unsigned queue) noexcept
    {
        return *shares_[queue];
    }

    /* The packet is published now: from here on, and not before, a
     * completion is believed. */
    void
    give(uint32_t index) noexcept
    {
        /* The packet's publication orders it for the reader. */
        with_host_[index].store(true, std::memory_order_relaxed);
    }

    /* The control section, unless its last message is still away. */
    [[nodiscard]] bool take_control() noexcept;
    [[nodiscard]] bool control_is_free() const noexcept;

    /* A completion arrived.  False if the section was not with the host. */
    [[nodiscard]] bool
    complete(uint32_t index) noexcept
    {
        if (index != kControlSection) {
            return complete_data(index);
        }
        if (!with_host_[index].load(std::memory_order_relaxed)) {
            return false;
        }
        with_host_[index].store(false, std::memory_order_release);
        return true;
    }
    /* The same, and false for the control section: for an index of 64 bits,
     * as it is in an id. */
    [[nodiscard]] bool
    complete_data(uint64_t index) noexcept
    {
        if (index == kControlSection || index >= count_ ||
            !with_host_[index].load(std::memory_order_relaxed)) {
            return false;
        }
        /* The list's tail orders this for the next owner. */
        with_host_[index].store(false, std::memory_order_relaxed);
        Share &share = *shares_[owner_[index]];
        uint32_t tail = share.tail_.load(std::memory_order_relaxed);
        share.slot(tail).store(static_cast<uint32_t>(index),
                               std::memory_order_relaxed);
        share.tail_.store(tail + 1, std::memory_order_release);
        return true;
    }

    /* Sections with the host now; any thread, a moment old. */
    [[nodiscard]] uint32_t in_use() const noexcept;

private:
    std::span<uint8_t> buffer_;
    uint32_t section_size_;
    uint32_t count_;
    LineVector<std::atomic<bool>> with_host_;
    LineVector<uint32_t> owner_;
    LineVector<std::unique_ptr<Share>> shares_;
};

} // namespace netvsc
