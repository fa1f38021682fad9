/* The options of a netvsc port: what an operator may write. */

#pragma once

#include <span>
#include <string>

#include "driver/error.h"
#include "driver/kernel/guid.h"

namespace netvsc::provider {

/* Queues that a host can have: its NDIS table counts to 64 (roadmap). */
inline constexpr unsigned kMaxRxQueues = 64;

struct Option {
    std::string key, value;
};

struct PortOptions {
    Guid device;
    unsigned n_rxq = 1;
};

/* Reads all options of a port, or says in a full sentence what is wrong with
 * them; the sentence lists the network devices of this machine where that
 * helps.  Reads sysfs then. */
Result<PortOptions> parse_options(std::span<const Option> options);

} // namespace netvsc::provider
