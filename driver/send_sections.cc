#include "driver/send_sections.h"

#include <bit>

namespace netvsc {

SendSections::SendSections(std::span<uint8_t> buffer, uint32_t section_size)
    : buffer_(buffer), section_size_(section_size),
      count_(static_cast<uint32_t>(buffer.size() / section_size)),
      with_host_(count_), owner_(count_)
{
    partition(1);
}

SendSections::Share::Share(uint32_t most)
    : mask_(std::bit_ceil(most) - 1), free_(most), returned_(size_t{mask_} + 1)
{
}

void
SendSections::partition(unsigned queues)
{
    shares_.clear();
    for (unsigned q = 0; q < queues; q++) {
        shares_.push_back(std::make_unique<Share>(count_ / queues + 1));
    }
    /* Backwards, so that the low sections are on top of the stacks.  Each
     * queue's lie together: queues do not share a line of `with_host_`, but
     * at the bottom of a stack. */
    for (uint32_t i = count_; i-- > kControlSection + 1;) {
        owner_[i] =
            static_cast<uint32_t>(uint64_t{i - 1} * queues / (count_ - 1));
        if (!with_host_[i].load(std::memory_order_relaxed)) {
            shares_[owner_[i]]->put_back(i);
        }
    }
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
