#include "host/netvsp/monitor.h"

#include <algorithm>

namespace netvsc::host {

namespace {

/* A guest that asks for less would have the host do nothing else; real hosts
 * have a minimum, too (H.2). */
constexpr uint64_t kShortestIntervalNs = 10'000;

} // namespace

MonitorTrigger::MonitorTrigger(MutableBytes page, uint32_t id)
    : page_(page), id_(id)
{
}

void
MonitorTrigger::announce(uint32_t connection_id, uint16_t latency_units)
{
    wire::MonitorParameter parameter{};
    parameter.connection_id = connection_id;
    store(page_,
          offsetof(wire::MonitorPage, parameter) + id_ * sizeof parameter,
          parameter);
    latency().store(latency_units, std::memory_order_relaxed);
    pending().fetch_and(~(1u << id_ % wire::kMonitorTriggersPerGroup));
}

bool
MonitorTrigger::take()
{
    uint32_t bit = 1u << id_ % wire::kMonitorTriggersPerGroup;
    /* The word belongs to all channels of its group, so it is only written
     * when there is something to clear. */
    return pending().load(std::memory_order_relaxed) & bit &&
           pending().fetch_and(~bit) & bit;
}

uint64_t
MonitorTrigger::interval_ns() const
{
    uint64_t units = latency().load(std::memory_order_relaxed);
    return std::max(units * wire::kMonitorLatencyNs, kShortestIntervalNs);
}

std::atomic_ref<uint32_t>
MonitorTrigger::pending() const
{
    size_t group = id_ / wire::kMonitorTriggersPerGroup;
    size_t at = offsetof(wire::MonitorPage, groups) +
                group * sizeof(wire::MonitorTriggerGroup) +
                offsetof(wire::MonitorTriggerGroup, pending);
    return std::atomic_ref(*reinterpret_cast<uint32_t *>(page_.data() + at));
}

std::atomic_ref<uint16_t>
MonitorTrigger::latency() const
{
    size_t at = offsetof(wire::MonitorPage, latency) + id_ * sizeof(uint16_t);
    return std::atomic_ref(*reinterpret_cast<uint16_t *>(page_.data() + at));
}

} // namespace netvsc::host
