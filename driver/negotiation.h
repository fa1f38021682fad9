/* The attach sequence, in protocol order: NVSP (reference D.4), then RNDIS
 * and its OIDs (E.2, F.2); and the goodbye (D.9). */

#pragma once

#include <array>
#include <cstdint>

#include "driver/control_channel.h"
#include "driver/error.h"
#include "driver/kernel/sysfs.h"

namespace netvsc {

/* What both sides agreed on. */
struct Negotiated {
    /* NVSP */
    uint32_t nvsp_version = 0;
    uint32_t ndis_major = 0, ndis_minor = 0;
    uint32_t receive_suballoc_size = 0, receive_suballocs = 0;
    uint32_t send_section_size = 0;
    /* RNDIS */
    uint32_t max_packets_per_message = 1;
    uint32_t max_transfer_size = 0;
    uint32_t packet_alignment = 1; /* Bytes. */
    /* OIDs */
    uint32_t mtu = 0; /* L3, as the host says. */
    /* L3: largest of the adapter, or of any host if this one has not said. */
    uint32_t max_mtu = 0;
    std::array<uint8_t, 6> mac{};
    bool link_up = false;
    uint64_t link_speed = 0; /* bit/s */
    uint32_t max_rx_queues = 1;
};

/* The L3 MTU to negotiate for a port that wants `mtu`. */
[[nodiscard]] uint32_t mtu_to_ask(uint32_t mtu) noexcept;

/* INIT, NDIS_CONFIG, NDIS_VERSION, both buffers.  `mtu`: to ask for, L3. */
Status negotiate_nvsp(ControlChannel *control, const DeviceInfo &info,
                      uint32_t mtu, Negotiated *to);

/* INITIALIZE and the queries and sets of an attach; the filter stays 0.
 * `mtu`: what was asked for. */
Status negotiate_rndis(ControlChannel *control, uint32_t mtu, Negotiated *to);

/* SET of the packet filter: oid::kFilter... bits. */
Status set_packet_filter(ControlChannel *control, uint32_t filter);

/* HALT, then both revokes; the filter is 0 already. */
Status say_goodbye(ControlChannel *control);

} // namespace netvsc
