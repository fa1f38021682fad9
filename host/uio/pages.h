/* The two pages that all VMBus devices of a VM share (reference C.3). */

#pragma once

#include <atomic>

#include "host/unique_fd.h"
#include "wire/vmbus.h"

namespace netvsc::host {

/* One of the monitor page's triggers: how a guest signals one channel. */
class MonitorTrigger {
public:
    /* `page` must outlive it. */
    MonitorTrigger(std::span<std::byte> page, uint32_t id);

    /* Announces the latency that the guest may change, in 100 ns. */
    void announce(uint32_t connection_id, uint16_t latency);

    /* True when the guest set the bit since the last call. */
    [[nodiscard]] bool take();
    [[nodiscard]] uint64_t interval_ns() const;

private:
    [[nodiscard]] std::atomic_ref<uint32_t> pending() const;
    [[nodiscard]] std::atomic_ref<uint16_t> latency() const;

    std::span<std::byte> page_;
    uint32_t id_;
};

class VmPages {
public:
    /* Throws HostError. */
    VmPages();

    [[nodiscard]] const SharedMemory &
    interrupt_page() const
    {
        return interrupt_page_;
    }
    [[nodiscard]] const SharedMemory &
    monitor_page() const
    {
        return monitor_page_;
    }

private:
    SharedMemory interrupt_page_;
    SharedMemory monitor_page_;
};

} // namespace netvsc::host
