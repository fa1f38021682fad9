#include "host/vmm/vm_machine.h"

#include <nlohmann/json.hpp>

#include "host/base/error.h"
#include "host/base/log.h"

namespace netvsc::host::vmm {

namespace fs = std::filesystem;
namespace vmbus = wire::vmbus;

VmMachine::VmMachine(Hypervisor &hypervisor, const std::string &root,
                     uint32_t max_version, TraceFile *trace)
    : hypervisor_(hypervisor), max_version_(max_version), trace_(trace),
      server_(hypervisor, max_version)
{
    try {
        fs::create_directories(root);
        root_ = fs::canonical(root);
    } catch (const fs::filesystem_error &error) {
        throw HostError("Cannot create " + root + ": " +
                        error.code().message() + ".");
    }
    lock_.emplace(root_);
    inbox_.reserve(kMaxInbox);
    loop_.watch(posted_.fd(), [this] { read_inbox(); });
    thread_ = std::thread([this] { work(); });
}

VmMachine::~VmMachine()
{
    loop_.call([this] {
        for (Device &device : devices_) {
            withdraw(device, SessionEnd::kHostExit);
        }
        stopping_ = true;
    });
    thread_.join();
    std::error_code ignored;
    fs::remove(root_ / kControlSocket, ignored);
}

std::string
VmMachine::control_path() const
{
    return root_ / kControlSocket;
}

/* --- vCPUs ------------------------------------------------------------- */

uint16_t
VmMachine::message_posted(uint32_t connection, uint32_t type, Bytes payload)
{
    /* A host older than 5.0 does not know the new connection, from which the
     * guest learns to use an older version (B.4). */
    bool known = connection == vmbus::kConnectionOld ||
                 (connection == vmbus::kConnection &&
                  max_version_ >= vmbus::kVersion50);
    if (!known) {
        return kStatusInvalidConnectionId;
    }
    if (type != vmbus::kMessageType || payload.size() > vmbus::kMaxMessage) {
        return kStatusInvalidParameter;
    }
    {
        std::lock_guard lock(mutex_);
        if (inbox_.size() == kMaxInbox) {
            return kStatusInsufficientBuffers;
        }
        Posted &posted = inbox_.emplace_back();
        posted.size = static_cast<uint32_t>(payload.size());
        std::copy(payload.begin(), payload.end(), posted.bytes);
    }
    posted_.ring();
    return kStatusSuccess;
}

uint16_t
VmMachine::event_signalled(uint32_t connection, uint16_t flag)
{
    auto doorbell = doorbells_.find(connection);
    if (!doorbell) {
        return kStatusInvalidConnectionId;
    }
    if (flag) {
        return kStatusInvalidParameter; /* A channel has one (B.10). */
    }
    doorbell->ring();
    return kStatusSuccess;
}

void
VmMachine::guest_gone()
{
    {
        std::lock_guard lock(mutex_);
        inbox_.clear();
        gone_ = true;
    }
    posted_.ring();
}

/* --- The bus's thread -------------------------------------------------- */

void
VmMachine::work()
{
    while (!stopping_) {
        loop_.wait(EventLoop::kForever);
    }
}

void
VmMachine::read_inbox()
{
    (void) posted_.take();
    std::vector<Posted> messages;
    messages.reserve(kMaxInbox);
    bool gone;
    {
        std::lock_guard lock(mutex_);
        messages.swap(inbox_);
        gone = std::exchange(gone_, false);
    }
    if (gone) {
        log("vmbus", "the guest went");
        server_.reset();
    }
    for (const Posted &message : messages) {
        server_.receive(Bytes(message.bytes).first(message.size));
    }
}

VmMachine::Device &
VmMachine::find(const std::string &guid)
{
    for (Device &device : devices_) {
        if (device.nic->config().guid == guid) {
            return device;
        }
    }
    throw HostError("There is no NIC " + guid +
                    "; 'list' shows those there are.");
}

void
VmMachine::offer(Device &device)
{
    device.vmbus = std::make_unique<VmbusDevice>(
        *device.nic, Bus{server_, hypervisor_, loop_, doorbells_});
}

void
VmMachine::withdraw(Device &device, SessionEnd reason)
{
    device.vmbus->withdraw(reason);
    device.vmbus.reset();
}

void
VmMachine::forget(const std::string &guid)
{
    devices_.remove_if([&](const Device &device) {
        return device.nic->config().guid == guid;
    });
}

/* --- Commands ---------------------------------------------------------- */

void
VmMachine::add(const NicConfig &config)
{
    loop_.call([&] {
        for (const Device &device : devices_) {
            if (device.nic->config().guid == config.guid) {
                throw HostError("There is a NIC " + config.guid +
                                " already; remove it first.");
            }
        }
        Device device;
        device.nic = std::make_unique<Nic>(config, next_nic_, peers_, trace_);
        offer(device);
        next_nic_++;
        log(config.guid, "added, MAC " + to_text(config.mac) + ", channel " +
                             std::to_string(device.vmbus->ids().relid));
        devices_.push_back(std::move(device));
    });
}

void
VmMachine::remove(const std::string &guid)
{
    loop_.call([&] {
        withdraw(find(guid), SessionEnd::kRescinded);
        forget(guid);
        log(guid, "removed");
    });
}

void
VmMachine::reoffer(const std::string &guid)
{
    loop_.call([&] {
        Device &device = find(guid);
        withdraw(device, SessionEnd::kRescinded);
        try {
            offer(device);
        } catch (...) {
            forget(guid); /* It holds nothing any more. */
            throw;
        }
        log(guid, "offered again as channel " +
                      std::to_string(device.vmbus->ids().relid));
    });
}

void
VmMachine::set_link(const std::string &guid, bool up)
{
    loop_.call([&] { find(guid).nic->set_link(up); });
}

void
VmMachine::set_pace(const std::string &guid, const Pace &pace)
{
    loop_.call([&] { find(guid).nic->set_pace(pace); });
}

void
VmMachine::bind(const std::string &guid, DriverBinding)
{
    throw HostError("The guest's kernel binds NIC " + guid +
                    "; use its sysfs or driverctl.");
}

VmMachine::Json
VmMachine::list()
{
    Json list = Json::array();
    loop_.call([&] {
        for (Device &device : devices_) {
            const ChannelIds &ids = device.vmbus->ids();
            Json nic = describe(device.nic->config(), device.nic->status());
            nic["relid"] = ids.relid;
            nic["monitor_id"] = ids.monitor_id == vmbus::kNoMonitor
                                    ? Json(nullptr)
                                    : Json(ids.monitor_id);
            list.push_back(std::move(nic));
        }
    });
    return list;
}

VmMachine::Json
VmMachine::stats(const std::string &guid)
{
    Json json;
    loop_.call([&] { json = count(find(guid).nic->status()); });
    return json;
}

VmMachine::Json
VmMachine::stats()
{
    Json all = Json::object();
    loop_.call([&] {
        for (Device &device : devices_) {
            all[device.nic->config().guid] = count(device.nic->status());
        }
    });
    return all;
}

uint32_t
parse_version(const std::string &text)
{
    for (uint32_t version : kVersions) {
        if (text == version_text(version)) {
            return version;
        }
    }
    throw HostError("'" + text +
                    "' is not a VMBus version of 2.4, 3.0, 4.0, 4.1, 5.0, "
                    "5.1, 5.2 and 5.3.");
}

} // namespace netvsc::host::vmm
