/* One trigger of the monitor page, by which a guest signals a channel through
 * shared memory (B.11). */

#pragma once

#include <atomic>

#include "host/base/bytes.h"
#include "wire/vmbus.h"

namespace netvsc::host {

class MonitorTrigger {
public:
    /* `page` must outlive it. */
    MonitorTrigger(MutableBytes page, uint32_t id);

    /* Announces the latency that the guest may change, in 100 ns. */
    void announce(uint32_t connection_id, uint16_t latency);

    /* True when the guest set the bit since the last call. */
    [[nodiscard]] bool take();
    [[nodiscard]] uint64_t interval_ns() const;

private:
    [[nodiscard]] std::atomic_ref<uint32_t> pending() const;
    [[nodiscard]] std::atomic_ref<uint16_t> latency() const;

    MutableBytes page_;
    uint32_t id_;
};

/* openvmm's form of the connection id of a channel (B.8). */
[[nodiscard]] constexpr uint32_t
connection_id(uint32_t relid)
{
    return relid | 0x2000;
}

/* The latency word for microseconds. */
[[nodiscard]] constexpr uint16_t
latency_units(uint32_t us)
{
    return static_cast<uint16_t>(us * 1000 / wire::kMonitorLatencyNs);
}

} // namespace netvsc::host
