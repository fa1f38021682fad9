/* What the driver counts: the list of its counters, each with its name.
 *
 * A new counter is a new line here: it is added up, and shown as custom
 * statistic "netvsc_" and its name, without another change. */

#pragma once

#include <array>

/* clang-format off */
#define NETVSC_COUNTS(COUNT)                                                  \
    COUNT(kSignals, "signals")             /* Times the host was signalled. */ \
    COUNT(kRxRingPackets, "rx_ring_packets")                                  \
    COUNT(kRxControl, "rx_control")        /* RNDIS control messages. */      \
    COUNT(kRxDiscarded, "rx_discarded")    /* Frames that nobody polled for. */ \
    COUNT(kTxRingPackets, "tx_ring_packets") /* Send sections used. */        \
    COUNT(kTxNoSection, "tx_no_section")   /* Not taken: all sections busy. */ \
    COUNT(kTxRingFull, "tx_ring_full")     /* Not taken: no room in the ring. */ \
    COUNT(kTxTooBig, "tx_too_big")         /* Over MTU or send section. */    \
    COUNT(kTxTooSmall, "tx_too_small")     /* Shorter than Ethernet's 14. */  \
    COUNT(kTxFailed, "tx_failed")          /* Completed with a failure. */

/* Why a received message or frame was refused (G). */
#define NETVSC_MALFORMED(CAUSE)                                               \
    /* Ring packet of a type that no host sends. */                           \
    CAUSE(kPacketType, "rx_malformed_packet_type")                            \
    /* Header offset, length or range count impossible. */                    \
    CAUSE(kPacketHeader, "rx_malformed_packet_header")                        \
    /* Transfer pages not of the receive buffer. */                           \
    CAUSE(kSetId, "rx_malformed_set_id")                                      \
    /* Range outside the buffer or over one sub-allocation. */                \
    CAUSE(kRange, "rx_malformed_range")                                       \
    /* Unknown or misplaced NVSP message. */                                  \
    CAUSE(kNvspType, "rx_malformed_nvsp_type")                                \
    /* RNDIS type or length impossible. */                                    \
    CAUSE(kRndisHeader, "rx_malformed_rndis_header")                          \
    /* Frame outside its message, or shorter than Ethernet. */                \
    CAUSE(kRndisData, "rx_malformed_rndis_data")                              \
    /* Per-packet info outside its message or ill-formed. */                  \
    CAUSE(kRndisPpi, "rx_malformed_rndis_ppi")                                \
    /* Completion of an id that is not outstanding. */                        \
    CAUSE(kTransactionId, "rx_malformed_transaction_id")                      \
    /* Control reply too short, too long, or not asked for. */                \
    CAUSE(kReply, "rx_malformed_reply")
/* clang-format on */

namespace netvsc {

#define NETVSC_ENUMERATOR(ID, NAME) ID,
#define NETVSC_NAME(ID, NAME) NAME,
#define NETVSC_ONE(ID, NAME) +1

enum class Count : unsigned { NETVSC_COUNTS(NETVSC_ENUMERATOR) };
inline constexpr unsigned kCounts = 0 NETVSC_COUNTS(NETVSC_ONE);
inline constexpr std::array<const char *, kCounts> kCountNames = {
    NETVSC_COUNTS(NETVSC_NAME)};

enum class Malformed : unsigned { NETVSC_MALFORMED(NETVSC_ENUMERATOR) };
inline constexpr unsigned kMalformedCauses = 0 NETVSC_MALFORMED(NETVSC_ONE);
inline constexpr std::array<const char *, kMalformedCauses> kMalformedNames = {
    NETVSC_MALFORMED(NETVSC_NAME)};

#undef NETVSC_ENUMERATOR
#undef NETVSC_NAME
#undef NETVSC_ONE

} // namespace netvsc
