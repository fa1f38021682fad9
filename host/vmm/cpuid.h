/* The guest's CPUID: the processor that KVM offers, on a Hyper-V host (B.12).
 */

#pragma once

#include <span>
#include <vector>

#include "host/vmm/kvm_api.h"

namespace netvsc::host::vmm {

/* The table of vCPU `vcpu` of `vcpus`, from what KVM supports and from its
 * Hyper-V leaves.  A pure function. */
[[nodiscard]] std::vector<kvm_cpuid_entry2>
guest_cpuid(std::span<const kvm_cpuid_entry2> supported,
            std::span<const kvm_cpuid_entry2> hyperv, unsigned vcpu,
            unsigned vcpus);

} // namespace netvsc::host::vmm
