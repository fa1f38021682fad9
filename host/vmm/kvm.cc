#include "host/vmm/kvm.h"

#include <atomic>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <sys/ioctl.h>
#include <sys/mman.h>

namespace netvsc::host::vmm {

namespace {

struct Capability {
    long number;
    const char *name;
};
/* What the machine uses beyond KVM's first version; KVM_CAP_HYPERV_SYNIC2 is
 * the one that kernels built without CONFIG_KVM_HYPERV lack. */
constexpr Capability kNeeded[] = {
    {KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
    {KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING"},
    {KVM_CAP_IRQFD_RESAMPLE, "KVM_CAP_IRQFD_RESAMPLE"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
    {KVM_CAP_HYPERV, "KVM_CAP_HYPERV"},
    {KVM_CAP_HYPERV_SYNIC2, "KVM_CAP_HYPERV_SYNIC2"},
    {KVM_CAP_HYPERV_VP_INDEX, "KVM_CAP_HYPERV_VP_INDEX"},
    {KVM_CAP_SYS_HYPERV_CPUID, "KVM_CAP_SYS_HYPERV_CPUID"},
};

/* KVM's own limit, KVM_MAX_CPUID_ENTRIES. */
constexpr uint32_t kMaxCpuidEntries = 256;

/* Three pages for the TSS and one for the identity map that Intel's real mode
 * needs, in the gap between the IOAPIC and the end of 4 GiB. */
constexpr uint64_t kIdentityMapAddress = 0xfffbc000;
constexpr uint64_t kTssAddress = 0xfffbd000;

/* KVM's IOAPIC and PICs; the SINTs follow them. */
constexpr uint32_t kIoapicPins = 24;
constexpr uint32_t kPicPins = 16;
constexpr uint32_t kPinsOfOnePic = 8;

/* A KVM structure with its array of entries behind it. */
template <typename Head, typename Entry>
class WithEntries {
public:
    explicit WithEntries(size_t count)
        : memory_(std::make_unique<std::byte[]>(sizeof(Head) +
                                                count * sizeof(Entry)))
    {
    }
    [[nodiscard]] Head *
    head()
    {
        return reinterpret_cast<Head *>(memory_.get());
    }
    [[nodiscard]] Entry *
    entries()
    {
        return reinterpret_cast<Entry *>(memory_.get() + sizeof(Head));
    }

private:
    std::unique_ptr<std::byte[]> memory_;
};

} // namespace

void
throw_kvm(const char *call)
{
    throw_errno(std::string("KVM refused ") + call);
}

KvmSystem::KvmSystem() : fd_(open("/dev/kvm", O_RDWR | O_CLOEXEC))
{
    if (!fd_) {
        throw KvmMissing(std::string("Cannot open /dev/kvm: ") +
                         std::strerror(errno) + ".");
    }
    if (ioctl(fd_.get(), KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
        throw KvmMissing("/dev/kvm does not speak version 12 of KVM's API.");
    }
    std::string missing;
    for (const Capability &needed : kNeeded) {
        if (ioctl(fd_.get(), KVM_CHECK_EXTENSION, needed.number) <= 0) {
            missing.append(missing.empty() ? "" : ", ").append(needed.name);
        }
    }
    if (!missing.empty()) {
        throw KvmMissing("The KVM of this machine cannot run a Hyper-V guest: "
                         "it lacks " +
                         missing + ".");
    }
}

std::vector<kvm_cpuid_entry2>
KvmSystem::read_cpuid(unsigned long request, const char *call) const
{
    WithEntries<kvm_cpuid2, kvm_cpuid_entry2> cpuid(kMaxCpuidEntries);
    cpuid.head()->nent = kMaxCpuidEntries;
    if (ioctl(fd_.get(), request, cpuid.head()) < 0) {
        throw_kvm(call);
    }
    return {cpuid.entries(), cpuid.entries() + cpuid.head()->nent};
}

std::vector<kvm_cpuid_entry2>
KvmSystem::supported_cpuid() const
{
    return read_cpuid(KVM_GET_SUPPORTED_CPUID, "KVM_GET_SUPPORTED_CPUID");
}

std::vector<kvm_cpuid_entry2>
KvmSystem::hyperv_cpuid() const
{
    return read_cpuid(KVM_GET_SUPPORTED_HV_CPUID,
                      "KVM_GET_SUPPORTED_HV_CPUID");
}

KvmVm::KvmVm(const KvmSystem &system)
    : fd_(ioctl(system.fd(), KVM_CREATE_VM, 0))
{
    if (!fd_) {
        throw_kvm("KVM_CREATE_VM");
    }
    uint64_t identity_map = kIdentityMapAddress;
    if (ioctl(fd_.get(), KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0) {
        throw_kvm("KVM_SET_IDENTITY_MAP_ADDR");
    }
    if (ioctl(fd_.get(), KVM_SET_TSS_ADDR, kTssAddress) < 0) {
        throw_kvm("KVM_SET_TSS_ADDR");
    }
    if (ioctl(fd_.get(), KVM_CREATE_IRQCHIP, 0) < 0) {
        throw_kvm("KVM_CREATE_IRQCHIP");
    }
}

void
KvmVm::set_memory(std::span<std::byte> memory)
{
    kvm_userspace_memory_region region{};
    region.memory_size = memory.size();
    region.userspace_addr = reinterpret_cast<uint64_t>(memory.data());
    if (ioctl(fd_.get(), KVM_SET_USER_MEMORY_REGION, &region) < 0) {
        throw_kvm("KVM_SET_USER_MEMORY_REGION");
    }
}

void
KvmVm::set_irq(uint32_t pin, bool level)
{
    kvm_irq_level line{};
    line.irq = pin;
    line.level = level;
    if (ioctl(fd_.get(), KVM_IRQ_LINE, &line) < 0) {
        throw_kvm("KVM_IRQ_LINE");
    }
}

void
KvmVm::route_synic(uint32_t sint, std::span<const UniqueFd> raise,
                   std::span<const UniqueFd> acked)
{
    /* The call replaces all routes, so those of the interrupt controllers
     * are repeated. */
    std::vector<kvm_irq_routing_entry> routes;
    for (uint32_t pin = 0; pin < kIoapicPins; pin++) {
        kvm_irq_routing_entry route{};
        route.gsi = pin;
        route.type = KVM_IRQ_ROUTING_IRQCHIP;
        route.u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
        route.u.irqchip.pin = pin;
        routes.push_back(route);
        if (pin < kPicPins) {
            route.u.irqchip.irqchip = pin < kPinsOfOnePic
                                          ? KVM_IRQCHIP_PIC_MASTER
                                          : KVM_IRQCHIP_PIC_SLAVE;
            route.u.irqchip.pin = pin % kPinsOfOnePic;
            routes.push_back(route);
        }
    }
    for (uint32_t vcpu = 0; vcpu < raise.size(); vcpu++) {
        kvm_irq_routing_entry route{};
        route.gsi = kIoapicPins + vcpu;
        route.type = KVM_IRQ_ROUTING_HV_SINT;
        route.u.hv_sint.vcpu = vcpu;
        route.u.hv_sint.sint = sint;
        routes.push_back(route);
    }
    WithEntries<kvm_irq_routing, kvm_irq_routing_entry> table(routes.size());
    table.head()->nr = static_cast<uint32_t>(routes.size());
    std::memcpy(table.entries(), routes.data(),
                routes.size() * sizeof routes[0]);
    if (ioctl(fd_.get(), KVM_SET_GSI_ROUTING, table.head()) < 0) {
        throw_kvm("KVM_SET_GSI_ROUTING");
    }

    for (uint32_t vcpu = 0; vcpu < raise.size(); vcpu++) {
        kvm_irqfd irqfd{};
        irqfd.fd = static_cast<uint32_t>(raise[vcpu].get());
        irqfd.resamplefd = static_cast<uint32_t>(acked[vcpu].get());
        irqfd.gsi = kIoapicPins + vcpu;
        irqfd.flags = KVM_IRQFD_FLAG_RESAMPLE;
        if (ioctl(fd_.get(), KVM_IRQFD, &irqfd) < 0) {
            throw_kvm("KVM_IRQFD");
        }
    }
}

KvmVcpu::KvmVcpu(const KvmSystem &system, const KvmVm &vm, unsigned id)
    : fd_(ioctl(vm.fd(), KVM_CREATE_VCPU, id))
{
    if (!fd_) {
        throw_kvm("KVM_CREATE_VCPU");
    }
    int size = ioctl(system.fd(), KVM_GET_VCPU_MMAP_SIZE, 0);
    if (size < static_cast<int>(sizeof *run_)) {
        throw_kvm("KVM_GET_VCPU_MMAP_SIZE");
    }
    run_size_ = static_cast<size_t>(size);
    void *at = mmap(nullptr, run_size_, PROT_READ | PROT_WRITE, MAP_SHARED,
                    fd_.get(), 0);
    if (at == MAP_FAILED) {
        throw_errno("Cannot map the state of a vCPU");
    }
    run_ = static_cast<kvm_run *>(at);
}

KvmVcpu::~KvmVcpu()
{
    munmap(run_, run_size_);
}

void
KvmVcpu::enable_synic()
{
    kvm_enable_cap cap{};
    cap.cap = KVM_CAP_HYPERV_SYNIC2;
    if (ioctl(fd_.get(), KVM_ENABLE_CAP, &cap) < 0) {
        throw_kvm("KVM_ENABLE_CAP of KVM_CAP_HYPERV_SYNIC2");
    }
}

void
KvmVcpu::set_cpuid(std::span<const kvm_cpuid_entry2> entries)
{
    WithEntries<kvm_cpuid2, kvm_cpuid_entry2> cpuid(entries.size());
    cpuid.head()->nent = static_cast<uint32_t>(entries.size());
    std::memcpy(cpuid.entries(), entries.data(), entries.size_bytes());
    if (ioctl(fd_.get(), KVM_SET_CPUID2, cpuid.head()) < 0) {
        throw_kvm("KVM_SET_CPUID2");
    }
}

kvm_sregs
KvmVcpu::sregs() const
{
    kvm_sregs sregs{};
    if (ioctl(fd_.get(), KVM_GET_SREGS, &sregs) < 0) {
        throw_kvm("KVM_GET_SREGS");
    }
    return sregs;
}

void
KvmVcpu::set_sregs(const kvm_sregs &sregs)
{
    if (ioctl(fd_.get(), KVM_SET_SREGS, &sregs) < 0) {
        throw_kvm("KVM_SET_SREGS");
    }
}

kvm_regs
KvmVcpu::regs() const
{
    kvm_regs regs{};
    if (ioctl(fd_.get(), KVM_GET_REGS, &regs) < 0) {
        throw_kvm("KVM_GET_REGS");
    }
    return regs;
}

void
KvmVcpu::set_regs(const kvm_regs &regs)
{
    if (ioctl(fd_.get(), KVM_SET_REGS, &regs) < 0) {
        throw_kvm("KVM_SET_REGS");
    }
}

bool
KvmVcpu::run()
{
    if (ioctl(fd_.get(), KVM_RUN, 0) == 0) {
        return true;
    }
    if (errno != EINTR && errno != EAGAIN) {
        throw_kvm("KVM_RUN");
    }
    return false;
}

void
KvmVcpu::request_exit()
{
    std::atomic_ref<uint8_t>(run_->immediate_exit).store(1);
}

} // namespace netvsc::host::vmm
