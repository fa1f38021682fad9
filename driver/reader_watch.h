/* Who reads a channel's inbound ring, and the control thread where nobody
 * does.
 *
 * Normally the receive queue's PMD thread.  It may be late (a busy machine, a
 * reconfiguration), or not be there at all (no PMD thread polls yet, or any
 * more): then the control thread reads what would else wait, first only what
 * is for itself, later all. */

#pragma once

#include <chrono>
#include <cstdint>

#include "driver/kernel/uio.h"
#include "driver/ring_consumer.h"
#include "driver/rx_queue.h"

namespace netvsc {

/* Nobody has polled the ring for this long: the control thread reads what is
 * for it, but no frames. */
inline constexpr std::chrono::milliseconds kReaderLate{10};

/* And for this long: nobody is going to, and the frames are in the way.  Not
 * sooner: on a busy machine a PMD thread is off its core for tens of
 * milliseconds, and what waits in the ring meanwhile is not lost. */
inline constexpr std::chrono::milliseconds kReaderGone{1000};

/* The control thread's. */
class ReaderWatch {
public:
    using Clock = Uio::Clock;

    ReaderWatch(const RxQueue *rxq, RingConsumer *consumer)
        : rxq_(rxq), consumer_(consumer)
    {
    }

    /* Looks whether the queue's user still polls, and reads the ring in its
     * place if not. */
    void look();

    /* Nobody polls: this thread has to be woken by interrupts. */
    [[nodiscard]] bool
    alone() const
    {
        return reader_ == Reader::kGone;
    }
    /* The last look() found something to read. */
    [[nodiscard]] bool
    progress() const
    {
        return progress_;
    }

    /* Interrupts only while alone(): with a poller they would only cost the
     * host.  Each time: what asks the kernel to signal the host, or to go on
     * after an interrupt, clears the mask as well (C.5). */
    void
    mask()
    {
        consumer_->mask();
    }
    /* True if the ring is not empty, or somebody reads it: then no interrupt
     * may follow. */
    [[nodiscard]] bool
    unmask()
    {
        return consumer_->unmask();
    }

    /* The queue has a user from now on: its first poll may take a moment,
     * and what comes before it is not to be lost. */
    void
    reader_arrived()
    {
        last_poll_ = Clock::now();
    }

    /* The queue's user is gone: no need to wait until it shows. */
    void
    reader_left()
    {
        polls_seen_ = rxq_->polls();
        last_poll_ = Clock::time_point();
    }

private:
    enum class Reader { kPolls, kLate, kGone };

    const RxQueue *rxq_;
    RingConsumer *consumer_;
    uint64_t polls_seen_ = 0;
    Clock::time_point last_poll_; /* Long ago: nobody has polled yet. */
    Reader reader_ = Reader::kGone;
    bool progress_ = false;
};

} // namespace netvsc
