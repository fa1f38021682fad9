#include "host/wires/peer.h"

#include <sys/eventfd.h>

#include "host/base/error.h"

namespace netvsc::host {

/* --- FrameQueue -------------------------------------------------------- */

FrameQueue::FrameQueue()
    : event_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      slots_(std::make_unique_for_overwrite<Slot[]>(kSlots))
{
    if (!event_) {
        throw_errno("Cannot create the event of a peer queue");
    }
}

bool
FrameQueue::push(Bytes frame, bool checksum_good)
{
    uint32_t head = head_.load(std::memory_order_relaxed);
    Slot &slot = slots_[head % kSlots];
    if (head - tail_.load(std::memory_order_acquire) == kSlots ||
        !reading_.load(std::memory_order_relaxed) ||
        frame.size() > sizeof slot.bytes) {
        return false;
    }
    std::memcpy(slot.bytes, frame.data(), frame.size());
    slot.size = static_cast<uint32_t>(frame.size());
    slot.checksum_good = checksum_good;
    /* Before the load of `sleeping_` in wake(), as prepare_sleep() stores
     * that before it looks at the head. */
    head_.store(head + 1);
    return true;
}

void
FrameQueue::wake()
{
    if (sleeping_.load() && sleeping_.exchange(false)) {
        /* Cannot fail: the counter is far from its end. */
        eventfd_write(event_.get(), 1);
    }
}

std::optional<WireFrame>
FrameQueue::pop()
{
    uint32_t tail = tail_.load(std::memory_order_relaxed);
    if (popped_) {
        tail_.store(++tail, std::memory_order_release);
        popped_ = false;
    }
    if (head_.load(std::memory_order_acquire) == tail) {
        return std::nullopt;
    }
    popped_ = true;
    Slot &slot = slots_[tail % kSlots];
    return WireFrame{{slot.bytes, slot.size}, slot.checksum_good};
}

bool
FrameQueue::prepare_sleep()
{
    eventfd_t ignored;
    eventfd_read(event_.get(), &ignored);
    sleeping_.store(true);
    return head_.load() == tail_.load(std::memory_order_relaxed) + popped_;
}

void
FrameQueue::set_reading(bool reading)
{
    reading_.store(reading, std::memory_order_relaxed);
}

/* --- PeerQueues -------------------------------------------------------- */

std::shared_ptr<FrameQueue>
PeerQueues::between(const std::string &from, const std::string &to)
{
    std::weak_ptr<FrameQueue> &known = queues_[from + ">" + to];
    std::shared_ptr<FrameQueue> queue = known.lock();
    if (!queue) {
        queue = std::make_shared<FrameQueue>();
        known = queue;
    }
    return queue;
}

/* --- PeerBackend ------------------------------------------------------- */

PeerBackend::PeerBackend(std::shared_ptr<FrameQueue> inbound,
                         std::shared_ptr<FrameQueue> outbound,
                         WireCounters &counters)
    : inbound_(std::move(inbound)), outbound_(std::move(outbound)),
      counters_(counters)
{
    inbound_->set_reading(true);
}

PeerBackend::~PeerBackend()
{
    inbound_->set_reading(false);
}

std::optional<WireFrame>
PeerBackend::receive()
{
    std::optional<WireFrame> frame = inbound_->pop();
    counters_.read += frame.has_value();
    return frame;
}

bool
PeerBackend::transmit(Bytes frame, bool checksum_good)
{
    if (!outbound_->push(frame, checksum_good)) {
        return false;
    }
    counters_.written++;
    return true;
}

void
PeerBackend::flush()
{
    outbound_->wake();
}

bool
PeerBackend::prepare_sleep()
{
    return inbound_->prepare_sleep();
}

} // namespace netvsc::host
