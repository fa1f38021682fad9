/* Puts a Linux kernel into a VM's memory as its boot loader would, up to the
 * 64-bit entry (the kernel's Documentation/arch/x86/boot.rst, "64-bit Boot
 * Protocol"). */

#pragma once

#include <string>

#include "host/vmm/hypervisor.h"
#include "host/vmm/kvm_api.h"

namespace netvsc::host::vmm {

/* A file of the operator's, mapped for as long as the object lives. */
class FileMapping {
public:
    /* Throws HostError. */
    explicit FileMapping(const std::string &path);
    ~FileMapping();
    FileMapping(const FileMapping &) = delete;
    FileMapping &operator=(const FileMapping &) = delete;

    [[nodiscard]] Bytes
    bytes() const
    {
        return bytes_;
    }

private:
    Bytes bytes_;
};

/* Where the first vCPU starts, and what it finds in RSI. */
struct BootEntry {
    uint64_t entry;
    uint64_t boot_parameters;
};

/* `kernel` is a bzImage or an ELF vmlinux, `initrd` may be empty; `rsdp` is
 * the address of the ACPI tables.  Also writes the page tables and segments
 * that set_boot_state() names.  Throws HostError when a part is no kernel or
 * does not fit. */
[[nodiscard]] BootEntry load_linux(GuestRam &ram, Bytes kernel, Bytes initrd,
                                   const std::string &command_line,
                                   uint64_t rsdp);

/* The registers of the first vCPU at the entry: long mode with the first
 * 4 GiB mapped to themselves, interrupts off. */
void set_boot_state(const BootEntry &boot, kvm_sregs &sregs, kvm_regs &regs);

} // namespace netvsc::host::vmm
