#include "host/vmm/kvm_machine.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <pthread.h>
#include <sys/eventfd.h>

#include "host/base/log.h"
#include "host/vmm/acpi.h"
#include "host/vmm/cpuid.h"
#include "host/vmm/hypercall.h"
#include "host/vmm/ports.h"

namespace netvsc::host::vmm {

namespace {

/* Makes a thread leave KVM_RUN; it does nothing else. */
const int kKickSignal = SIGRTMIN;

/* For the log. */
[[nodiscard]] std::string
hex(uint64_t value)
{
    char text[20];
    std::snprintf(text, sizeof text, "0x%llx",
                  static_cast<unsigned long long>(value));
    return text;
}

[[nodiscard]] unsigned
checked_vcpus(unsigned vcpus)
{
    if (vcpus < 1 || vcpus > kMaxVcpus) {
        throw HostError("A VM has 1 to " + std::to_string(kMaxVcpus) +
                        " vCPUs, not " + std::to_string(vcpus) + ".");
    }
    return vcpus;
}

[[nodiscard]] std::vector<UniqueFd>
make_events(unsigned count)
{
    std::vector<UniqueFd> events;
    for (unsigned i = 0; i < count; i++) {
        events.emplace_back(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
        if (!events.back()) {
            throw_errno("Cannot create an event descriptor");
        }
    }
    return events;
}

} // namespace

KvmMachine::KvmMachine(const MachineOptions &options, const Outside &outside)
    : ended_(outside.ended), vm_(system_), ram_(options.memory_mib),
      platform_(
          {outside.console, outside.input_wanted,
           [this](uint32_t line, bool level) { vm_.set_irq(line, level); },
           ended_}),
      raise_(make_events(checked_vcpus(options.vcpus))),
      acked_(make_events(options.vcpus)),
      synic_(ram_, options.vcpus,
             [this](unsigned vcpu) { eventfd_write(raise_[vcpu].get(), 1); })
{
    struct sigaction action {};
    action.sa_handler = [](int) {};
    sigaction(kKickSignal, &action, nullptr);

    vm_.set_memory(ram_.bytes());
    std::vector<kvm_cpuid_entry2> supported = system_.supported_cpuid();
    std::vector<kvm_cpuid_entry2> hyperv = system_.hyperv_cpuid();
    for (unsigned i = 0; i < options.vcpus; i++) {
        auto vcpu = std::make_unique<KvmVcpu>(system_, vm_, i);
        vcpu->enable_synic();
        vcpu->set_cpuid(guest_cpuid(supported, hyperv, i, options.vcpus));
        vcpus_.push_back({std::move(vcpu), {}});
    }
    vm_.route_synic(kVmbusSint, raise_, acked_);
    for (unsigned i = 0; i < options.vcpus; i++) {
        int fd = acked_[i].get();
        synic_loop_.watch(fd, [this, i, fd] {
            eventfd_t ignored;
            eventfd_read(fd, &ignored);
            synic_.acknowledged(i);
        });
    }
}

KvmMachine::~KvmMachine()
{
    stop();
}

void
KvmMachine::load_kernel(Bytes kernel, Bytes initrd,
                        const std::string &command_line)
{
    std::vector<std::byte> acpi = build_acpi(kAcpiAddress, vcpus());
    MutableBytes at = ram_.at(kAcpiAddress, acpi.size());
    std::copy(acpi.begin(), acpi.end(), at.begin());

    BootEntry boot =
        load_linux(ram_, kernel, initrd, command_line, kAcpiAddress);
    KvmVcpu &first = *vcpus_[0].kvm;
    kvm_sregs sregs = first.sregs();
    kvm_regs regs{};
    set_boot_state(boot, sregs, regs);
    first.set_sregs(sregs);
    first.set_regs(regs);
}

void
KvmMachine::start(HypercallSink &bus)
{
    bus_ = &bus;
    synic_thread_ = std::thread([this] {
        while (!stopping_) {
            synic_loop_.wait(EventLoop::kForever);
        }
    });
    for (unsigned i = 0; i < vcpus_.size(); i++) {
        vcpus_[i].thread = std::thread([this, i] { run(i); });
    }
}

void
KvmMachine::stop()
{
    if (!bus_) {
        return;
    }
    stopping_ = true;
    for (Vcpu &vcpu : vcpus_) {
        vcpu.kvm->request_exit();
        pthread_kill(vcpu.thread.native_handle(), kKickSignal);
    }
    for (Vcpu &vcpu : vcpus_) {
        vcpu.thread.join();
    }
    synic_loop_.call([] {});
    synic_thread_.join();
    bus_->guest_gone();
    bus_ = nullptr;
    platform_.flush_console();
}

void
KvmMachine::run(unsigned number)
{
    try {
        while (!stopping_) {
            if (vcpus_[number].kvm->run() && !handle_exit(number)) {
                return;
            }
        }
    } catch (const HostError &error) {
        end_broken(number, error.what());
    }
}

/* False when the vCPU can run no further. */
bool
KvmMachine::handle_exit(unsigned number)
{
    kvm_run &state = vcpus_[number].kvm->state();
    switch (state.exit_reason) {
    case KVM_EXIT_IO:
        handle_ports(state);
        return true;
    case KVM_EXIT_MMIO:
        /* Nothing is there: ones. */
        if (!state.mmio.is_write) {
            std::fill(std::begin(state.mmio.data), std::end(state.mmio.data),
                      0xff);
        }
        return true;
    case KVM_EXIT_HYPERV:
        handle_hyperv(number, state);
        return true;
    case KVM_EXIT_INTR:
        return true;
    case KVM_EXIT_SHUTDOWN:
        log("netvsc-vmm", "the guest reset by a triple fault");
        ended_(GuestEnd::kReset);
        return false;
    case KVM_EXIT_SYSTEM_EVENT:
        if (state.system_event.type == KVM_SYSTEM_EVENT_CRASH) {
            /* It tells before its console is written out. */
            log("netvsc-vmm", "the guest's kernel panicked");
            ended_(GuestEnd::kPanicked);
            return true;
        }
        log("netvsc-vmm", "the guest ended by system event " +
                              std::to_string(state.system_event.type));
        ended_(GuestEnd::kReset);
        return false;
    case KVM_EXIT_FAIL_ENTRY:
        end_broken(number,
                   "KVM could not enter the guest, reason " +
                       hex(state.fail_entry.hardware_entry_failure_reason));
        return false;
    case KVM_EXIT_INTERNAL_ERROR:
        end_broken(number, "KVM failed inside, suberror " +
                               std::to_string(state.internal.suberror));
        return false;
    default:
        end_broken(number, "KVM gave up with exit reason " +
                               std::to_string(state.exit_reason));
        return false;
    }
}

void
KvmMachine::end_broken(unsigned number, const std::string &what)
{
    std::string text = "vCPU " + std::to_string(number) + " stopped: " + what;
    try {
        text += " at instruction " + hex(vcpus_[number].kvm->regs().rip);
    } catch (const HostError &) {
        text += " at an unknown instruction";
    }
    log("netvsc-vmm", text);
    ended_(GuestEnd::kBroken);
}

void
KvmMachine::handle_ports(kvm_run &state)
{
    /* KVM's own numbers: they lie inside of the state's pages. */
    auto *data = reinterpret_cast<std::byte *>(&state) + state.io.data_offset;
    for (uint32_t i = 0; i < state.io.count; i++) {
        MutableBytes access{data + i * state.io.size, state.io.size};
        if (state.io.direction == KVM_EXIT_IO_OUT) {
            platform_.write(state.io.port, access);
        } else {
            platform_.read(state.io.port, access);
        }
    }
}

void
KvmMachine::handle_hyperv(unsigned number, kvm_run &state)
{
    kvm_hyperv_exit &exit = state.hyperv;
    if (exit.type == KVM_EXIT_HYPERV_SYNIC) {
        synic_.set_registers(number, exit.u.synic.control,
                             exit.u.synic.evt_page, exit.u.synic.msg_page);
    } else if (exit.type == KVM_EXIT_HYPERV_HCALL) {
        exit.u.hcall.result =
            hypercall(ram_, *bus_, exit.u.hcall.input, exit.u.hcall.params[0]);
    }
}

} // namespace netvsc::host::vmm
