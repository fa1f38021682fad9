/* Whether the host still completes what it is given. */

#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace netvsc {

/* A host that takes messages and completes none is dead for the port, though
 * nothing says so: no error comes over the ring, and the link stays up.
 *
 * But hosts have taken 15 s on busy machines.  So silence is said early,
 * without touching the session, and only a minute of it, DPDK's and our
 * limit for a reply as well, ends the session.  Until then the link stays up:
 * a bond that wants to know sooner has LACP or BFD to find out.
 *
 * Control thread only. */
class SendWatchdog {
public:
    using Clock = std::chrono::steady_clock;

    /* To be said: far above what a working host takes, and soon enough for
     * somebody who wonders why nothing gets through. */
    static constexpr std::chrono::seconds kOverdue{5};
    /* To be ended. */
    static constexpr std::chrono::seconds kDead{60};
    /* How often to look.  Time in which nobody looked counts as much as one
     * look and no more: it is the guest that was away then (paused, saved,
     * migrated), and the host deserves its time. */
    static constexpr std::chrono::seconds kInterval{1};

    /* Whether it is time to look: that takes a walk over all sections. */
    [[nodiscard]] bool
    is_due(Clock::time_point now) const noexcept
    {
        return now - last_look_ >= kInterval;
    }

    /* Since when the host has completed nothing although it had something to
     * complete: 0 while all is well.  `completed`: messages that it has
     * completed in all; may be read as too few, never as too many.
     * `outstanding`: messages that it has. */
    [[nodiscard]] Clock::duration
    look(Clock::time_point now, uint64_t completed,
         uint32_t outstanding) noexcept
    {
        Clock::duration step = std::clamp<Clock::duration>(
            now - last_look_, Clock::duration::zero(), 2 * kInterval);
        last_look_ = now;
        /* What had been sent at the last look had the whole step. */
        silence_ = outstanding == 0 || completed > completed_ || !waiting_
                       ? Clock::duration::zero()
                       : silence_ + step;
        waiting_ = outstanding != 0;
        completed_ = std::max(completed_, completed);
        return silence_;
    }

    [[nodiscard]] Clock::duration
    silence() const noexcept
    {
        return silence_;
    }

private:
    Clock::time_point last_look_;
    Clock::duration silence_{};
    uint64_t completed_ = 0;
    bool waiting_ = false;
};

} // namespace netvsc
