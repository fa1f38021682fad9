/* Receive queue: frame views for its user, out of a channel's inbound ring. */

#pragma once

#include <span>

#include "driver/cache_line.h"
#include "driver/counters.h"
#include "driver/frame.h"
#include "driver/ring_consumer.h"

namespace netvsc {

/* One thread at a time, calls in pairs. */
class alignas(kCacheLine) RxQueue {
public:
    explicit RxQueue(RingConsumer *consumer) : consumer_(consumer) {}

    /* Fills at most `frames.size()` views (no more than kMaxBurst) and
     * returns how many.  Handles a bounded number of ring packets.  Never
     * blocks.  Call release() after it, also when it returned 0. */
    [[nodiscard]] unsigned poll(std::span<netvsc_rx_frame> frames) noexcept;

    /* Ends the views of the last poll(), unconditionally, and gives their
     * sub-allocations back to the host. */
    void release() noexcept;

    /* Grows with every poll(); tells the control thread that somebody is
     * there. */
    uint64_t
    polls() const noexcept
    {
        return polls_.get();
    }

    /* Adds the frames that were polled; any thread. */
    void
    add_to(FrameStatistics *frames) const noexcept
    {
        frames_.add_to(frames);
    }

private:
    RingConsumer *consumer_;
    bool polled_ = false; /* The user holds the ring: poll() to release(). */
    Counter polls_;
    FrameCounters frames_;
};

} // namespace netvsc
