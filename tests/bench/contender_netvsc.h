/* Ours: a port of type=netvsc without the switch around it. */

#pragma once

#include <memory>
#include <string>

#include "tests/bench/contender.h"

namespace netvsc::bench {

/* Attaches to the NIC; throws std::runtime_error with the driver's sentence
 * when that takes too long. */
[[nodiscard]] std::unique_ptr<PollingContender>
make_netvsc(const std::string &guid);

} // namespace netvsc::bench
