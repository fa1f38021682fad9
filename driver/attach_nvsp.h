/* NVSP part of attach and detach (D.4, D.9). */

#pragma once

#include <cstdint>

#include "driver/error.h"
#include "driver/host_requests.h"
#include "driver/kernel/sysfs.h"
#include "driver/negotiated.h"

namespace netvsc {

/* The L3 MTU to negotiate for a port that wants `mtu`. */
[[nodiscard]] uint32_t mtu_to_ask(uint32_t mtu) noexcept;

/* INIT, NDIS_CONFIG, NDIS_VERSION, both buffers.  `mtu`: to ask for, L3. */
Status attach_nvsp(HostRequests *requests, const DeviceInfo &info,
                   uint32_t mtu, Negotiated *to);

/* HALT, then both revokes; the filter is 0 already. */
Status say_goodbye(HostRequests *requests);

} // namespace netvsc
