/* RNDIS part of the attach (E.2, F.2). */

#pragma once

#include <cstdint>

#include "driver/error.h"
#include "driver/host_requests.h"
#include "driver/negotiated.h"

namespace netvsc {

/* INITIALIZE and the queries and sets of an attach; the filter stays 0.
 * `mtu`: what was asked for. */
Status attach_rndis(HostRequests *requests, uint32_t mtu, Negotiated *to);

/* SET of the packet filter: oid::kFilter... bits. */
Status set_packet_filter(HostRequests *requests, uint32_t filter);

} // namespace netvsc
