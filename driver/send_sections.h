/* Ledger of the send buffer's sections: who may write to which.
 *
 * A section belongs to a transmit queue until its packet is published, to
 * the host until its completion arrives, then to its queue again.  take()
 * and put_back() are the queue's; complete() is the ring reader's; they meet
 * in a single-producer list, so neither needs a read-modify-write. */

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace netvsc {

/* Section 0 carries the control messages, one at a time. */
inline constexpr uint32_t kControlSection = 0;

class SendSections {
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

    /* Deals the sections out to `queues` queues.  Sections in flight go to
     * their new owner when they come back.  Nobody else may be in here. */
    void partition(unsigned queues);

    /* A section for queue `q`, most recently used first: it is still in the
     * cache.  Nothing if all are with the host. */
    [[nodiscard]] std::optional<uint32_t>
    take(unsigned q) noexcept
    {
        Queue &queue = *queues_[q];
        uint32_t tail = queue.tail.load(std::memory_order_acquire);
        uint32_t head = queue.head.load(std::memory_order_relaxed);
        if (head != tail) {
            do {
                queue.free.push_back(
                    queue.slot(head++).load(std::memory_order_relaxed));
            } while (head != tail);
            queue.head.store(head, std::memory_order_release);
        }
        if (queue.free.empty()) {
            return std::nullopt;
        }
        uint32_t index = queue.free.back();
        queue.free.pop_back();
        return index;
    }

    /* The packet is published now: from here on, and not before, a
     * completion is believed. */
    void
    give(uint32_t index) noexcept
    {
        /* The packet's publication orders it for the reader. */
        with_host_[index].store(true, std::memory_order_relaxed);
    }

    /* The packet could not be published: the section was never away. */
    void put_back(unsigned q, uint32_t index) noexcept;

    /* The control section, unless its last message is still away. */
    [[nodiscard]] bool take_control() noexcept;
    [[nodiscard]] bool control_is_free() const noexcept;

    /* A completion arrived.  False if the section was not with the host. */
    [[nodiscard]] bool
    complete(uint32_t index) noexcept
    {
        if (index >= count_ ||
            !with_host_[index].load(std::memory_order_relaxed)) {
            return false;
        }
        with_host_[index].store(false, std::memory_order_release);
        if (index != kControlSection) {
            Queue &queue = *queues_[owner_[index]];
            uint32_t tail = queue.tail.load(std::memory_order_relaxed);
            queue.slot(tail).store(index, std::memory_order_relaxed);
            queue.tail.store(tail + 1, std::memory_order_release);
        }
        return true;
    }

    /* Sections with the host now; any thread, a moment old. */
    [[nodiscard]] uint32_t in_use() const noexcept;

private:
    /* Sections that came back, by one producer for one consumer. */
    struct Queue {
        std::vector<uint32_t> free;     /* The queue's own stack. */
        std::vector<uint32_t> returned; /* Ring, a power of two. */
        /* An atomic, because the list is never full and so its writer does
         * not look at `head`: the host orders the two ends. */
        std::atomic_ref<uint32_t>
        slot(uint32_t position) noexcept
        {
            return std::atomic_ref(returned[position & (returned.size() - 1)]);
        }
        alignas(64) std::atomic<uint32_t> head{0}; /* take()'s. */
        alignas(64) std::atomic<uint32_t> tail{0}; /* Its writer. */
    };

    std::span<uint8_t> buffer_;
    uint32_t section_size_;
    uint32_t count_;
    std::unique_ptr<std::atomic<bool>[]> with_host_;
    std::vector<uint32_t> owner_;
    std::vector<std::unique_ptr<Queue>> queues_;
};

} // namespace netvsc
