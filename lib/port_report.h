/* What a port says of itself: statistics, status keys, netdev-netvsc/show.
 *
 * OVS's standard columns, and what each is made of:
 *
 *   rx_packets, rx_bytes   frames given to the switch
 *   rx_dropped             frames that arrived while no PMD thread read the
 *                          queue (netvsc_rx_discarded), or over the rate of
 *                          ingress policing (netvsc_rx_policed).  What the
 *                          host drops for want of room is known to the host
 *                          alone.
 *   rx_errors              messages that break the protocol; their frames,
 *                          if they had any, are lost.  One counter for each
 *                          cause: netvsc_rx_malformed_...
 *   tx_packets, tx_bytes   frames handed to the host
 *   tx_dropped             frames that never left: not taken by the driver
 *                          (netvsc_tx_not_taken; all sections with the host,
 *                          _no_section, no room in the ring, _ring_full, or
 *                          a session that has just ended), no session, port
 *                          down, over the MTU, under 14 bytes, not Ethernet,
 *                          over the rate of the QoS (netvsc_tx_policed)
 *   tx_errors              messages, of several frames each, that the host
 *                          took and reported as failed
 *
 * The bins and rx_multicast_packets count as RFC 2819 does, without the
 * frame check sequence; in those of receive are also the frames that ingress
 * policing takes away. */

#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "driver/device.h"
#include "driver/statistics.h"
#include "lib/identity_file.h"
#include "lib/netvsc-abi.h"
#include "lib/port_options.h"

namespace netvsc::provider {

/* Frames that the provider dropped before the driver saw them, or that the
 * driver did not take. */
struct PortDrops {
    uint64_t not_taken = 0; /* By the driver: for want of room. */
    uint64_t no_session = 0;
    uint64_t down = 0;
    uint64_t not_ethernet = 0;
    /* By rate limits; the driver had counted those that it received. */
    uint64_t rx_policed = 0, rx_policed_bytes = 0;
    uint64_t tx_policed = 0;
};

/* A port at one moment. */
struct PortView {
    std::string name;
    Guid device;
    std::optional<MacAddress> known_mac; /* From an earlier life. */
    DeviceStatus status;
    Statistics statistics;
    PortDrops drops;
    std::vector<std::string> ignored_options;
    bool up = false, promiscuous = false;
    uint32_t wanted_mtu = 0;
    std::string refused_mtu; /* Why the one asked for last was refused. */
    unsigned n_txq = 0;      /* As OVS sees it: PMD threads and one more. */
};

using Pairs = std::vector<std::pair<std::string, std::string>>;
using Counters = std::vector<std::pair<std::string, uint64_t>>;

/* Whether what a session negotiated is in force.  What `status` still has of
 * one that ended is nobody's business. */
[[nodiscard]] inline bool
has_session(const DeviceStatus &status)
{
    return status.state == DeviceState::kReady;
}

[[nodiscard]] netvsc_port_stats standard_statistics(const PortView &port);
[[nodiscard]] Counters custom_statistics(const PortView &port);

/* netdev-dpdk's keys where they are true, and VMBus's. */
[[nodiscard]] Pairs status_pairs(const PortView &port);

/* For netdev-netvsc/show; ends in a newline. */
[[nodiscard]] std::string describe(const PortView &port);

/* Why the MTU in force is not `wanted`; nothing if it is. */
[[nodiscard]] std::string describe_mtu(const DeviceStatus &status,
                                       uint32_t wanted);

/* The sentence about `n` frames that were too big to send. */
[[nodiscard]] std::string describe_too_big(const PortView &port, uint64_t n);

/* "10Gbps", as netdev-dpdk writes it; "Unknown" for 0. */
[[nodiscard]] std::string speed_text(uint64_t bits_per_second);

} // namespace netvsc::provider
