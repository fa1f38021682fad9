/* A VM's memory: one memfd, mapped once from its first byte to its last. */

#pragma once

#include "host/base/unique_fd.h"
#include "host/vmm/hypervisor.h"

namespace netvsc::host::vmm {

/* A kernel with an initramfs needs 64 MiB; above 3 GiB the memory would meet
 * the devices below 4 GiB, and there is no hole in it. */
inline constexpr uint64_t kMinRamMib = 64;
inline constexpr uint64_t kMaxRamMib = 3072;

class MemfdRam : public GuestRam {
public:
    /* Zeroed.  Throws HostError. */
    explicit MemfdRam(uint64_t mib);

    [[nodiscard]] MutableBytes
    bytes() override
    {
        return memory_.bytes();
    }
    [[nodiscard]] int
    fd() const override
    {
        return memory_.fd();
    }

private:
    SharedMemory memory_;
};

} // namespace netvsc::host::vmm
