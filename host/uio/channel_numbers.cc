#include "host/uio/channel_numbers.h"

#include "host/base/error.h"
#include "wire/vmbus.h"

namespace netvsc::host {

namespace {

/* Bit 0 of the interrupt page is never a channel (B.9). */
constexpr uint32_t kFirstRelid = 1;

} // namespace

ChannelNumbers::Lease
ChannelNumbers::take(Monitor monitor)
{
    std::lock_guard lock(mutex_);
    if (relids_.size() == wire::kMaxRelids - kFirstRelid) {
        throw HostError("There are no more channel ids; remove a NIC first.");
    }
    std::optional<uint32_t> monitor_id;
    if (monitor != Monitor::kNone) {
        uint32_t id = 0;
        while (monitor_ids_.contains(id)) {
            id++;
        }
        if (id < wire::kMonitorIds) {
            monitor_id = id;
        } else if (monitor == Monitor::kNeeded) {
            throw HostError("There are no more monitor ids; remove a NIC "
                            "first, or add this one with monitor=no.");
        }
    }
    /* Upwards, so that a guest that still holds a dead channel meets its
     * number late again. */
    do {
        last_relid_ =
            last_relid_ + 1 < wire::kMaxRelids ? last_relid_ + 1 : kFirstRelid;
    } while (!relids_.insert(last_relid_).second);
    if (monitor_id) {
        monitor_ids_.insert(*monitor_id);
    }
    Lease lease;
    lease.owner_ = this;
    lease.relid_ = last_relid_;
    lease.monitor_id_ = monitor_id;
    return lease;
}

ChannelNumbers::Lease::~Lease()
{
    if (owner_) {
        std::lock_guard lock(owner_->mutex_);
        owner_->relids_.erase(relid_);
        if (monitor_id_) {
            owner_->monitor_ids_.erase(*monitor_id_);
        }
    }
}

} // namespace netvsc::host
