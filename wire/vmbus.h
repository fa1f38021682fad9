/* VMBus pages and identifiers that a channel needs (doc/protocol.md, B). */

#pragma once

#include "wire/ring.h"

namespace netvsc::wire {

/* Device class of the synthetic NIC, as sysfs prints it (B.3.1, C.1). */
inline constexpr char kNicClassGuid[] = "f8615163-df3e-46c5-913f-f2d2f965ed0e";

/* Highest channel id (relid) plus one (B.8). */
inline constexpr uint32_t kMaxRelids = 2048;

/* --- B.11 Monitor page ------------------------------------------------- */

inline constexpr uint32_t kMonitorGroups = 4;
inline constexpr uint32_t kMonitorTriggersPerGroup = 32;
inline constexpr uint32_t kMonitorIds =
    kMonitorGroups * kMonitorTriggersPerGroup;

/* A trigger group: the guest sets bits of `pending`, the host clears them. */
struct [[gnu::packed]] MonitorTriggerGroup {
    uint32_t pending;
    uint32_t armed;
};
NETVSC_WIRE_SIZE(MonitorTriggerGroup, 8);

struct [[gnu::packed]] MonitorParameter {
    uint32_t connection_id;
    uint16_t flag_number;
    uint16_t reserved;
};
NETVSC_WIRE_SIZE(MonitorParameter, 8);

/* The child-to-parent page: one trigger for each monitor id. */
struct [[gnu::packed]] MonitorPage {
    uint32_t trigger_state;
    uint32_t reserved1;
    MonitorTriggerGroup groups[kMonitorGroups];
    uint8_t reserved2[24];
    int32_t next_check_time[kMonitorIds];
    uint16_t latency[kMonitorIds]; /* In kMonitorLatencyNs units. */
    uint8_t reserved3[256];
    MonitorParameter parameter[kMonitorIds];
    uint8_t reserved4[1984];
};
NETVSC_WIRE_SIZE(MonitorPage, 4096);
NETVSC_WIRE_AT(MonitorPage, groups, 0x008);
NETVSC_WIRE_AT(MonitorPage, next_check_time, 0x040);
NETVSC_WIRE_AT(MonitorPage, latency, 0x240);
NETVSC_WIRE_AT(MonitorPage, parameter, 0x440);

/* The latency field counts 100 ns. */
inline constexpr uint32_t kMonitorLatencyNs = 100;

/* --- B.9, C.3 Interrupt page ------------------------------------------- */

/* Second half: one guest-to-host bit for each relid. */
inline constexpr uint32_t kInterruptPageGuestToHost = 2048;

/* --- C.3 The five UIO maps of a NIC ------------------------------------ */

inline constexpr unsigned kUioMapRings = 0;
inline constexpr unsigned kUioMapInterruptPage = 1;
inline constexpr unsigned kUioMapMonitorPage = 2;
inline constexpr unsigned kUioMapReceiveBuffer = 3;
inline constexpr unsigned kUioMapSendBuffer = 4;
inline constexpr unsigned kUioMaps = 5;
/* They are the indices of tables: each stands for one map. */
static_assert((1u << kUioMapRings | 1u << kUioMapInterruptPage |
               1u << kUioMapMonitorPage | 1u << kUioMapReceiveBuffer |
               1u << kUioMapSendBuffer) == (1u << kUioMaps) - 1);

/* Map names; the GPADL id follows the colon in decimal. */
inline constexpr char kUioMapNameRings[] = "txrx_rings";
inline constexpr char kUioMapNameInterruptPage[] = "int_page";
inline constexpr char kUioMapNameMonitorPage[] = "monitor_page";
inline constexpr char kUioMapNameReceiveBuffer[] = "recv:";
inline constexpr char kUioMapNameSendBuffer[] = "send:";

/* Sizes that uio_hv_generic gives a NIC: 2 MiB of ring each way, control
 * page included; guests read the sizes from sysfs all the same. */
inline constexpr uint32_t kUioRingsSize = 4u << 20;
inline constexpr uint32_t kUioReceiveBufferSize = 31u << 20;
inline constexpr uint32_t kUioSendBufferSize = 16u << 20;

} // namespace netvsc::wire
