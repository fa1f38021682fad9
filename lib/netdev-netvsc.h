/* A netvsc port: options, the device they name, the session in use.
 *
 * The glue calls for its netdev, the device's control thread reports what
 * changed; a change is only noted then, and the main thread acts on it in
 * PortTable::run().  So everything that OVS hears from us, it hears on its
 * main thread. */

#pragma once

#include <atomic>
#include <chrono>
#include <climits>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "driver/cache_line.h"
#include "driver/device.h"
#include "driver/rx_queue.h"
#include "lib/device_watch.h"
#include "lib/identity_file.h"
#include "lib/netvsc-abi.h"
#include "lib/port_options.h"
#include "lib/port_report.h"

namespace netvsc::provider {

class Port;

/* All ports of the process, and what they share. */
class PortTable {
public:
    using Claim = Result<std::shared_ptr<Device>> (*)(const Guid &,
                                                      const std::string &,
                                                      const DeviceRequest &,
                                                      DeviceObserver *);

    PortTable(const netvsc_glue &glue, Claim claim);

    /* As netvsc_run() and netvsc_next_run(). */
    [[nodiscard]] bool run(long long now);
    [[nodiscard]] long long next_run();

private:
    friend class Port;

    void enter(Port *port);
    void leave(Port *port);

    /* Main thread.  Gives `device` to `port`; waits for it if that is not
     * possible now. */
    Result<std::shared_ptr<Device>> claim(Port *port, const Guid &device,
                                          const DeviceRequest &request);

    /* Main thread.  Why no port could use `device` now, if so. */
    std::optional<Error> diagnose(const Guid &device);

    [[nodiscard]] bool is_held(const Guid &device);
    /* The port that has `device`, if any.  lock_ is held. */
    Port *find_holder(const Guid &device) const;

    /* Main thread.  Gives the ports that wait for another port to leave its
     * device what they wish for.  As run(). */
    bool grant_wishes(long long now);

    const netvsc_glue glue_;
    const Claim claim_;
    DeviceWatch watch_;       /* Main thread. */
    IdentityFile identities_; /* Main thread. */
    std::mutex lock_;         /* Taken before a port's. */
    std::vector<Port *> ports_;
    long long next_wish_ = 0; /* Main thread: when to look at wishes. */
};

class Port final : private DeviceObserver {
public:
    Port(PortTable *table, std::string name, void *netdev);
    ~Port();
    Port(const Port &) = delete;
    Port &operator=(const Port &) = delete;

    /* As their namesakes in lib/netvsc-abi.h. */
    Status set_options(std::span<const Option> options);
    Pairs options() const;
    Status set_mtu(int mtu);
    unsigned reconfigure(unsigned n_txq);
    unsigned n_rxq() const;
    RxQueue *open_rxq(unsigned queue);
    void close_rxq();
    int send(unsigned queue, std::span<const netvsc_tx_frame> frames) noexcept;
    void count_not_ethernet(unsigned n) noexcept;
    void count_rx_policed(uint64_t n_packets, uint64_t n_bytes) noexcept;
    void count_tx_policed(uint64_t n_packets) noexcept;
    unsigned update_flags(unsigned off, unsigned on) noexcept;

    netvsc_port_info info() const;
    /* Nothing while the port has no device. */
    std::optional<PortView> view() const;

    /* Logs, rarely, which frames of `view` are dropped for a setting. */
    void log_drops(const PortView &view);

private:
    friend class PortTable;

    /* On the device's control thread. */
    void status_changed() noexcept override;
    void session_changed() noexcept override;

    /* Main thread: acts on what was noted.  True if the bridge has to
     * configure itself again. */
    bool run(long long now);
    void refuse_mtu(const std::string &why);
    void log_changes(const DeviceStatus &status);
    void log_ignored(const std::vector<std::string> &ignored);
    void log_queues(const DeviceStatus &status);
    bool learn_address(const DeviceStatus &status);
    void log(netvsc_log_level level, const std::string &message) const;

    /* Main thread: as grant_wishes(). */
    bool claim_wish(long long now);

    bool has_device(const Guid &device) const;
    /* OVS has removed the port and no datapath uses it any more. */
    bool is_gone() const;
    void forget_drops();
    void drop_device();
    DeviceRequest request() const;

    PortTable *const table_;
    const std::string name_;
    void *const netdev_;

    /* Written by the main thread under lock_ (by another one only at the
     * very end); so the main thread reads without it. */
    mutable std::mutex lock_;
    std::optional<PortOptions> options_;
    uint32_t mtu_ = 1500;            /* Asked for. */
    std::string refused_mtu_;        /* Why another one was refused. */
    std::shared_ptr<Device> device_; /* Claimed. */
    /* Claimed by new options, in force after reconfigure(). */
    std::shared_ptr<Device> next_device_;
    /* Another port has the device of new options, and may be about to leave
     * it, as two ports that change places do: this one leaves its own and
     * waits for a moment. */
    bool wishes_ = false;
    unsigned n_txq_ = 1;
    /* Of device_: what OVS is told until the host tells. */
    std::optional<MacAddress> known_mac_;

    /* Read for each burst.  The session changes only while no thread is in
     * the data path, which therefore reads it without the lock. */
    alignas(kCacheLine) std::shared_ptr<Session> session_;
    std::atomic<unsigned> flags_{NETVSC_UP | NETVSC_PROMISC};

    /* Looked at and cleared by each pass of the main loop. */
    alignas(kCacheLine) std::atomic<bool> session_moved_{false};
    std::atomic<bool> status_moved_{false};
    std::atomic<unsigned> open_rxqs_{0};
    /* Main thread. */
    DeviceStatus last_;               /* What run() saw last. */
    long long repeat_at_ = LLONG_MAX; /* When OVS is told once more. */
    std::optional<long long> wishes_until_;
    bool insists_ = false; /* Has waited: an error this time. */
    /* What the log was told last. */
    std::vector<std::string> told_ignored_;
    std::string told_queues_;
    uint64_t told_too_big_ = 0;
    std::optional<std::chrono::steady_clock::time_point> told_too_big_at_;

    struct alignas(kCacheLine) {
        std::atomic<uint64_t> not_taken{0}, no_session{0}, down{0},
            not_ethernet{0}, rx_policed{0}, rx_policed_bytes{0}, tx_policed{0};
    } drops_;
};

} // namespace netvsc::provider
