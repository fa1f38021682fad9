/* The floor (tests/bench/floor.h) on a NIC of the host, which the driver
 * attaches to and then leaves alone. */

#pragma once

#include <memory>
#include <string>

#include "tests/bench/contender.h"

namespace netvsc::bench {

/* Throws std::runtime_error. */
[[nodiscard]] std::unique_ptr<Contender> make_floor(const std::string &guid);

} // namespace netvsc::bench
