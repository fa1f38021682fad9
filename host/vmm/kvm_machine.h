/* The virtual machine: memory, vCPUs, SynIC and platform on KVM, with a bus
 * behind its hypercalls.
 *
 * A thread for each vCPU, and one that hears of ended interrupts. */

#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "host/base/event_loop.h"
#include "host/vmm/guest_ram.h"
#include "host/vmm/hypervisor.h"
#include "host/vmm/kvm.h"
#include "host/vmm/linux_boot.h"
#include "host/vmm/platform.h"
#include "host/vmm/synic.h"

namespace netvsc::host::vmm {

struct MachineOptions {
    uint64_t memory_mib = 256;
    unsigned vcpus = 1;
};

class KvmMachine : public Hypervisor {
public:
    struct Outside {
        /* Takes the text of the guest's console. */
        Uart::Sink console;
        /* The guest has read all that platform().type() gave it. */
        Uart::Drained input_wanted;
        /* How the guest ended; perhaps several times. */
        std::function<void(GuestEnd)> ended;
    };

    /* What is outside is called on any thread.  Throws HostError, and
     * KvmMissing where no VM can be. */
    KvmMachine(const MachineOptions &options, const Outside &outside);
    /* Stops the guest. */
    ~KvmMachine() override;

    /* Loads a kernel.  Throws HostError. */
    void load_kernel(Bytes kernel, Bytes initrd,
                     const std::string &command_line);
    /* Lets the guest run.  `bus` must live until stop(). */
    void start(HypercallSink &bus);
    /* Stops it for good; nothing calls the bus after that, except for
     * guest_gone() before it returns. */
    void stop();

    [[nodiscard]] Platform &
    platform()
    {
        return platform_;
    }

    [[nodiscard]] GuestRam &
    ram() override
    {
        return ram_;
    }
    [[nodiscard]] unsigned
    vcpus() const override
    {
        return static_cast<unsigned>(vcpus_.size());
    }
    [[nodiscard]] bool
    post_message(unsigned vcpu, Bytes message) override
    {
        return synic_.post_message(vcpu, message);
    }
    void
    set_event_flag(unsigned vcpu, uint32_t relid) override
    {
        synic_.set_event_flag(vcpu, relid);
    }

private:
    struct Vcpu {
        std::unique_ptr<KvmVcpu> kvm;
        std::thread thread;
    };

    void run(unsigned number);
    [[nodiscard]] bool handle_exit(unsigned number);
    void handle_ports(kvm_run &state);
    void handle_hyperv(unsigned number, kvm_run &state);
    void end_broken(unsigned number, const std::string &what);

    std::function<void(GuestEnd)> ended_;
    KvmSystem system_;
    KvmVm vm_;
    MemfdRam ram_;
    Platform platform_;
    /* One of each for each vCPU: asserts its SINT, and tells that it
     * ended. */
    std::vector<UniqueFd> raise_;
    std::vector<UniqueFd> acked_;
    Synic synic_;
    std::vector<Vcpu> vcpus_;
    HypercallSink *bus_ = nullptr;

    std::atomic<bool> stopping_ = false;
    EventLoop synic_loop_;
    std::thread synic_thread_;
};

} // namespace netvsc::host::vmm
