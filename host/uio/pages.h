/* The two pages that all VMBus devices of a VM share (C.3). */

#pragma once

#include "host/base/unique_fd.h"
#include "wire/vmbus.h"

namespace netvsc::host {

class VmPages {
public:
    /* Throws HostError. */
    VmPages();

    [[nodiscard]] const SharedMemory &
    interrupt_page() const
    {
        return interrupt_page_;
    }
    [[nodiscard]] const SharedMemory &
    monitor_page() const
    {
        return monitor_page_;
    }

private:
    SharedMemory interrupt_page_;
    SharedMemory monitor_page_;
};

} // namespace netvsc::host
