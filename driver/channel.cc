#include "driver/channel.h"

namespace netvsc {

HostSignal::HostSignal(Uio *uio, uint32_t relid,
                       std::optional<uint32_t> monitor_id)
    : uio_(uio), monitor_(monitor_id.has_value())
{
    uint8_t *at;
    if (monitor_) {
        at = uio->map(wire::kUioMapMonitorPage).data() +
             offsetof(wire::MonitorPage, groups) +
             *monitor_id / wire::kMonitorTriggersPerGroup *
                 sizeof(wire::MonitorTriggerGroup) +
             offsetof(wire::MonitorTriggerGroup, pending);
        bit_ = 1u << (*monitor_id % wire::kMonitorTriggersPerGroup);
    } else {
        at = uio->map(wire::kUioMapInterruptPage).data() +
             wire::kInterruptPageGuestToHost + relid / 32 * 4;
        bit_ = 1u << (relid % 32);
    }
    word_ = reinterpret_cast<uint32_t *>(at);
}

void
HostSignal::signal() noexcept
{
    /* A read-modify-write: other channels, the kernel and the host share
     * the word (H.2). */
    std::atomic_ref(*word_).fetch_or(bit_, std::memory_order_seq_cst);
    if (!monitor_) {
        uio_->irq_control(true);
    }
}

Channel::Channel(std::span<uint8_t> rings, HostSignal signal)
    : out_(rings.first(rings.size() / 2)), signal_(signal),
      in_(rings.last(rings.size() / 2))
{
}

bool
Channel::out_drained() noexcept
{
    std::lock_guard lock(out_lock_);
    return out_.drained();
}

bool
Channel::out_broken() noexcept
{
    std::lock_guard lock(out_lock_);
    return out_.free_bytes() == 0 && out_.broken();
}

void
Channel::send_owed_signal() noexcept
{
    std::lock_guard lock(out_lock_);
    signal_owed_ = false;
    signal_host();
}

} // namespace netvsc
