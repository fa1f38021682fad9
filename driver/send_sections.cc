#include "driver/send_sections.h"

#include <bit>

namespace netvsc {

SendSections::SendSections(std::span<uint8_t> buffer, uint32_t section_size)
    : buffer_(buffer), section_size_(section_size),
      count_(static_cast<uint32_t>(buffer.size() / section_size)),
      with_host_(std::make_unique<std::atomic<bool>[]>(count_)),
      owner_(count_, 0)
{
    partition(1);
}

void
SendSections::partition(unsigned queues)
{
    queues_.clear();
    for (unsigned q = 0; q < queues; q++) {
        queues_.push_back(std::make_unique<Queue>());
        Queue &queue = *queues_.back();
        /* Room for all that a queue can own: the list is never full. */
        queue.returned.resize(std::bit_ceil(count_ / queues + 1));
        queue.free.reserve(count_ / queues + 1);
    }
    /* Backwards, so that the low sections are on top of the stacks. */
    for (uint32_t i = count_; i-- > kControlSection + 1;) {
        owner_[i] = i % queues;
        if (!with_host_[i].load(std::memory_order_relaxed)) {
            queues_[owner_[i]]->free.push_back(i);
        }
    }
}

void
SendSections::put_back(unsigned q, uint32_t index) noexcept
{
    queues_[q]->free.push_back(index);
}

bool
SendSections::control_is_free() const noexcept
{
    return !with_host_[kControlSection].load(std::memory_order_acquire);
}

bool
SendSections::take_control() noexcept
{
    if (!control_is_free()) {
        return false;
    }
    with_host_[kControlSection].store(true, std::memory_order_relaxed);
    return true;
}

uint32_t
SendSections::in_use() const noexcept
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < count_; i++) {
        n += with_host_[i].load(std::memory_order_relaxed);
    }
    return n;
}

} // namespace netvsc
