/* One process for each device (C.8).
 *
 * uio_hv_generic lets any number of processes open a device.  They share one
 * channel, and the second to speak on it ends the traffic of the first for
 * good.  So whoever opens locks what it opened; and because not every program
 * takes that lock, and a container may have a node of its own for the device,
 * it also looks at the rings, which are empty when a channel has just been
 * opened.  To look harms nobody. */

#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "driver/error.h"

namespace netvsc {

/* Locks what `fd` has open until its last descriptor is closed, also by the
 * end of the process.  EBUSY, with the process in the sentence if it can be
 * seen from here, when another one holds the lock.  `path` is the device. */
[[nodiscard]] Status lock_exclusively(int fd, const std::string &path);

/* EBUSY if somebody speaks on the channel whose `rings` those of the open
 * device `fd` are. */
[[nodiscard]] Status check_unused(std::span<const uint8_t> rings, int fd,
                                  const std::string &path);

} // namespace netvsc
