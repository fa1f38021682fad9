/* Two NICs back to back: each one's frames go to the other's queue. */

#pragma once

#include <atomic>
#include <map>
#include <string>
#include <vector>

#include "host/base/unique_fd.h"
#include "host/wires/backend.h"

namespace netvsc::host {

/* Frames on their way to one NIC: one producer, one consumer, no locks.  The
 * consumer is asked for an event only when it sleeps. */
class FrameQueue {
public:
    FrameQueue();

    /* Producer.  push() is false when the queue is full, nobody reads it, or
     * the frame is longer than any NIC can have. */
    [[nodiscard]] bool push(Bytes frame, bool checksum_good);
    void wake();

    /* Consumer.  The frame is valid until the next pop(). */
    [[nodiscard]] std::optional<WireFrame> pop();
    [[nodiscard]] bool prepare_sleep();
    void set_reading(bool reading);
    [[nodiscard]] int
    event_fd() const
    {
        return event_.get();
    }

private:
    struct Slot {
        uint32_t size;
        bool checksum_good;
        std::byte bytes[kMaxMtu + 14 + 4]; /* Header and one VLAN tag. */
    };
    /* A power of two; about what a tap device queues. */
    static constexpr uint32_t kSlots = 512;

    UniqueFd event_;
    std::unique_ptr<Slot[]> slots_;
    alignas(64) std::atomic<uint32_t> head_{0}; /* Next to push. */
    alignas(64) std::atomic<uint32_t> tail_{0}; /* Next to pop. */
    std::atomic<bool> sleeping_{false};
    std::atomic<bool> reading_{false};
    bool popped_ = false; /* The slot at the tail was handed out. */
};

/* The queues between NICs that are or name a peer.  One thread. */
class PeerQueues {
public:
    /* The queue from one NIC to another; both ends ask for it. */
    [[nodiscard]] std::shared_ptr<FrameQueue> between(const std::string &from,
                                                      const std::string &to);

private:
    std::map<std::string, std::weak_ptr<FrameQueue>> queues_;
};

class PeerBackend : public Backend {
public:
    /* Reads `inbound`, writes `outbound`.  Frames for a peer that does not
     * exist or does not name this NIC are not taken. */
    PeerBackend(std::shared_ptr<FrameQueue> inbound,
                std::shared_ptr<FrameQueue> outbound, WireCounters &counters);
    ~PeerBackend() override;

    [[nodiscard]] std::optional<WireFrame> receive() override;
    [[nodiscard]] bool transmit(Bytes frame, bool checksum_good) override;
    void flush() override;
    [[nodiscard]] int
    event_fd() const override
    {
        return inbound_->event_fd();
    }
    [[nodiscard]] bool prepare_sleep() override;

private:
    std::shared_ptr<FrameQueue> inbound_;
    std::shared_ptr<FrameQueue> outbound_;
    WireCounters &counters_;
};

} // namespace netvsc::host
