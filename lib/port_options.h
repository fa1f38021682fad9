/* The options of a netvsc port: what an operator may write. */

#pragma once

#include <span>
#include <string>
#include <vector>

#include "driver/error.h"
#include "driver/kernel/guid.h"

namespace netvsc::provider {

/* Queues that a host can have: its NDIS table counts to 64. */
inline constexpr unsigned kMaxRxQueues = 64;

struct Option {
    std::string key, value;
};

struct PortOptions {
    Guid device;
    unsigned n_rxq = 1;
    /* Keys that a port of this type does not know, in order.  Other types
     * have a use for them, or they are misspelt: no reason to take a port
     * that works out of the datapath. */
    std::vector<std::string> ignored;
};

/* Reads all options of a port, or says in a full sentence what is wrong with
 * them; the sentence lists the network devices of this machine where that
 * helps.  Reads sysfs then. */
Result<PortOptions> parse_options(std::span<const Option> options);

/* The sentence about the ignored options of `port`, of which there are some.
 */
std::string describe_ignored(const std::string &port,
                             const std::vector<std::string> &ignored);

/* "a, b and c", or the first few of them and how many more. */
std::string enumerate(const std::vector<std::string> &words);

} // namespace netvsc::provider
