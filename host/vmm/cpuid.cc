#include "host/vmm/cpuid.h"

#include <bit>
#include <cstdint>

namespace netvsc::host::vmm {

namespace {

constexpr uint32_t
bit(unsigned number)
{
    return 1u << number;
}

/* 0x40000000 to 0x400000ff: the hypervisor's own.  KVM would call itself
 * "KVMKVMKVM" there, and Linux would take it at its word. */
constexpr bool
is_hypervisor_leaf(uint32_t function)
{
    return (function & 0xffffff00) == 0x40000000;
}

/* XSAVE stays hidden, and with it everything that needs it: under QEMU's TCG
 * no intercept tells KVM of the guest's XCR0, and Linux then warns of an
 * inconsistent XSAVE.  Guests do without AVX everywhere, so that a test
 * behaves alike on every machine. */
void
hide_xsave(kvm_cpuid_entry2 &entry)
{
    switch (entry.function) {
    case 1:
        /* FMA, XSAVE, OSXSAVE, AVX, F16C. */
        entry.ecx &= ~(bit(12) | bit(26) | bit(27) | bit(28) | bit(29));
        break;
    case 7:
        /* AVX2 and AVX-512: F, DQ, IFMA, PF, ER, CD, BW, VL. */
        entry.ebx &= ~(bit(5) | bit(16) | bit(17) | bit(21) | bit(26) |
                       bit(27) | bit(28) | bit(30) | bit(31));
        /* AVX-512 VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ; VAES, VPCLMULQDQ;
         * PKU and OSPKE, whose register XSAVE holds. */
        entry.ecx &= ~(bit(1) | bit(3) | bit(4) | bit(6) | bit(9) | bit(10) |
                       bit(11) | bit(12) | bit(14));
        /* AVX-512 4VNNIW, 4FMAPS, VP2INTERSECT, FP16; AMX. */
        entry.edx &= ~(bit(2) | bit(3) | bit(8) | bit(22) | bit(23) | bit(24) |
                       bit(25));
        /* No sub-leaf 1: AVX-VNNI and more of AMX. */
        entry.eax = 0;
        break;
    case 0x80000001:
        /* XOP, FMA4. */
        entry.ecx &= ~(bit(11) | bit(16));
        break;
    }
}

/* Leaves of XSAVE, processor trace, SGX, AMX, AVX-10, of extended topology,
 * which is built anew, and of SVM. */
constexpr bool
is_dropped(const kvm_cpuid_entry2 &entry)
{
    switch (entry.function) {
    case 0x7:
        return entry.index > 0;
    case 0xb:
    case 0xd:
    case 0x12:
    case 0x14:
    case 0x1d:
    case 0x1e:
    case 0x1f:
    case 0x24:
    case 0x8000000a:
        return true;
    default:
        return is_hypervisor_leaf(entry.function);
    }
}

/* How many bits of the APIC id number the vCPUs. */
constexpr uint32_t
id_bits(unsigned vcpus)
{
    return static_cast<uint32_t>(std::bit_width(vcpus - 1));
}

/* One package, a core for each vCPU, one thread for each core. */
void
set_topology(kvm_cpuid_entry2 &entry, unsigned vcpu, unsigned vcpus)
{
    switch (entry.function) {
    case 1:
        entry.ebx = (entry.ebx & 0xffff) | vcpus << 16 | vcpu << 24;
        /* HTT: the count in EBX is valid. */
        entry.edx = vcpus > 1 ? entry.edx | bit(28) : entry.edx & ~bit(28);
        break;
    case 0x80000008:
        /* Size of the core part of the APIC id, cores less one. */
        entry.ecx =
            (entry.ecx & ~0xf0ffu) | id_bits(vcpus) << 12 | (vcpus - 1);
        break;
    case 0x8000001e:
        /* APIC id; core id, one thread in it; node 0 of one. */
        entry.eax = vcpu;
        entry.ebx = vcpu;
        entry.ecx = 0;
        break;
    }
}

void
add_topology(std::vector<kvm_cpuid_entry2> &table, unsigned vcpu,
             unsigned vcpus)
{
    /* Level types of leaf 0xb. */
    constexpr uint32_t kThread = 1;
    constexpr uint32_t kCore = 2;

    kvm_cpuid_entry2 level{};
    level.function = 0xb;
    level.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
    level.edx = vcpu;
    level.ebx = 1;
    level.ecx = kThread << 8;
    table.push_back(level);

    level.index = 1;
    level.eax = id_bits(vcpus);
    level.ebx = vcpus;
    level.ecx = 1 | kCore << 8;
    table.push_back(level);

    level.index = 2;
    level.eax = 0;
    level.ebx = 0;
    level.ecx = 2;
    table.push_back(level);
}

/* What the guest sees of KVM's Hyper-V leaves: only what it needs and this
 * machine serves.  False for a leaf that it does not get. */
bool
make_hyperv_leaf(kvm_cpuid_entry2 &entry)
{
    switch (entry.function) {
    case 0x40000000:
        entry.eax = 0x40000005; /* The highest. */
        entry.ebx = 0x7263694d; /* "Microsoft Hv" */
        entry.ecx = 0x666f736f;
        entry.edx = 0x76482074;
        return true;
    case 0x40000001:
        return true; /* "Hv#1" */
    case 0x40000002:
        /* Build 14393 of version 10.0: Windows Server 2016, the first host
         * with VMBus 5.0. */
        entry.eax = 14393;
        entry.ebx = 10u << 16;
        entry.ecx = 0;
        entry.edx = 0;
        return true;
    case 0x40000003:
        /* Run time, reference count, SynIC, synthetic timers, APIC MSRs,
         * hypercall MSRs, VP index, reference TSC, frequency MSRs. */
        entry.eax &= 0x0aff;
        /* PostMessages and SignalEvents, which are this process's, not
         * KVM's.  Never CpuManagement (bit 12): a root partition. */
        entry.ebx = bit(4) | bit(5);
        entry.ecx = 0;
        /* XMM input, frequency MSRs, crash MSRs, synthetic timers in direct
         * mode. */
        entry.edx &= bit(4) | bit(8) | bit(10) | bit(19);
        return true;
    case 0x40000004:
        /* Local and remote TLB flush, relaxed timing, no automatic EOI,
         * cluster IPI, sparse vCPU sets, no foreign core sharing. */
        entry.eax &=
            bit(2) | bit(3) | bit(5) | bit(9) | bit(10) | bit(11) | bit(18);
        /* EBX: retries of a spin lock before it notifies. */
        entry.ecx = 0;
        entry.edx = 0;
        return true;
    case 0x40000005:
        return true; /* Limits. */
    default:
        /* Nested virtualisation, debugging. */
        return false;
    }
}

} // namespace

std::vector<kvm_cpuid_entry2>
guest_cpuid(std::span<const kvm_cpuid_entry2> supported,
            std::span<const kvm_cpuid_entry2> hyperv, unsigned vcpu,
            unsigned vcpus)
{
    std::vector<kvm_cpuid_entry2> table;
    for (kvm_cpuid_entry2 entry : supported) {
        if (is_dropped(entry)) {
            continue;
        }
        hide_xsave(entry);
        set_topology(entry, vcpu, vcpus);
        if (entry.function == 1) {
            /* A hypervisor is present; the TSC deadline timer, which KVM
             * emulates without listing it; no VMX. */
            entry.ecx |= bit(31) | bit(24);
            entry.ecx &= ~bit(5);
        } else if (entry.function == 0x80000001) {
            entry.ecx &= ~bit(2); /* SVM. */
        }
        table.push_back(entry);
    }
    add_topology(table, vcpu, vcpus);
    for (kvm_cpuid_entry2 entry : hyperv) {
        if (make_hyperv_leaf(entry)) {
            table.push_back(entry);
        }
    }
    return table;
}

} // namespace netvsc::host::vmm
