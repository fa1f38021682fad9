/* A NIC as a device on the VMBus of a VM: its channel's rings and buffers are
 * pages of the guest, its interrupts event flags. */

#pragma once

#include "host/netvsp/monitor.h"
#include "host/nic.h"
#include "host/vmm/vmbus_server.h"

namespace netvsc::host::vmm {

/* Memory for GPA-direct packets: all that the guest has. */
class RamMemory : public GuestMemory {
public:
    explicit RamMemory(GuestRam &ram) : ram_(ram) {}

    [[nodiscard]] bool read(std::span<const GpaPiece> pieces,
                            MutableBytes to) override;

private:
    GuestRam &ram_;
};

/* Where HvSignalEvent arrives: rung on any thread, heard on the NIC's. */
class Doorbell {
public:
    /* Throws HostError. */
    Doorbell();

    void ring() const;
    /* True when it rang since the last call. */
    [[nodiscard]] bool take() const;
    [[nodiscard]] int
    fd() const
    {
        return fd_.get();
    }

private:
    UniqueFd fd_;
};

/* Offered from its construction to its end.  BusDevice's members and those of
 * its own are for the bus's thread, FrontEnd's and
 * ChannelLink's for the NIC's. */
class VmbusDevice : public BusDevice, public FrontEnd, public ChannelLink {
public:
    /* Offers `nic` on the bus.  All must outlive it.  Throws HostError. */
    VmbusDevice(Nic &nic, VmbusServer &server, Hypervisor &hypervisor);
    /* Withdraws it as rescinded unless that was done before. */
    ~VmbusDevice() override;
    VmbusDevice(const VmbusDevice &) = delete;
    VmbusDevice &operator=(const VmbusDevice &) = delete;

    /* Takes the offer back and ends the session for this reason. */
    void withdraw(SessionEnd reason);

    [[nodiscard]] const ChannelIds &
    ids() const
    {
        return ids_;
    }
    /* Shared with whoever takes hypercalls meanwhile. */
    [[nodiscard]] const std::shared_ptr<const Doorbell> &
    doorbell() const
    {
        return doorbell_;
    }

    void open(const OpenedChannel &channel) override;
    void close() override;
    void retarget(unsigned vcpu) override;

    [[nodiscard]] MutableBytes to_host_ring() override;
    [[nodiscard]] MutableBytes to_guest_ring() override;
    [[nodiscard]] MutableBytes gpadl(uint32_t handle) override;
    [[nodiscard]] GuestMemory &memory() override;
    void interrupt() override;
    [[nodiscard]] bool take_signal() override;
    [[nodiscard]] uint64_t signal_interval_ns() override;

private:
    void end_session(SessionEnd reason);

    Nic &nic_;
    VmbusServer &server_;
    Hypervisor &hypervisor_;
    RamMemory memory_;
    ChannelIds ids_;
    std::shared_ptr<const Doorbell> doorbell_;

    /* Of the open channel; used by the NIC's thread. */
    OpenedChannel channel_{};
    std::optional<MonitorTrigger> trigger_;
    /* GPADLs that the session asked for.  Even when the guest tears one down
     * under it they stay mapped to its end. */
    std::map<uint32_t, std::shared_ptr<const PageMapping>> held_;
    bool rung_ = false; /* The guest signalled by hypercall. */

    bool withdrawn_ = false; /* Of the bus's thread. */
};

} // namespace netvsc::host::vmm
