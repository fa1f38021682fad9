/* The host's half of the synthetic interrupt controller: message slots and
 * event flags of SINT2, in pages that the guest placed in its memory (B.1,
 * B.9). */

#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "host/vmm/hypervisor.h"

namespace netvsc::host::vmm {

/* The SINT of VMBus. */
inline constexpr uint32_t kVmbusSint = 2;

/* Any thread. */
class Synic {
public:
    /* `interrupt` asserts SINT2 of a vCPU; it is called under the vCPU's lock
     * and must not come back here.  `ram` must outlive the object. */
    Synic(GuestRam &ram, unsigned vcpus,
          std::function<void(unsigned)> interrupt);

    /* The guest wrote SCONTROL, SIEFP or SIMP of a vCPU: their values. */
    void set_registers(unsigned vcpu, uint64_t control, uint64_t event_page,
                       uint64_t message_page);
    /* The guest ended an interrupt or a message of a vCPU. */
    void acknowledged(unsigned vcpu);

    /* As Hypervisor has them. */
    [[nodiscard]] bool post_message(unsigned vcpu, Bytes message);
    void set_event_flag(unsigned vcpu, uint32_t relid);

private:
    struct Vcpu {
        std::mutex mutex;
        uint64_t control = 0;
        uint64_t event_page = 0;
        uint64_t message_page = 0;
        std::deque<std::vector<std::byte>> messages;
    };

    [[nodiscard]] MutableBytes slot(const Vcpu &vcpu, uint64_t page);
    void deliver(unsigned number);

    GuestRam &ram_;
    std::function<void(unsigned)> interrupt_;
    std::vector<std::unique_ptr<Vcpu>> vcpus_;
};

} // namespace netvsc::host::vmm
