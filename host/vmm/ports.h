/* Addresses of the machine's few devices, as its ACPI tables say and its
 * platform serves them. */

#pragma once

#include <cstdint>

namespace netvsc::host::vmm {

/* The serial ports, 16550s, and their lines: the console, and where a test
 * leaves its verdict. */
inline constexpr uint16_t kConsolePort = 0x3f8;
inline constexpr uint32_t kConsoleIrq = 4;
inline constexpr uint16_t kVerdictPort = 0x2f8;
inline constexpr uint32_t kVerdictIrq = 3;
inline constexpr uint16_t kUartPorts = 8;

/* The clock in CMOS memory. */
inline constexpr uint16_t kCmosIndexPort = 0x70;
inline constexpr uint16_t kCmosDataPort = 0x71;

/* ACPI's sleep registers and its reset register. */
inline constexpr uint16_t kSleepControlPort = 0x600;
inline constexpr uint16_t kSleepStatusPort = 0x601;
inline constexpr uint16_t kResetPort = 0x602;
inline constexpr uint8_t kResetValue = 1;
/* SLP_EN of the sleep control register. */
inline constexpr uint8_t kSleepEnable = 1 << 5;

/* The interrupt controllers, where KVM has them. */
inline constexpr uint32_t kLapicAddress = 0xfee00000;
inline constexpr uint32_t kIoapicAddress = 0xfec00000;

/* Address space that VMBus devices may claim for their memory; a NIC claims
 * none, but every Hyper-V VM has such a window. */
inline constexpr uint32_t kMmioFirst = 0xf8000000;
inline constexpr uint32_t kMmioLast = 0xfbffffff;

/* One APIC id each, and one bit in ACPI's and Linux's tables. */
inline constexpr unsigned kMaxVcpus = 8;

} // namespace netvsc::host::vmm
