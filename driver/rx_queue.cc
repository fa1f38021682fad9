#include "driver/rx_queue.h"

#include <algorithm>

namespace netvsc {

unsigned
RxQueue::poll(std::span<netvsc_rx_frame> frames) noexcept
{
    polls_.add();
    polled_ = consumer_->try_begin();
    if (!polled_) {
        return 0;
    }
    RxBurst burst;
    burst.frames = frames.first(std::min<size_t>(frames.size(), kMaxBurst));
    consumer_->poll(&burst);
    if (burst.n > 0) {
        frames_.add(burst.tally);
        frames_.add_multicast(burst.multicast);
    }
    return burst.n;
}

void
RxQueue::release() noexcept
{
    if (polled_) {
        polled_ = false;
        consumer_->end();
    }
}

} // namespace netvsc
