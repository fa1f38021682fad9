/* Uio on the socket of the emulated host. */

#pragma once

#include "driver/kernel/uio.h"

namespace netvsc {

Result<std::unique_ptr<Uio>> open_uio_socket(const DeviceInfo &info);

} // namespace netvsc
