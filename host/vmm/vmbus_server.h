/* The host's end of the VMBus: what a guest's kernel asks before and besides
 * the rings, and the offers that it is made (B.5, B.6).
 *
 * All of it runs on the bus's thread.  Nothing waits for the guest, and
 * whatever the guest says, the host keeps a bounded amount of it. */

#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "host/vmm/gpadls.h"
#include "wire/vmbus_messages.h"

namespace netvsc::host::vmm {

/* The versions that the host speaks, oldest first, and how they are written:
 * "5.3". */
inline constexpr uint32_t kVersions[] = {
    wire::vmbus::kVersion24, wire::vmbus::kVersion30, wire::vmbus::kVersion40,
    wire::vmbus::kVersion41, wire::vmbus::kVersion50, wire::vmbus::kVersion51,
    wire::vmbus::kVersion52, wire::vmbus::kVersion53};
[[nodiscard]] std::string version_text(uint32_t version);

/* A channel that the guest opened. */
struct OpenedChannel {
    std::shared_ptr<const PageMapping> rings;
    uint32_t downstream_page;  /* Valid: two pages and more on either side. */
    unsigned vcpu;             /* That wants the interrupts. */
    MutableBytes monitor_page; /* Guest to host; empty without a monitor. */
};

/* A device behind a channel. */
class BusDevice {
public:
    virtual ~BusDevice() = default;

    virtual void open(const OpenedChannel &channel) = 0;
    /* The guest closed the channel, or went. */
    virtual void close() = 0;
    /* The guest wants interrupts on another vCPU. */
    virtual void retarget(unsigned vcpu) = 0;
};

/* What an offer says. */
struct Offer {
    wire::vmbus::Guid device_class;
    wire::vmbus::Guid instance;
    uint16_t subchannel = 0;
    bool monitored = true;        /* With a monitor id. */
    uint16_t monitor_latency = 0; /* To announce, in 100 ns. */
};

/* The numbers that a channel has. */
struct ChannelIds {
    uint32_t relid;
    uint32_t monitor_id; /* wire::vmbus::kNoMonitor for none. */
    uint32_t connection_id;
};

class VmbusServer {
public:
    /* Accepts contact up to `max_version`. */
    VmbusServer(Hypervisor &hypervisor, uint32_t max_version);

    /* Offers a channel as soon as the guest wants to know, and has released a
     * rescinded one of the same instance.  `device` must live until rescind().
     * Throws HostError when ids are used up. */
    ChannelIds offer(const Offer &offer, BusDevice &device);
    /* Whether an offer can be monitored. */
    [[nodiscard]] bool
    has_monitor_id() const
    {
        return monitor_ids_.size() < wire::kMonitorIds;
    }
    /* Takes an offer back; the device hears nothing more, not even close().
     * Its ids are free again when the guest released them. */
    void rescind(uint32_t relid);

    /* A message that the guest posted. */
    void receive(Bytes message);
    /* The guest reset: all that it established is void. */
    void reset();

    [[nodiscard]] const Gpadls &
    gpadls() const
    {
        return gpadls_;
    }
    /* Agreed with the guest; 0 before contact. */
    [[nodiscard]] uint32_t
    version() const
    {
        return version_;
    }

private:
    struct Channel {
        Offer offer;
        ChannelIds ids;
        BusDevice *device;    /* nullptr once rescinded. */
        bool offered = false; /* The guest was told. */
        bool open = false;
        uint32_t ring_gpadl = 0; /* While open. */
    };
    using Channels = std::map<uint32_t, Channel>;

    void initiate_contact(Bytes message);
    void request_offers();
    void gpadl(const Gpadls::Result &result);
    void gpadl_header(Bytes message);
    void gpadl_teardown(Bytes message);
    void open_channel(Bytes message);
    void close_channel(Bytes message);
    void modify_channel(Bytes message);
    void relid_released(Bytes message);
    void unload();

    void offer_what_waits();
    [[nodiscard]] bool lingers(const wire::vmbus::Guid &instance) const;
    void send_offer(Channel &channel);
    void close(Channel &channel);
    Channels::iterator forget(Channels::iterator channel);
    [[nodiscard]] Channel *find(uint32_t relid);
    template <typename T>
    [[nodiscard]] std::optional<T> parse(Bytes message, const char *name);
    template <typename T>
    void send(uint32_t type, T message);
    void complain(const std::string &what);

    Hypervisor &hypervisor_;
    uint32_t max_version_;
    Gpadls gpadls_;
    Channels channels_;
    uint32_t last_relid_ = 0;
    std::set<uint32_t> monitor_ids_;

    uint32_t version_ = 0;
    unsigned vcpu_ = 0;       /* That wants the messages. */
    bool enumerated_ = false; /* The guest asked for the offers. */
    MutableBytes monitor_page_;
    uint64_t complaints_ = 0; /* Messages that no working guest sends. */
    uint64_t lost_ = 0;       /* Messages that the guest did not take. */
};

} // namespace netvsc::host::vmm
