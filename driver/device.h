/* A synthetic NIC, opened, attached and detached by a thread of its own.
 *
 * There is one Device per GUID and process; it outlives the port that uses
 * it until the host has been told goodbye.  No member function waits for the
 * host: requests are recorded and the control thread acts on them. */

#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "driver/error.h"
#include "driver/kernel/guid.h"
#include "driver/statistics.h"

namespace netvsc {

class Session;

/* What a port wants; every change is applied by the control thread. */
struct DeviceRequest {
    unsigned n_rxq = 1;
    uint32_t mtu = 1500; /* L3: without the 14 bytes of Ethernet. */
    bool promiscuous = true;
    bool up = true; /* Receive filter nonzero. */
    bool operator==(const DeviceRequest &) const = default;
};

enum class DeviceState {
    kClosed,    /* No port, nothing open. */
    kOpening,   /* open() of /dev/uioN: the host is asked for the channel. */
    kAttaching, /* NVSP, RNDIS. */
    kReady,     /* Attached; a Session can be adopted or is in use. */
    kDetaching,
    kFailed,    /* `error` says why; tried again with growing intervals. */
    kInUse,     /* Another process has it; tried again each second. */
    kRescinded, /* The host took the device away; waits for its return. */
};
[[nodiscard]] const char *device_state_name(DeviceState);

struct DeviceStatus {
    DeviceState state = DeviceState::kClosed;
    std::string error; /* Full sentence, empty when all is well. */
    std::array<uint8_t, 6> mac{};
    uint32_t mtu = 0; /* Applied. */
    /* Largest that the adapter, as far as the host has said, the host and
     * the driver carry. */
    uint32_t max_mtu = 0;
    uint32_t max_frame = 0; /* That may come in: bytes without tag. */
    /* The host says so, and lets traffic in unless the port is down. */
    bool link_up = false;
    uint64_t link_speed = 0;  /* bit/s */
    unsigned link_resets = 0; /* Times the carrier went down. */
    unsigned n_rxq_requested = 0;
    unsigned n_rxq = 0;         /* Granted. */
    unsigned max_rx_queues = 0; /* Of the host. */
    unsigned uio = 0;           /* N of /dev/uioN. */
    unsigned relid = 0;         /* Channel id. */
    std::optional<unsigned> monitor_id;
    int numa_node = -1;
    uint32_t nvsp_version = 0; /* wire::nvsp::kVersion... */
    unsigned ndis_major = 0, ndis_minor = 0;
    uint32_t receive_suballocs = 0, receive_suballoc_size = 0;
    uint32_t send_sections = 0, send_section_size = 0;
    uint32_t send_sections_in_use = 0;
    uint32_t max_packets_per_message = 0;
    unsigned sessions = 0; /* Times the device was attached. */
};

/* Called on the device's control thread, with no lock held.  Must not block
 * and must not call back into the Device. */
class DeviceObserver {
public:
    virtual ~DeviceObserver() = default;
    /* Something in DeviceStatus moved. */
    virtual void status_changed() noexcept = 0;
    /* Device::adopt_session() has something new (maybe: nothing) to give. */
    virtual void session_changed() noexcept = 0;
};

/* Why a port cannot have a device: EBUSY. */
[[nodiscard]] Error device_in_use(const Guid &guid, const std::string &owner);

class Device {
public:
    virtual ~Device() = default;

    /* Gives the device to one port and starts to open it.  `owner` is the
     * port's name, for messages.  EBUSY if another port has it; ENOENT,
     * ENODEV, EACCES as check_device() says.  `observer` must live until
     * disown() returned. */
    static Result<std::shared_ptr<Device>> claim(const Guid &guid,
                                                 const std::string &owner,
                                                 const DeviceRequest &request,
                                                 DeviceObserver *observer);

    /* Waits until every device that no port has any more said goodbye and
     * was closed.  False if `patience` ran out first.  For the end of the
     * process, and for tests; never in a netdev callback. */
    static bool wait_closed(std::chrono::milliseconds patience);

    /* Ends the claim: the observer is not called any more once this
     * returns, and the control thread says goodbye to the host in its own
     * time.  The data path must have left the session before. */
    virtual void disown() = 0;

    virtual void request(const DeviceRequest &request) = 0;

    /* Swaps in the session that the control thread prepared, with `n_txq`
     * transmit queues; null while there is none.  Call only while no thread
     * uses the queues of the session returned before (OVS: reconfigure()).
     * The first adoption of a session lets traffic in. */
    virtual std::shared_ptr<Session> adopt_session(unsigned n_txq) = 0;

    [[nodiscard]] virtual DeviceStatus status() const = 0;
    [[nodiscard]] virtual Statistics statistics() const = 0;
    [[nodiscard]] virtual const Guid &guid() const = 0;
};

} // namespace netvsc
