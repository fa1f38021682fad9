/* The floor (tests/bench/floor.h) on a NIC of the host, which the driver
 * attaches to and then leaves alone. */

#pragma once

#include <memory>
#include <string>

#include "tests/bench/contender.h"

namespace netvsc::bench {

/* With `packets`, frames are in packets of Open vSwitch, which are taken from
 * the pool of ours, given size and hash, and deleted.  Throws
 * std::runtime_error. */
[[nodiscard]] std::unique_ptr<Contender> make_floor(const std::string &guid,
                                                    bool packets);

} // namespace netvsc::bench
