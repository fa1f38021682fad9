/* What the driver counts, summed over queues and sessions. */

#pragma once

#include <array>
#include <cstdint>

namespace netvsc {

/* Upper bounds of OVS's size bins: rx_1_to_64_packets and so on; the last
 * bin is open. */
inline constexpr std::array<uint32_t, 7> kSizeBinLimits = {
    64, 127, 255, 511, 1023, 1522, UINT32_MAX};

/* Why a received message or frame was refused (reference G, peers.md 4a). */
enum class Malformed : unsigned {
    kPacketType,    /* Ring packet of a type that no host sends. */
    kPacketHeader,  /* Header offset, length or range count impossible. */
    kSetId,         /* Transfer pages not of the receive buffer. */
    kRange,         /* Range outside the buffer or over one sub-allocation. */
    kNvspType,      /* Unknown or misplaced NVSP message. */
    kRndisHeader,   /* RNDIS type or length impossible. */
    kRndisData,     /* Frame outside its message, or shorter than Ethernet. */
    kRndisPpi,      /* Per-packet info outside its message or ill-formed. */
    kTransactionId, /* Completion of an id that is not outstanding. */
    kReply,         /* Control reply too short, too long, or not asked for. */
    kCount
};
inline constexpr unsigned kMalformedCauses =
    static_cast<unsigned>(Malformed::kCount);

/* Name of the counter, e.g. "rx_malformed_range". */
[[nodiscard]] const char *malformed_name(Malformed cause);

struct Statistics {
    uint64_t rx_packets = 0;
    uint64_t rx_bytes = 0;
    uint64_t rx_multicast = 0;
    std::array<uint64_t, 7> rx_size_bins{};
    uint64_t rx_discarded = 0; /* Met by the control thread: nobody polled. */
    uint64_t rx_control = 0;   /* RNDIS control messages. */
    uint64_t rx_ring_packets = 0;
    std::array<uint64_t, kMalformedCauses> malformed{};

    uint64_t tx_packets = 0;
    uint64_t tx_bytes = 0;
    std::array<uint64_t, 7> tx_size_bins{};
    uint64_t tx_ring_packets = 0; /* Send sections used. */
    uint64_t tx_no_section = 0;   /* Frames not taken: all sections busy. */
    uint64_t tx_ring_full = 0;    /* Frames not taken: no room in the ring. */
    uint64_t tx_too_big = 0;      /* Frames over MTU or send section. */
    uint64_t tx_too_small = 0;    /* Frames shorter than Ethernet's 14. */
    uint64_t tx_failed = 0;       /* Completions with status not success. */
    uint64_t signals = 0;         /* Times the host was signalled. */

    /* The biggest of the frames that were too big, in bytes. */
    uint64_t tx_biggest_refused = 0;

    Statistics &operator+=(const Statistics &);
};

} // namespace netvsc
