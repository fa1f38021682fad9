/* A UIO device in plain memory: what the driver's tests open.
 *
 * The maps are anonymous memory; the far ends of the rings are FarRing
 * (far_ring.h).  Nothing happens behind the test's back: interrupts, wakes
 * and removal are what the test, or the host it attached, asked for. */

#pragma once

#include <array>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include <sys/mman.h>

#include "driver/kernel/uio.h"
#include "wire/vmbus.h"

namespace netvsc::test {

/* Sizes of the maps; the defaults are small, but pages as the kernel's. */
struct MapSizes {
    size_t rings = 2 * (wire::kPageSize + 16384);
    size_t receive = 64 * wire::kPageSize;
    size_t send = 16 * wire::kPageSize;
};

class FakeUio final : public Uio {
public:
    explicit FakeUio(const MapSizes &sizes = {})
    {
        allocate(wire::kUioMapRings, sizes.rings);
        allocate(wire::kUioMapInterruptPage, wire::kPageSize);
        allocate(wire::kUioMapMonitorPage, wire::kPageSize);
        allocate(wire::kUioMapReceiveBuffer, sizes.receive);
        allocate(wire::kUioMapSendBuffer, sizes.send);
    }
    ~FakeUio() override
    {
        for (std::span<uint8_t> map : maps_) {
            ::munmap(map.data(), map.size());
        }
    }

    /* --- Driver's side --- */

    std::span<uint8_t>
    map(unsigned i) noexcept override
    {
        return maps_[i];
    }

    Event
    wait(Clock::time_point deadline) override
    {
        if (host_) {
            host_();
        }
        std::unique_lock lock(lock_);
        changed_.wait_until(lock, deadline,
                            [&] { return removed_ || woken_ || interrupt_; });
        if (removed_) {
            return Event::kRemoved;
        }
        if (woken_) {
            woken_ = false;
            return Event::kWoken;
        }
        if (interrupt_) {
            interrupt_ = false;
            return Event::kInterrupt;
        }
        return Event::kTimeout;
    }

    void
    wake() noexcept override
    {
        std::lock_guard lock(lock_);
        woken_ = true;
        wakes_++;
        changed_.notify_all();
    }

    void
    irq_control(bool unmask) noexcept override
    {
        std::lock_guard lock(lock_);
        irq_controls_.push_back(unmask);
        signalled_ = signalled_ || unmask;
        changed_.notify_all();
    }

    /* --- Host's and test's side --- */

    std::span<uint8_t>
    out_ring()
    {
        return maps_[wire::kUioMapRings].first(
            maps_[wire::kUioMapRings].size() / 2);
    }
    std::span<uint8_t>
    in_ring()
    {
        return maps_[wire::kUioMapRings].last(
            maps_[wire::kUioMapRings].size() / 2);
    }

    void
    interrupt()
    {
        std::lock_guard lock(lock_);
        interrupt_ = true;
        changed_.notify_all();
    }
    void
    remove()
    {
        std::lock_guard lock(lock_);
        removed_ = true;
        changed_.notify_all();
    }

    /* A host on the driver's own thread: runs at each wait(). */
    void
    set_host(std::function<void()> host)
    {
        host_ = std::move(host);
    }

    /* Whether the guest signalled since the last call (without a monitor id
     * it does so by irq_control). */
    bool
    take_signal()
    {
        std::lock_guard lock(lock_);
        return std::exchange(signalled_, false);
    }
    /* Waits for that; false at the deadline, or once `stop` says so. */
    bool
    wait_signal(Clock::time_point deadline, const bool &stop)
    {
        std::unique_lock lock(lock_);
        changed_.wait_until(lock, deadline,
                            [&] { return signalled_ || stop; });
        return std::exchange(signalled_, false);
    }
    /* Sets what wait_signal() looks at. */
    void
    stop(bool *flag)
    {
        std::lock_guard lock(lock_);
        *flag = true;
        changed_.notify_all();
    }

    unsigned
    wakes()
    {
        std::lock_guard lock(lock_);
        return wakes_;
    }
    std::vector<bool>
    irq_controls()
    {
        std::lock_guard lock(lock_);
        return irq_controls_;
    }

private:
    void
    allocate(unsigned i, size_t size)
    {
        void *memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        maps_[i] = {static_cast<uint8_t *>(memory), size};
    }

    std::array<std::span<uint8_t>, wire::kUioMaps> maps_;
    std::function<void()> host_;

    std::mutex lock_;
    std::condition_variable changed_;
    bool removed_ = false, woken_ = false, interrupt_ = false;
    bool signalled_ = false;
    unsigned wakes_ = 0;
    std::vector<bool> irq_controls_;
};

} // namespace netvsc::test
