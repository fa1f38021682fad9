#include "host/uio/pages.h"

#include "host/base/bytes.h"

namespace netvsc::host {

VmPages::VmPages()
    : interrupt_page_("netvsc-interrupt-page", wire::kPageSize),
      monitor_page_("netvsc-monitor-page", wire::kPageSize)
{
    /* All four groups are enabled (B.11). */
    store(monitor_page_.bytes(), offsetof(wire::MonitorPage, trigger_state),
          (1u << wire::kMonitorGroups) - 1);
}

} // namespace netvsc::host
