/* KVM's three kinds of descriptors: the system, a VM, a virtual CPU.  They
 * turn failed calls into sentences and know nothing of Linux or Hyper-V. */

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "host/base/error.h"
#include "host/base/unique_fd.h"
#include "host/vmm/kvm_api.h"

namespace netvsc::host::vmm {

/* This machine has no KVM that can run a Hyper-V guest; the sentence says
 * what is missing. */
class KvmMissing : public HostError {
public:
    using HostError::HostError;
};

/* Throws HostError with the current errno. */
[[noreturn]] void throw_kvm(const char *call);

class KvmSystem {
public:
    /* Opens /dev/kvm and checks that it has all that a Hyper-V guest needs.
     * Throws KvmMissing. */
    KvmSystem();

    [[nodiscard]] int
    fd() const
    {
        return fd_.get();
    }
    /* CPUID that KVM can offer, and its Hyper-V leaves. */
    [[nodiscard]] std::vector<kvm_cpuid_entry2> supported_cpuid() const;
    [[nodiscard]] std::vector<kvm_cpuid_entry2> hyperv_cpuid() const;

private:
    [[nodiscard]] std::vector<kvm_cpuid_entry2>
    read_cpuid(unsigned long request, const char *call) const;

    UniqueFd fd_;
};

class KvmVm {
public:
    /* With interrupt controllers and without timers: a Hyper-V guest has
     * synthetic ones. */
    explicit KvmVm(const KvmSystem &system);

    [[nodiscard]] int
    fd() const
    {
        return fd_.get();
    }
    /* Guest physical memory from 0 on. */
    void set_memory(std::span<std::byte> memory);
    /* Sets a pin of the IOAPIC.  Any thread. */
    void set_irq(uint32_t pin, bool level);
    /* One event descriptor for each vCPU: writing `raise[n]` asserts `sint`
     * of vCPU n, and `acked[n]` is written when the guest ends it, by EOI or
     * by EOM. */
    void route_synic(uint32_t sint, std::span<const UniqueFd> raise,
                     std::span<const UniqueFd> acked);

private:
    UniqueFd fd_;
};

class KvmVcpu {
public:
    KvmVcpu(const KvmSystem &system, const KvmVm &vm, unsigned id);
    ~KvmVcpu();
    KvmVcpu(const KvmVcpu &) = delete;
    KvmVcpu &operator=(const KvmVcpu &) = delete;

    [[nodiscard]] kvm_run &
    state()
    {
        return *run_;
    }

    /* Lets the SynIC's MSRs and pages work, without KVM writing to the
     * pages. */
    void enable_synic();
    void set_cpuid(std::span<const kvm_cpuid_entry2> entries);
    [[nodiscard]] kvm_sregs sregs() const;
    void set_sregs(const kvm_sregs &sregs);
    [[nodiscard]] kvm_regs regs() const;
    void set_regs(const kvm_regs &regs);

    /* Runs the guest until something is to do.  False when a signal ended
     * it, or at once while request_exit() holds.  Throws HostError. */
    [[nodiscard]] bool run();
    /* Any thread: run() returns from now on; a thread that is in it needs a
     * signal besides. */
    void request_exit();

private:
    UniqueFd fd_;
    kvm_run *run_ = nullptr;
    size_t run_size_ = 0;
};

} // namespace netvsc::host::vmm
