/* Transaction ids of packets that the driver sends with a completion.
 *
 * An id says what it completes and in which session, so that an id which the
 * host repeats, invents or keeps from an earlier session is recognised.  The
 * send section's owner is looked up, not part of the id: sections in flight
 * when the number of transmit queues changes find their new owner. */

#pragma once

#include <cstdint>
#include <optional>

namespace netvsc {

struct TransactionId {
    enum class Kind : uint8_t {
        kData = 1,    /* RNDIS packets in send section `index`. */
        kControl = 2, /* An RNDIS control message in section `index`. */
        kNvsp = 3,    /* NVSP request number `index`. */
    };

    uint16_t generation; /* Of the session. */
    Kind kind;
    uint32_t index;

    uint64_t
    encode() const noexcept
    {
        return static_cast<uint64_t>(generation) << 48 |
               static_cast<uint64_t>(kind) << 32 | index;
    }

    /* Nothing for an id that encode() cannot have made. */
    static std::optional<TransactionId>
    decode(uint64_t id) noexcept
    {
        auto kind = static_cast<uint16_t>(id >> 32);
        if (kind < static_cast<uint16_t>(Kind::kData) ||
            kind > static_cast<uint16_t>(Kind::kNvsp)) {
            return std::nullopt;
        }
        return TransactionId{static_cast<uint16_t>(id >> 48),
                             static_cast<Kind>(kind),
                             static_cast<uint32_t>(id)};
    }
};

} // namespace netvsc
