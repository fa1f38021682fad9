/* The hypercalls of VMBus, from what a vCPU's registers say to what the bus is
 * told (B.10).  KVM answers the others itself. */

#pragma once

#include "host/vmm/hypervisor.h"

namespace netvsc::host::vmm {

/* `input` is the hypercall's input value, `parameter` its first parameter: an
 * address in `ram` or, for a fast call, the value itself.  Returns the
 * status. */
[[nodiscard]] uint16_t hypercall(GuestRam &ram, HypercallSink &bus,
                                 uint64_t input, uint64_t parameter);

} // namespace netvsc::host::vmm
