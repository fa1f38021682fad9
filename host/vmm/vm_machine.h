/* The VMBus side of one VM: its NICs, the bus that offers them, and the
 * commands that change them.
 *
 * The bus has a thread of its own.  What vCPUs post waits for it in a bounded
 * queue, so that a vCPU waits for nothing; commands run on it, too. */

#pragma once

#include <list>
#include <thread>

#include "host/base/root_lock.h"
#include "host/commands.h"
#include "host/vmm/vmbus_device.h"

namespace netvsc::host::vmm {

class VmMachine : public Commands, public HypercallSink {
public:
    /* Commands are taken below `root`, which is created if needed.
     * `max_version`: the highest of VMBus that is accepted.
     * `hypervisor` and `trace`, which may be nullptr, must outlive it.
     * Throws HostError. */
    VmMachine(Hypervisor &hypervisor, const std::string &root,
              uint32_t max_version, TraceFile *trace);
    /* Ends all sessions.  No vCPU may run any more. */
    ~VmMachine() override;
    VmMachine(const VmMachine &) = delete;
    VmMachine &operator=(const VmMachine &) = delete;

    /* From one thread at a time. */
    void add(const NicConfig &config) override;
    void remove(const std::string &guid) override;
    void reoffer(const std::string &guid) override;
    void set_link(const std::string &guid, bool up) override;
    void set_pace(const std::string &guid, const Pace &pace) override;
    void bind(const std::string &guid, DriverBinding driver) override;
    [[nodiscard]] Json list() override;
    [[nodiscard]] Json stats(const std::string &guid) override;
    [[nodiscard]] Json stats() override;
    [[nodiscard]] std::string control_path() const override;

    [[nodiscard]] uint16_t message_posted(uint32_t connection, uint32_t type,
                                          Bytes payload) override;
    [[nodiscard]] uint16_t event_signalled(uint32_t connection,
                                           uint16_t flag) override;
    void guest_gone() override;

private:
    /* Posted messages that may wait; a receive buffer's GPADL is 284 in a
     * burst (B.15), and a guest whose message is refused tries again. */
    static constexpr size_t kMaxInbox = 1024;

    struct Device {
        std::unique_ptr<Nic> nic;
        std::unique_ptr<VmbusDevice> vmbus;
    };
    struct Posted {
        uint32_t size;
        std::byte bytes[wire::vmbus::kMaxMessage];
    };

    void work();
    void read_inbox();
    [[nodiscard]] Device &find(const std::string &guid);
    void offer(Device &device);
    void withdraw(Device &device, SessionEnd reason);
    void forget(const std::string &guid);

    Hypervisor &hypervisor_;
    uint32_t max_version_; /* Of VMBus. */
    TraceFile *trace_;
    std::filesystem::path root_;
    std::optional<RootLock> lock_;
    PeerQueues peers_;

    Doorbells doorbells_;
    /* What vCPUs reach, under the lock. */
    std::mutex mutex_;
    std::vector<Posted> inbox_;
    bool gone_ = false; /* The guest went before what is in the inbox. */

    /* The bus's thread. */
    EventLoop loop_;
    Doorbell posted_;
    VmbusServer server_;
    std::list<Device> devices_; /* Offered, in order. */
    uint32_t next_nic_ = 0;
    bool stopping_ = false;
    std::thread thread_; /* Last: it uses all of the above. */
};

/* Throws HostError for what is no VMBus version that the host speaks. */
[[nodiscard]] uint32_t parse_version(const std::string &text);

} // namespace netvsc::host::vmm
