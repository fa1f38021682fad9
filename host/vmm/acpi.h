/* The ACPI tables of the machine: processors, interrupt controllers, how to
 * switch it off, its serial port and, what hv_vmbus waits for, the VMBus
 * (B.14). */

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace netvsc::host::vmm {

/* In the area that a PC's firmware keeps for itself. */
inline constexpr uint64_t kAcpiAddress = 0xe0000;
inline constexpr uint64_t kAcpiSize = 0x20000;

/* The tables as they lie in memory from `address` on, the RSDP first. */
[[nodiscard]] std::vector<std::byte> build_acpi(uint64_t address,
                                                unsigned vcpus);

/* The DSDT alone. */
[[nodiscard]] std::vector<std::byte> build_dsdt();

} // namespace netvsc::host::vmm
