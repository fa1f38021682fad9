/* Ledger of a channel's send sections: who may write to which.
 *
 * The sections of the send buffer are divided among the channels once, when a
 * session begins, and those of a channel among the transmit queues that use
 * it.  A section never leaves its channel: it goes out and comes back on the
 * same two rings, so the reader of these is the only one that completes it.
 *
 * A section belongs to a transmit queue until its packet is published, to
 * the host until its completion arrives, then to a queue of the channel again.
 * A Share is its queue's; complete() is the ring reader's; they meet in a
 * single-producer list, so neither needs a read-modify-write. */

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "driver/cache_line.h"

namespace netvsc {

/* The mapped send buffer, in sections of the size that the host announced. */
class SectionBuffer {
public:
    /* Before the host has it: no section at all. */
    SectionBuffer() = default;
    SectionBuffer(std::span<uint8_t> buffer, uint32_t section_size)
        : buffer_(buffer), section_size_(section_size)
    {
    }

    uint32_t
    section_size() const noexcept
    {
        return section_size_;
    }
    /* Whole sections; a rest that is too short for one is not used. */
    uint32_t
    count() const noexcept
    {
        return static_cast<uint32_t>(buffer_.size() / section_size_);
    }
    std::span<uint8_t>
    section(uint32_t index) const noexcept
    {
        return buffer_.subspan(size_t{index} * section_size_, section_size_);
    }

private:
    std::span<uint8_t> buffer_;
    uint32_t section_size_ = 1;
};

/* Section 0 of the buffer carries the control messages of the session, one at
 * a time; no channel has it in its ledger. */
inline constexpr uint32_t kControlSection = 0;

/* Who has the control section.  acquire() is the control thread's, complete()
 * the reader's of the primary channel. */
class ControlSection {
public:
    /* False while its last message is still with the host. */
    [[nodiscard]] bool
    acquire() noexcept
    {
        if (!is_free()) {
            return false;
        }
        with_host_.store(true, std::memory_order_relaxed);
        return true;
    }
    [[nodiscard]] bool
    is_free() const noexcept
    {
        return !with_host_.load(std::memory_order_acquire);
    }
    /* A completion arrived, or the message was never sent.  False if the
     * section was not with the host. */
    [[nodiscard]] bool
    complete() noexcept
    {
        if (!with_host_.load(std::memory_order_relaxed)) {
            return false;
        }
        with_host_.store(false, std::memory_order_release);
        return true;
    }

private:
    std::atomic<bool> with_host_{false};
};

/* Consecutive sections. */
struct SectionRange {
    uint32_t first = 0, count = 0;
};

/* The data sections of channel `channel` of `channels`, if the buffer has
 * `count` sections. */
[[nodiscard]] SectionRange channel_sections(uint32_t count, unsigned channel,
                                            unsigned channels) noexcept;

class alignas(kCacheLine) SendSections {
public:
    /* The ledger of the sections `range` of `buffer`, which are this
     * channel's; indexes are those of the buffer throughout. */
    SendSections(const SectionBuffer &buffer, SectionRange range);

    uint32_t
    count() const noexcept
    {
        return count_;
    }
    uint32_t
    first() const noexcept
    {
        return first_;
    }
    std::span<uint8_t>
    section(uint32_t index) const noexcept
    {
        return buffer_.section(index);
    }

    /* Divides the sections among `queues` queues of this channel, which get
     * new shares.  Sections in flight go to their new owner when they come
     * back.  Nobody else may be in here. */
    void partition(unsigned queues);

    /* What one queue has.  Only it may be in here, but for complete(). */
    class Share {
    public:
        /* Room for all that a queue can own: no list is ever full. */
        explicit Share(uint32_t most);

        /* Takes over what came back; it is used first, while it is still in
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
        pop() noexcept
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
        with_host_[index - first_].store(true, std::memory_order_relaxed);
    }

    /* A completion arrived.  False if the section is not of this channel, or
     * not with the host.  All 64 bits of an id may say which one. */
    [[nodiscard]] bool
    complete(uint64_t index) noexcept
    {
        /* What is below the first section wraps around and is refused too. */
        const uint64_t at = index - first_;
        if (at >= count_ || !with_host_[at].load(std::memory_order_relaxed)) {
            return false;
        }
        /* The list's tail orders this for the next owner. */
        with_host_[at].store(false, std::memory_order_relaxed);
        Share &share = *shares_[owner_[at]];
        uint32_t tail = share.tail_.load(std::memory_order_relaxed);
        share.slot(tail).store(static_cast<uint32_t>(index),
                               std::memory_order_relaxed);
        share.tail_.store(tail + 1, std::memory_order_release);
        return true;
    }

    /* Sections with the host now; any thread, a moment old. */
    [[nodiscard]] uint32_t in_use() const noexcept;

private:
    SectionBuffer buffer_;
    uint32_t first_, count_;
    /* By place in the channel's range. */
    LineVector<std::atomic<bool>> with_host_;
    LineVector<uint32_t> owner_;
    LineVector<std::unique_ptr<Share>> shares_;
};

} // namespace netvsc
