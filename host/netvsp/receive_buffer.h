/* The guest's receive buffer, which all channels of a session share: its
 * sub-allocations and the ledger of them (D.5, G.1). */

#pragma once

#include <optional>

#include "host/base/bytes.h"
#include "host/config.h"
#include "host/netvsp/sub_allocations.h"

namespace netvsc::host {

class ReceiveBuffer {
public:
    explicit ReceiveBuffer(const NicConfig &nic) : nic_(nic) {}

    /* Starts using the guest's buffer for frames of an L3 MTU of `mtu`.  False
     * when it is too small to be of use. */
    [[nodiscard]] bool attach(MutableBytes buffer, uint32_t mtu);
    /* Stops using it (REVOKE); what the guest still has may come back. */
    void revoke();
    [[nodiscard]] bool
    attached() const
    {
        return !buffer_.empty();
    }

    /* Bytes of a sub-allocation for frames of this L3 MTU. */
    [[nodiscard]] static uint32_t suballoc_size_for(uint32_t mtu);
    [[nodiscard]] uint32_t
    suballoc_size() const
    {
        return suballoc_size_;
    }
    [[nodiscard]] uint32_t
    mtu() const
    {
        return mtu_;
    }

    /* Nothing before attach(). */
    [[nodiscard]] std::optional<SubAllocations> &
    ledger()
    {
        return ledger_;
    }
    [[nodiscard]] const std::optional<SubAllocations> &
    ledger() const
    {
        return ledger_;
    }

    /* While it is attached. */
    [[nodiscard]] MutableBytes
    bytes() const
    {
        return buffer_;
    }
    [[nodiscard]] uint32_t
    offset(uint32_t index) const
    {
        return index * suballoc_size_;
    }
    [[nodiscard]] MutableBytes
    suballoc(uint32_t index) const
    {
        return buffer_.subspan(offset(index), suballoc_size_);
    }

private:
    const NicConfig &nic_;
    MutableBytes buffer_;
    uint32_t mtu_ = 0;
    uint32_t suballoc_size_ = 0;
    std::optional<SubAllocations> ledger_;
};

} // namespace netvsc::host
