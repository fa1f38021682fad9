#include "host/vmm/vmbus_server.h"

#include "host/base/error.h"
#include "host/base/log.h"
#include "host/netvsp/monitor.h"

namespace netvsc::host::vmm {

namespace vmbus = wire::vmbus;

namespace {

constexpr char kSubject[] = "vmbus";

/* openvmm's form of a channel's connection id: the SINT above the relid
 * (B.8). */
constexpr uint32_t kConnectionSintShift = 12;

/* A ring of less than a control page and a page of data is none (B.6). */
constexpr uint64_t kLeastRingPages = 2;

} // namespace

std::string
version_text(uint32_t version)
{
    return std::to_string(version >> 16) + "." +
           std::to_string(version & 0xffff);
}

VmbusServer::VmbusServer(Hypervisor &hypervisor, uint32_t max_version)
    : hypervisor_(hypervisor), max_version_(max_version),
      gpadls_(hypervisor.ram())
{
}

/* --- Offers ------------------------------------------------------------ */

ChannelIds
VmbusServer::offer(const Offer &offer, BusDevice &device)
{
    /* Upwards, so that a guest meets a dead channel's id late again. */
    uint32_t relid = last_relid_;
    do {
        relid = relid + 1 < wire::kMaxRelids ? relid + 1 : 1;
        if (!channels_.contains(relid)) {
            break;
        }
    } while (relid != last_relid_);
    if (channels_.contains(relid)) {
        throw HostError("There are no more channel ids; the guest has not "
                        "released those of removed NICs.");
    }
    uint32_t monitor_id = vmbus::kNoMonitor;
    if (offer.monitored) {
        for (monitor_id = 0; monitor_ids_.contains(monitor_id);) {
            monitor_id++;
        }
        if (monitor_id == wire::kMonitorIds) {
            throw HostError("There are no more monitor ids; add the NIC with "
                            "monitor=no.");
        }
        monitor_ids_.insert(monitor_id);
    }
    last_relid_ = relid;
    Channel channel{
        offer,
        {relid, monitor_id, relid | vmbus::kSint << kConnectionSintShift},
        &device};
    Channel &entry = channels_.insert({relid, channel}).first->second;
    offer_what_waits();
    return entry.ids;
}

/* Linux loses an offer of an instance of which it still has a channel (B.3.1,
 * B.6): one that is back so soon waits until the guest released the old
 * one. */
void
VmbusServer::offer_what_waits()
{
    if (!enumerated_) {
        return;
    }
    for (auto &[relid, channel] : channels_) {
        /* A sub-channel belongs to a primary channel that the guest has. */
        if (channel.device && !channel.offered &&
            (channel.offer.subchannel || !lingers(channel.offer.instance))) {
            send_offer(channel);
        }
    }
}

/* Does the guest still have a rescinded channel of this instance? */
bool
VmbusServer::lingers(const vmbus::Guid &instance) const
{
    for (const auto &[relid, channel] : channels_) {
        if (!channel.device && std::memcmp(&channel.offer.instance, &instance,
                                           sizeof instance) == 0) {
            return true;
        }
    }
    return false;
}

void
VmbusServer::send_offer(Channel &channel)
{
    const ChannelIds &ids = channel.ids;
    vmbus::OfferChannel message{};
    message.device_class = channel.offer.device_class;
    message.instance = channel.offer.instance;
    message.flags = vmbus::kOfferEnumerate;
    message.subchannel = channel.offer.subchannel;
    message.relid = ids.relid;
    message.monitor_id = vmbus::kNoMonitor;
    message.dedicated_interrupt = 1;
    message.connection_id = ids.connection_id;
    if (ids.monitor_id != vmbus::kNoMonitor && !monitor_page_.empty()) {
        message.monitor_id = static_cast<uint8_t>(ids.monitor_id);
        message.monitor_allocated = 1;
        MonitorTrigger(monitor_page_, ids.monitor_id)
            .announce(ids.connection_id, channel.offer.monitor_latency);
    }
    channel.offered = true;
    send(vmbus::kOfferChannel, message);
}

void
VmbusServer::rescind(uint32_t relid)
{
    auto channel = channels_.find(relid);
    if (channel == channels_.end() || !channel->second.device) {
        return;
    }
    channel->second.device = nullptr;
    channel->second.open = false;
    if (!channel->second.offered) {
        forget(channel);
        return;
    }
    send(vmbus::kRescindOffer, vmbus::Channel{{}, relid});
}

VmbusServer::Channels::iterator
VmbusServer::forget(Channels::iterator channel)
{
    gpadls_.remove_of(channel->first);
    monitor_ids_.erase(channel->second.ids.monitor_id);
    return channels_.erase(channel);
}

void
VmbusServer::close(Channel &channel)
{
    if (std::exchange(channel.open, false)) {
        channel.device->close();
    }
}

/* --- Messages ---------------------------------------------------------- */

void
VmbusServer::receive(Bytes message)
{
    if (message.size() < sizeof(vmbus::Header)) {
        complain("a message that is too short");
        return;
    }
    auto type = load<vmbus::Header>(message).type;
    if (type == vmbus::kInitiateContact) {
        initiate_contact(message);
        return;
    }
    if (type == vmbus::kUnload) {
        unload();
        return;
    }
    if (!version_) {
        complain("message " + std::to_string(type) + " before contact");
        return;
    }
    switch (type) {
    case vmbus::kRequestOffers:
        request_offers();
        return;
    case vmbus::kGpadlHeader:
        gpadl_header(message);
        return;
    case vmbus::kGpadlBody:
        gpadl(gpadls_.take_body(message));
        return;
    case vmbus::kOpenChannel:
        open_channel(message);
        return;
    case vmbus::kModifyChannel:
        modify_channel(message);
        return;
    case vmbus::kCloseChannel:
        close_channel(message);
        return;
    case vmbus::kGpadlTeardown:
        gpadl_teardown(message);
        return;
    case vmbus::kRelidReleased:
        relid_released(message);
        return;
    default:
        complain("message of the unknown type " + std::to_string(type));
    }
}

template <typename T>
std::optional<T>
VmbusServer::parse(Bytes message, const char *name)
{
    if (message.size() < sizeof(T)) {
        complain(std::string(name) + " that is too short");
        return std::nullopt;
    }
    return load<T>(message);
}

template <typename T>
void
VmbusServer::send(uint32_t type, T message)
{
    message.header.type = type;
    if (!hypervisor_.post_message(vcpu_, bytes_of(message)) && !lost_++) {
        log_guest(kSubject,
                  "the guest does not take its messages; they are lost");
    }
}

void
VmbusServer::complain(const std::string &what)
{
    complaints_++;
    log_guest(kSubject, "the guest sent " + what);
}

VmbusServer::Channel *
VmbusServer::find(uint32_t relid)
{
    auto channel = channels_.find(relid);
    return channel != channels_.end() && channel->second.offered
               ? &channel->second
               : nullptr;
}

/* --- The connection (B.5) ---------------------------------------------- */

void
VmbusServer::initiate_contact(Bytes message)
{
    auto contact =
        parse<vmbus::InitiateContact>(message, "an INITIATE_CONTACT");
    if (!contact) {
        return;
    }
    /* A kernel that follows another one, or the next version to try. */
    reset();
    GuestRam &ram = hypervisor_.ram();
    bool supported = contact->target_vcpu < hypervisor_.vcpus();
    vcpu_ = supported ? contact->target_vcpu : 0;
    bool known = false;
    for (uint32_t version : kVersions) {
        known |= version == contact->version && version <= max_version_;
    }
    supported &= known;
    /* Without a monitor page there are no monitor ids, and that is all. */
    if (supported && contact->monitor_to_host &&
        contact->monitor_to_host % wire::kPageSize == 0) {
        monitor_page_ = ram.at(contact->monitor_to_host, wire::kPageSize);
    }
    if (!monitor_page_.empty()) {
        /* All four groups are enabled (B.11). */
        store(monitor_page_, offsetof(wire::MonitorPage, trigger_state),
              (1u << wire::kMonitorGroups) - 1);
    }

    vmbus::VersionResponse response{};
    if (supported) {
        version_ = contact->version;
        response.supported = 1;
        response.connection_id =
            version_ >= vmbus::kVersion50 ? vmbus::kConnection : version_;
    }
    log_guest(kSubject, "contact with version " +
                            version_text(contact->version) +
                            (supported ? "" : " refused"));
    send(vmbus::kVersionResponse, response);
}

void
VmbusServer::request_offers()
{
    if (std::exchange(enumerated_, true)) {
        complain("a second REQUEST_OFFERS");
        return;
    }
    offer_what_waits();
    struct AllOffers {
        vmbus::Header header;
    };
    send(vmbus::kAllOffersDelivered, AllOffers{});
}

void
VmbusServer::unload()
{
    struct UnloadResponse {
        vmbus::Header header;
    };
    log_guest(kSubject, "unloaded by the guest");
    reset();
    send(vmbus::kUnloadResponse, UnloadResponse{});
}

void
VmbusServer::reset()
{
    /* A guest that reset hears of no rescinded sub-channel; these end with
     * their primary channel. */
    enumerated_ = false;
    std::vector<uint32_t> primaries;
    for (auto &[relid, channel] : channels_) {
        channel.offered = channel.offered && !channel.device;
        if (channel.device && !channel.offer.subchannel) {
            primaries.push_back(relid);
        }
    }
    for (uint32_t relid : primaries) {
        close(channels_.at(relid));
    }
    for (auto entry = channels_.begin(); entry != channels_.end();) {
        entry = entry->second.device ? std::next(entry) : forget(entry);
    }
    gpadls_.clear();
    monitor_page_ = {};
    version_ = 0;
}

/* --- GPADLs (B.7) ------------------------------------------------------ */

void
VmbusServer::gpadl_header(Bytes message)
{
    if (message.size() >= sizeof(vmbus::GpadlHeader)) {
        auto header = load<vmbus::GpadlHeader>(message);
        Channel *channel = find(header.relid);
        if (!channel) {
            gpadl({Gpadls::Outcome::kRefused, header.relid, header.gpadl,
                   "there is no such channel"});
            return;
        }
        if (!channel->device) {
            /* The guest does not know yet that the channel is gone, and would
             * wait for the answer (B.6). */
            gpadl({Gpadls::Outcome::kCreated, header.relid, header.gpadl, {}});
            return;
        }
    }
    gpadl(gpadls_.take_header(message));
}

void
VmbusServer::gpadl(const Gpadls::Result &result)
{
    vmbus::GpadlCreated created{};
    created.relid = result.relid;
    created.gpadl = result.handle;
    switch (result.outcome) {
    case Gpadls::Outcome::kMore:
        return;
    case Gpadls::Outcome::kIgnored:
        if (!result.reason.empty()) {
            complain(result.reason);
        }
        return;
    case Gpadls::Outcome::kRefused:
        complain("GPADL " + std::to_string(result.handle) + " for channel " +
                 std::to_string(result.relid) +
                 ", which is refused: " + result.reason);
        created.status = vmbus::kStatusFailure;
        break;
    case Gpadls::Outcome::kCreated:
        break;
    }
    send(vmbus::kGpadlCreated, created);
}

void
VmbusServer::gpadl_teardown(Bytes message)
{
    auto teardown = parse<vmbus::GpadlTeardown>(message, "a GPADL_TEARDOWN");
    if (!teardown) {
        return;
    }
    Channel *channel = find(teardown->relid);
    if (channel && channel->open && channel->ring_gpadl == teardown->gpadl) {
        complain("a teardown of the rings of the open channel " +
                 std::to_string(teardown->relid));
        close(*channel);
    }
    /* Of a rescinded channel anything goes: what it was told it has may have
     * never been there. */
    bool known = gpadls_.remove(teardown->relid, teardown->gpadl);
    if (known || (channel && !channel->device)) {
        send(vmbus::kGpadlTorndown, vmbus::GpadlTorndown{{}, teardown->gpadl});
    } else {
        complain("a teardown of GPADL " + std::to_string(teardown->gpadl) +
                 ", which channel " + std::to_string(teardown->relid) +
                 " does not have");
    }
}

/* --- Channels (B.6) ---------------------------------------------------- */

void
VmbusServer::open_channel(Bytes message)
{
    auto open = parse<vmbus::OpenChannel>(message, "an OPEN_CHANNEL");
    if (!open) {
        return;
    }
    Channel *channel = find(open->relid);
    if (channel && !channel->device) {
        return; /* Rescinded: the guest is about to learn it. */
    }
    OpenedChannel opened{};
    if (channel) {
        opened.rings = gpadls_.find(open->relid, open->ring_gpadl);
        if (channel->ids.monitor_id != vmbus::kNoMonitor) {
            opened.monitor_page = monitor_page_;
        }
    }
    opened.downstream_page = open->downstream_page;
    opened.vcpu = open->target_vcpu;
    uint64_t pages =
        opened.rings ? opened.rings->bytes().size() / wire::kPageSize : 0;
    const char *fault = nullptr;
    if (!channel) {
        fault = "there is no such channel";
    } else if (channel->open) {
        fault = "it is open";
    } else if (!opened.rings) {
        fault = "it does not have that GPADL";
    } else if (open->downstream_page < kLeastRingPages ||
               open->downstream_page + kLeastRingPages > pages) {
        fault = "its rings are too small";
    } else if (open->target_vcpu >= hypervisor_.vcpus()) {
        fault = "there is no such vCPU";
    }
    vmbus::OpenChannelResult result{};
    result.relid = open->relid;
    result.open_id = open->open_id;
    if (fault) {
        complain("an OPEN_CHANNEL for channel " + std::to_string(open->relid) +
                 ", which is refused: " + fault);
        result.status = vmbus::kStatusFailure;
    } else {
        channel->open = true;
        channel->ring_gpadl = open->ring_gpadl;
        channel->device->open(opened);
    }
    send(vmbus::kOpenChannelResult, result);
}

void
VmbusServer::modify_channel(Bytes message)
{
    auto modify = parse<vmbus::ModifyChannel>(message, "a MODIFY_CHANNEL");
    if (!modify) {
        return;
    }
    if (version_ < vmbus::kVersion41) {
        complain("a MODIFY_CHANNEL below version 4.1");
        return;
    }
    Channel *channel = find(modify->relid);
    bool good = channel && modify->target_vcpu < hypervisor_.vcpus();
    if (!good) {
        complain("a MODIFY_CHANNEL for no channel or no vCPU");
    } else if (channel->open) {
        channel->device->retarget(modify->target_vcpu);
    }
    if (version_ >= vmbus::kVersion53) {
        send(vmbus::kModifyChannelResponse,
             vmbus::ModifyChannelResponse{
                 {}, modify->relid, good ? 0 : vmbus::kStatusFailure});
    }
}

void
VmbusServer::close_channel(Bytes message)
{
    auto request = parse<vmbus::Channel>(message, "a CLOSE_CHANNEL");
    if (!request) {
        return;
    }
    Channel *channel = find(request->relid);
    if (!channel || (channel->device && !channel->open)) {
        complain("a CLOSE_CHANNEL for channel " +
                 std::to_string(request->relid) + ", which is not open");
        return;
    }
    close(*channel); /* A rescinded one is closed already. */
}

void
VmbusServer::relid_released(Bytes message)
{
    auto request = parse<vmbus::Channel>(message, "a RELID_RELEASED");
    if (!request) {
        return;
    }
    auto channel = channels_.find(request->relid);
    if (channel == channels_.end() || channel->second.device) {
        complain("a RELID_RELEASED for channel " +
                 std::to_string(request->relid) + ", which is not rescinded");
        return;
    }
    forget(channel);
    offer_what_waits();
}

} // namespace netvsc::host::vmm
