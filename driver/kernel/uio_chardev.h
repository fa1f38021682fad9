/* Uio on the character device of uio_hv_generic. */

#pragma once

#include "driver/kernel/uio.h"

namespace netvsc {

Result<std::unique_ptr<Uio>> open_uio_chardev(const DeviceInfo &info);

} // namespace netvsc
