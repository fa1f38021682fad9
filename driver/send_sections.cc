#include "driver/send_sections.h"

#include <algorithm>
#include <bit>

namespace netvsc {

SectionRange
channel_sections(uint32_t count, unsigned channel, unsigned channels) noexcept
{
    if (count <= kControlSection) {
        return {};
    }
    /* Behind the control section. */
    const uint32_t all = count - (kControlSection + 1);
    auto place = [&](unsigned i) {
        return static_cast<uint32_t>(uint64_t{all} * i / channels);
    };
    return {kControlSection + 1 + place(channel),
            place(channel + 1) - place(channel)};
}

SendSections::SendSections(const SectionBuffer &buffer, SectionRange range)
    : buffer_(buffer), first_(range.first), count_(range.count),
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
    /* What is in flight needs an owner also where no queue uses the channel.
     */
    queues = std::max(queues, 1u);
    shares_.clear();
    for (unsigned q = 0; q < queues; q++) {
        shares_.push_back(std::make_unique<Share>(count_ / queues + 1));
    }
    /* Backwards, so that the low sections are on top of the stacks.  Each
     * queue's lie together: queues do not share a line of `with_host_`, but
     * at the bottom of a stack. */
    for (uint32_t i = count_; i-- > 0;) {
        owner_[i] = static_cast<uint32_t>(uint64_t{i} * queues / count_);
        if (!with_host_[i].load(std::memory_order_relaxed)) {
            shares_[owner_[i]]->put_back(first_ + i);
        }
    }
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
