/* The `uio` front end of a NIC: a socket at dev/uioN where a guest process
 * finds what uio_hv_generic's character device would give it
 * (wire/uio_socket.h), and the memory behind it.
 *
 * One object for each time that the NIC is bound to uio_hv_generic.  The first
 * connection opens the channel, the last one to go closes it; a connection
 * that breaks the socket protocol is closed, whatever else it was doing. */

#pragma once

#include <memory>
#include <optional>

#include "host/base/unix_socket.h"
#include "host/netvsp/monitor.h"
#include "host/nic.h"
#include "host/uio/pages.h"
#include "host/uio/subchannel.h"

namespace netvsc::host {

/* What page numbers in GPA-direct packets mean. */
enum class GpaMode {
    kDma,     /* Pages of regions registered over the socket. */
    kProcess, /* Virtual pages of the connected process. */
};

class UioDevice : public FrontEnd, public ChannelLink {
public:
    /* Binds `dev_dir`/uio<number> and serves it on the NIC's worker thread.
     * `opened` tells, on that thread, when the channel opens and closes.
     * Throws HostError. */
    UioDevice(Nic &nic, const ChannelInfo &info, const std::string &dev_dir,
              uint32_t number, GpaMode mode, VmPages &pages,
              ChannelNumbers &numbers, const SysfsTree &tree,
              std::function<void(bool)> opened);
    /* Ends the session as `rescinded` unless shut_down() came before. */
    ~UioDevice() override;
    UioDevice(const UioDevice &) = delete;
    UioDevice &operator=(const UioDevice &) = delete;

    /* Tells the guest that the device is gone and ends its session.  Not on
     * the worker thread. */
    void shut_down(SessionEnd reason);

    [[nodiscard]] MutableBytes to_host_ring() override;
    [[nodiscard]] MutableBytes to_guest_ring() override;
    [[nodiscard]] MutableBytes gpadl(uint32_t handle) override;
    [[nodiscard]] GuestMemory &memory() override;
    void offer_subchannels(uint32_t count) override;
    void interrupt() override;
    [[nodiscard]] bool take_signal() override;
    [[nodiscard]] uint64_t signal_interval_ns() override;

private:
    struct Client {
        UniqueFd socket;
        bool user = false; /* From the hello on. */
        pid_t pid = 0;
    };

    void accept_client();
    void receive(int fd);
    [[nodiscard]] bool handle(Client &client, Bytes message,
                              std::vector<UniqueFd> &fds);
    [[nodiscard]] bool handle_hello(Client &client, Bytes message);
    void handle_irq_control(Bytes message);
    /* Disconnects the other clients whose hang-up has not been read yet. */
    void drop_gone(const Client &but);
    void disconnect(int fd);
    void show_channels();
    void close_session(SessionEnd reason);
    void log(const std::string &text) const;

    Nic &nic_;
    ChannelInfo info_;
    GpaMode mode_;
    VmPages &pages_;
    ChannelNumbers &numbers_;
    const SysfsTree &tree_;
    std::function<void(bool)> opened_;

    SharedMemory rings_;
    SharedMemory receive_buffer_;
    SharedMemory send_buffer_;
    std::optional<MonitorTrigger> trigger_; /* With a monitor id. */
    bool signalled_ = false;                /* By irq-control, without one. */
    DmaRegions dma_;
    ProcessMemory process_;

    std::string path_;
    Listener listener_;
    std::map<int, Client> clients_;
    std::vector<std::unique_ptr<UioSubchannel>> subchannels_;
    unsigned users_ = 0; /* Clients after their hello. */
};

} // namespace netvsc::host
