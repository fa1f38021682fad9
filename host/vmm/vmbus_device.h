/* A NIC as a device on the VMBus of a VM: its channels' rings and its buffers
 * are pages of the guest, its interrupts event flags. */

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

/* Which doorbell a connection id rings.  Any thread: vCPUs look here. */
class Doorbells {
public:
    void add(uint32_t connection, std::shared_ptr<const Doorbell> doorbell);
    void remove(uint32_t connection);
    /* nullptr for a connection that is none. */
    [[nodiscard]] std::shared_ptr<const Doorbell>
    find(uint32_t connection) const;

private:
    mutable std::mutex mutex_;
    std::map<uint32_t, std::shared_ptr<const Doorbell>> doorbells_;
};

/* The bus of a VM, as a device needs it. */
struct Bus {
    VmbusServer &server;
    Hypervisor &hypervisor;
    EventLoop &loop; /* Of the bus's thread. */
    Doorbells &doorbells;
};

class VmbusDevice;

/* A channel of a NIC, offered from its construction to its end.  BusDevice's
 * members and those of its own are for the bus's thread, ChannelLink's for the
 * NIC's. */
class VmbusChannel : public BusDevice, public ChannelLink {
public:
    /* Offers the channel with this index of `device`, which must outlive it.
     * Throws HostError. */
    VmbusChannel(VmbusDevice &device, uint32_t index);
    /* Rescinds it unless that was done before. */
    ~VmbusChannel() override;
    VmbusChannel(const VmbusChannel &) = delete;
    VmbusChannel &operator=(const VmbusChannel &) = delete;

    void rescind();

    [[nodiscard]] const ChannelIds &
    ids() const
    {
        return ids_;
    }

    void open(const OpenedChannel &channel) override;
    void close() override;
    void retarget(unsigned vcpu) override;

    /* The NIC's thread: the channel opens, and is forgotten. */
    void attach(const OpenedChannel &channel);
    void detach();

    [[nodiscard]] MutableBytes to_host_ring() override;
    [[nodiscard]] MutableBytes to_guest_ring() override;
    void interrupt() override;
    [[nodiscard]] bool take_signal() override;
    [[nodiscard]] uint64_t signal_interval_ns() override;

private:
    VmbusDevice &device_;
    uint32_t index_;
    ChannelIds ids_;
    bool rescinded_ = false; /* Of the bus's thread. */

    /* Of the open channel; used by the NIC's thread. */
    OpenedChannel channel_{};
    std::optional<MonitorTrigger> trigger_;
};

/* Offered from its construction to its end.  Its own members are for the bus's
 * thread, FrontEnd's for the NIC's. */
class VmbusDevice : public FrontEnd {
public:
    /* Offers `nic` on the bus.  All must outlive it.  Throws HostError. */
    VmbusDevice(Nic &nic, const Bus &bus);
    /* Withdraws it as rescinded unless that was done before. */
    ~VmbusDevice() override;
    VmbusDevice(const VmbusDevice &) = delete;
    VmbusDevice &operator=(const VmbusDevice &) = delete;

    /* Takes the offer back and ends the session for this reason. */
    void withdraw(SessionEnd reason);

    /* Of the primary channel. */
    [[nodiscard]] const ChannelIds &
    ids() const
    {
        return primary_->ids();
    }

    [[nodiscard]] MutableBytes gpadl(uint32_t handle) override;
    [[nodiscard]] GuestMemory &memory() override;
    void offer_subchannels(uint32_t count) override;

private:
    friend class VmbusChannel;

    void open_primary(const OpenedChannel &channel);
    void end_session(SessionEnd reason);
    void offer_on_bus(uint64_t session, uint32_t count);

    Nic &nic_;
    Bus bus_;
    RamMemory memory_;
    std::shared_ptr<const Doorbell> doorbell_; /* For all channels. */
    std::unique_ptr<VmbusChannel> primary_;
    std::vector<std::unique_ptr<VmbusChannel>> subchannels_;
    uint64_t sessions_ = 0; /* Since it was offered. */
    bool withdrawn_ = false;
    /* What was posted to the bus's thread ends with the device. */
    std::shared_ptr<const bool> alive_ = std::make_shared<bool>(true);

    /* Of the session; used by the NIC's thread. */
    uint64_t session_ = 0;
    /* GPADLs that the session asked for.  Even when the guest tears one down
     * under it they stay mapped to its end. */
    std::map<uint32_t, std::shared_ptr<const PageMapping>> held_;
    bool rung_ = false; /* The guest signalled by hypercall. */
};

} // namespace netvsc::host::vmm
