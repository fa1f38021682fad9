/* The numbers that tell the channels of a VM apart (B.8).  Any
 * thread: NICs offer sub-channels by themselves. */

#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

namespace netvsc::host {

class ChannelNumbers {
public:
    /* Those of one channel, which are free again at its end. */
    class Lease {
    public:
        Lease() = default;
        Lease(Lease &&other) noexcept
            : owner_(std::exchange(other.owner_, nullptr)),
              relid_(other.relid_), monitor_id_(other.monitor_id_)
        {
        }
        Lease &
        operator=(Lease &&other) noexcept
        {
            Lease old(std::move(*this));
            owner_ = std::exchange(other.owner_, nullptr);
            relid_ = other.relid_;
            monitor_id_ = other.monitor_id_;
            return *this;
        }
        ~Lease();

        [[nodiscard]] uint32_t
        relid() const
        {
            return relid_;
        }
        /* Nothing for a channel that is signalled otherwise. */
        [[nodiscard]] std::optional<uint32_t>
        monitor_id() const
        {
            return monitor_id_;
        }

    private:
        friend class ChannelNumbers;
        ChannelNumbers *owner_ = nullptr;
        uint32_t relid_ = 0;
        std::optional<uint32_t> monitor_id_;
    };

    /* Whether a channel has a monitor id: never, if there is one, or always.
     */
    enum class Monitor { kNone, kIfFree, kNeeded };
    /* Throws HostError when they are used up. */
    [[nodiscard]] Lease take(Monitor monitor);

private:
    std::mutex mutex_;
    std::set<uint32_t> relids_;
    uint32_t last_relid_ = 0;
    std::set<uint32_t> monitor_ids_;
};

} // namespace netvsc::host
