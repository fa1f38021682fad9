/* Receive-side scaling: which channel a frame for the guest takes, by its
 * Toeplitz hash and the guest's indirection table (F.5). */

#pragma once

#include <array>
#include <optional>

#include "host/base/bytes.h"
#include "wire/oid.h"

namespace netvsc::host {

class ReceiveScaling {
public:
    /* For a NIC of so many channels at most. */
    explicit ReceiveScaling(uint32_t channels) : channels_(channels) {}

    /* SET GEN_RECEIVE_SCALE_PARAMETERS.  Returns the RNDIS status; anything
     * but success changes nothing. */
    [[nodiscard]] uint32_t set(Bytes object);

    /* Every frame takes the primary channel and has no hash while it is off.
     */
    [[nodiscard]] bool
    on() const
    {
        return on_;
    }

    struct Choice {
        uint32_t channel = 0; /* The guest may not have opened it. */
        uint32_t hash = 0;
        uint32_t info = 0; /* Type and function of the hash; 0 for none. */
    };
    /* For an Ethernet frame of any kind, tagged or not. */
    [[nodiscard]] Choice choose(Bytes frame) const;

    /* Changes with each change of choices. */
    [[nodiscard]] uint32_t
    generation() const
    {
        return generation_;
    }

private:
    static constexpr size_t kKeySize = wire::oid::kRssKeySize;
    /* Addresses and ports of IPv6. */
    static constexpr size_t kLongestInput = 16 + 16 + 2 + 2;
    static constexpr size_t kEntries = wire::oid::kRssIndirectionEntries;

    void make_tables();
    [[nodiscard]] uint32_t hash(Bytes addresses, Bytes ports) const;

    uint32_t channels_;
    bool on_ = false;
    uint32_t generation_ = 0;
    uint32_t hash_info_ = 0;
    std::optional<std::array<std::byte, kKeySize>> key_;
    std::optional<std::array<uint32_t, kEntries>> table_;
    /* What each value of each input byte adds to the hash. */
    std::array<std::array<uint32_t, 256>, kLongestInput> tables_{};
};

} // namespace netvsc::host
