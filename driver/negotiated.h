/* What host and driver agreed on when the session began. */

#pragma once

#include <array>
#include <cstdint>

namespace netvsc {

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

} // namespace netvsc
