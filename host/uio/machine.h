/* The emulated machine: one VM with any number of NICs, its sysfs tree and the
 * commands that change them. */

#pragma once

#include <list>
#include <memory>
#include <optional>
#include <set>

#include "host/commands.h"
#include "host/uio/device.h"
#include "host/uio/tree.h"

namespace netvsc::host {

/* Used by the main thread; NICs have threads of their own. */
class Machine : public Commands {
public:
    /* `trace` may be nullptr and must outlive the machine.  Throws
     * HostError. */
    Machine(const std::string &root, GpaMode mode, TraceFile *trace);
    /* Ends all sessions and removes the tree. */
    ~Machine() override;
    Machine(const Machine &) = delete;
    Machine &operator=(const Machine &) = delete;

    void add(const NicConfig &config) override;
    void remove(const std::string &guid) override;
    void reoffer(const std::string &guid) override;
    void set_link(const std::string &guid, bool up) override;
    void set_pace(const std::string &guid, const Pace &pace) override;
    void bind(const std::string &guid, DriverBinding driver) override;
    [[nodiscard]] Json list() override;
    [[nodiscard]] Json stats(const std::string &guid) override;
    [[nodiscard]] Json stats() override;
    /* For a program that is host and guest in one. */
    [[nodiscard]] Nic &
    nic(const std::string &guid)
    {
        return *find(guid).nic;
    }
    [[nodiscard]] std::string
    control_path() const override
    {
        return tree_.control_path();
    }

private:
    /* A number that no other device has: ids, the smallest first. */
    class Numbers {
    public:
        Numbers(uint32_t first, uint32_t end, const char *what)
            : first_(first), end_(end), what_(what)
        {
        }
        uint32_t take();
        void
        give_back(uint32_t number)
        {
            used_.erase(number);
        }

    private:
        uint32_t first_;
        uint32_t end_;
        const char *what_;
        std::set<uint32_t> used_;
    };

    struct Device {
        std::unique_ptr<Nic> nic;
        DeviceEntry entry{};
        ChannelNumbers::Lease numbers;  /* Of the primary channel. */
        std::unique_ptr<UioDevice> uio; /* While bound to uio_hv_generic. */
    };

    [[nodiscard]] Device &find(const std::string &guid);
    void offer(Device &device);
    void rescind(Device &device);
    void withdraw(Device &device);
    void forget(const std::string &guid);
    void attach_uio(Device &device);
    void detach_uio(Device &device, SessionEnd reason);

    GpaMode mode_;
    TraceFile *trace_;
    SysfsTree tree_;
    VmPages pages_;
    ChannelNumbers channel_numbers_;
    PeerQueues peers_;
    Numbers uio_numbers_;
    uint32_t next_gpadl_;
    uint32_t next_nic_ = 0;
    std::list<Device> devices_; /* Offered, in order. */
};

} // namespace netvsc::host
