#include "host/vmm/guest_ram.h"

#include "host/base/error.h"

namespace netvsc::host::vmm {

namespace {

size_t
checked_size(uint64_t mib)
{
    if (mib < kMinRamMib || mib > kMaxRamMib) {
        throw HostError("A VM has " + std::to_string(kMinRamMib) + " to " +
                        std::to_string(kMaxRamMib) + " MiB of memory, not " +
                        std::to_string(mib) + ".");
    }
    return mib << 20;
}

} // namespace

MemfdRam::MemfdRam(uint64_t mib) : memory_("vm-memory", checked_size(mib)) {}

} // namespace netvsc::host::vmm
