/* Interface between the VMBus of a VM and its machine.
 *
 * The machine (KVM, its vCPUs, the SynIC) knows nothing of channels; the bus
 * knows nothing of vCPU file descriptors.  A test plays either side. */

#pragma once

#include <cstdint>

#include "host/base/bytes.h"

namespace netvsc::host::vmm {

/* The guest's memory: guest physical addresses from 0 on, without a hole.
 * Backed by a memfd, so that pages which lie apart can be mapped once more
 * one after the other. */
class GuestRam {
public:
    virtual ~GuestRam() = default;

    [[nodiscard]] virtual MutableBytes bytes() = 0;
    [[nodiscard]] virtual int fd() const = 0;

    /* Empty unless all of it is guest memory. */
    [[nodiscard]] MutableBytes
    at(uint64_t address, uint64_t size)
    {
        MutableBytes all = bytes();
        if (address > all.size() || size > all.size() - address) {
            return {};
        }
        return all.subspan(address, size);
    }
};

/* The machine, as the bus sees it.  Every member may be called on any
 * thread and none waits for the guest. */
class Hypervisor {
public:
    virtual ~Hypervisor() = default;

    [[nodiscard]] virtual GuestRam &ram() = 0;
    [[nodiscard]] virtual unsigned vcpus() const = 0;

    /* Queues a VMBus message for SINT2 of a vCPU (B; at most 240 bytes): in
     * order, as soon as the guest's slot is free.  False, and nothing is
     * queued, when too many wait: a guest that never reads. */
    [[nodiscard]] virtual bool post_message(unsigned vcpu, Bytes message) = 0;

    /* Sets the event flag of a channel for SINT2 of a vCPU and interrupts it
     * when the flag was clear. */
    virtual void set_event_flag(unsigned vcpu, uint32_t relid) = 0;
};

/* What a hypercall returns (TLFS, "Hypercall Status Codes"). */
inline constexpr uint16_t kStatusSuccess = 0;
inline constexpr uint16_t kStatusInvalidHypercallCode = 2;
inline constexpr uint16_t kStatusInvalidParameter = 5;
inline constexpr uint16_t kStatusInsufficientBuffers = 19;
inline constexpr uint16_t kStatusInvalidConnectionId = 18;

/* The bus, as the machine sees it.  Called on the vCPU's thread; must not
 * wait for the guest, and returns a hypercall status. */
class HypercallSink {
public:
    virtual ~HypercallSink() = default;

    /* HvPostMessage, with up to 240 bytes in the hypervisor's own memory. */
    [[nodiscard]] virtual uint16_t
    message_posted(uint32_t connection, uint32_t type, Bytes payload) = 0;
    /* HvSignalEvent. */
    [[nodiscard]] virtual uint16_t event_signalled(uint32_t connection,
                                                   uint16_t flag) = 0;
    /* The guest reset or went: all that it had established is void. */
    virtual void guest_gone() = 0;
};

} // namespace netvsc::host::vmm
