/* The VMBus device tree below the system root: finding a NIC (C). */

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "driver/error.h"
#include "driver/kernel/guid.h"
#include "wire/vmbus.h"

namespace netvsc {

/* NETVSC_SYSROOT, or "/": what sysfs and dev/uioN paths start with.  Read
 * once, at the first call.  Never used for rtnetlink, procfs or our state. */
[[nodiscard]] const std::string &system_root();

struct UioMap {
    std::string name;
    uint64_t size = 0;
    uint64_t offset = 0; /* Of the content in its first page (C.3). */
};

/* What sysfs says of a NIC that is bound to uio_hv_generic. */
struct DeviceInfo {
    unsigned uio = 0; /* N of /dev/uioN. */
    uint32_t relid = 0;
    std::optional<uint32_t> monitor_id; /* Nothing: signal by write(). */
    int numa_node = -1;
    std::array<UioMap, wire::kUioMaps> maps;
    uint32_t receive_gpadl = 0, send_gpadl = 0; /* From the map names. */
    std::string device_path;                    /* <root>/dev/uioN */
    std::string sysfs_path; /* <root>/sys/bus/vmbus/devices/<guid> */
};

/* Everything needed to open the device, or the sentence that tells the
 * operator what to do: ENOENT absent, EBUSY bound to another driver, ENODEV
 * not bound or not a NIC, EACCES not permitted, EPROTO an attribute that
 * makes no sense.  Reads sysfs only; never blocks on the host. */
Result<DeviceInfo> check_device(const Guid &guid);

/* Every VMBus device of the NIC class, whatever its driver. */
[[nodiscard]] std::vector<Guid> list_nics();

} // namespace netvsc
