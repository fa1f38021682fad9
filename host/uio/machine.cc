#include "host/uio/machine.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "host/base/error.h"
#include "host/base/log.h"

namespace netvsc::host {

namespace {

/* Real handles look like this; it tells them from small numbers in a log. */
constexpr uint32_t kFirstGpadl = 0xe1e10;

} // namespace

uint32_t
Machine::Numbers::take()
{
    for (uint32_t number = first_; number < end_; number++) {
        if (used_.insert(number).second) {
            return number;
        }
    }
    throw HostError(std::string("There are no more ") + what_ +
                    "; remove a NIC first.");
}

Machine::Machine(const std::string &root, GpaMode mode, TraceFile *trace)
    : mode_(mode), trace_(trace), tree_(root),
      uio_numbers_(0, UINT32_MAX, "uio numbers"), next_gpadl_(kFirstGpadl)
{
}

Machine::~Machine()
{
    for (Device &device : devices_) {
        detach_uio(device, SessionEnd::kHostExit);
    }
}

Machine::Device &
Machine::find(const std::string &guid)
{
    for (Device &device : devices_) {
        if (device.entry.config.guid == guid) {
            return device;
        }
    }
    throw HostError("There is no NIC " + guid +
                    "; 'list' shows those there are.");
}

/* --- Offers ------------------------------------------------------------ */

void
Machine::add(const NicConfig &config)
{
    for (const Device &device : devices_) {
        if (device.entry.config.guid == config.guid) {
            throw HostError("There is a NIC " + config.guid +
                            " already; remove it first.");
        }
    }
    Device device;
    device.nic = std::make_unique<Nic>(config, next_nic_, peers_, trace_);
    device.entry.config = config;
    offer(device);
    next_nic_++;
    devices_.push_back(std::move(device));
    log(config.guid, "added, MAC " + to_text(config.mac) + ", driver " +
                         to_text(config.driver));
}

void
Machine::offer(Device &device)
{
    device.numbers = channel_numbers_.take(
        device.entry.config.monitor ? ChannelNumbers::Monitor::kNeeded
                                    : ChannelNumbers::Monitor::kNone);
    device.entry.info.relid = device.numbers.relid();
    device.entry.info.monitor_id = device.numbers.monitor_id().value_or(0);
    try {
        attach_uio(device);
        tree_.add(device.entry);
    } catch (...) {
        withdraw(device);
        throw;
    }
}

void
Machine::rescind(Device &device)
{
    /* First out of sight, so that nobody opens it again. */
    tree_.remove(device.entry.config.guid);
    withdraw(device);
}

/* Gives back what an offer takes. */
void
Machine::withdraw(Device &device)
{
    detach_uio(device, SessionEnd::kRescinded);
    device.numbers = {};
}

void
Machine::attach_uio(Device &device)
{
    if (device.entry.config.driver != DriverBinding::kUioHvGeneric) {
        return;
    }
    /* Each binding establishes new GPADLs (C.8). */
    device.entry.info.receive_gpadl = next_gpadl_++;
    device.entry.info.send_gpadl = next_gpadl_++;
    device.entry.uio_number = uio_numbers_.take();

    std::string guid = device.entry.config.guid;
    auto opened = [this, guid](bool open) {
        try {
            tree_.set_state(guid, open ? kStateOpened : kStateNotOpened);
        } catch (const std::exception &error) {
            log(guid,
                std::string("cannot show the channel state: ") + error.what());
        }
    };
    try {
        device.uio = std::make_unique<UioDevice>(
            *device.nic, device.entry.info, tree_.dev_dir(),
            device.entry.uio_number, mode_, pages_, channel_numbers_, tree_,
            opened);
    } catch (...) {
        uio_numbers_.give_back(device.entry.uio_number);
        throw;
    }
}

void
Machine::detach_uio(Device &device, SessionEnd reason)
{
    if (device.uio) {
        device.uio->shut_down(reason);
        device.uio.reset();
        uio_numbers_.give_back(device.entry.uio_number);
    }
}

/* --- Commands ---------------------------------------------------------- */

void
Machine::remove(const std::string &guid)
{
    rescind(find(guid));
    forget(guid);
    log(guid, "removed");
}

void
Machine::forget(const std::string &guid)
{
    devices_.remove_if([&](const Device &device) {
        return device.entry.config.guid == guid;
    });
}

void
Machine::reoffer(const std::string &guid)
{
    Device &device = find(guid);
    rescind(device);
    try {
        offer(device);
    } catch (...) {
        forget(guid); /* It holds nothing any more. */
        throw;
    }
    log(guid,
        "offered again as channel " + std::to_string(device.entry.info.relid));
}

void
Machine::set_link(const std::string &guid, bool up)
{
    find(guid).nic->set_link(up);
}

void
Machine::set_pace(const std::string &guid, const Pace &pace)
{
    find(guid).nic->set_pace(pace);
}

void
Machine::bind(const std::string &guid, DriverBinding driver)
{
    Device &device = find(guid);
    if (device.entry.config.driver == driver) {
        return;
    }
    /* The socket is there before the tree shows it, and the tree is clear of
     * it before it goes. */
    device.entry.config.driver = DriverBinding::kNone;
    tree_.rebind(device.entry);
    detach_uio(device, SessionEnd::kRescinded);
    device.entry.config.driver = driver;
    try {
        attach_uio(device);
    } catch (...) {
        device.entry.config.driver = DriverBinding::kNone;
        throw;
    }
    tree_.rebind(device.entry);
    log(guid, std::string("driver ") + to_text(driver));
}

Machine::Json
Machine::list()
{
    Json list = Json::array();
    for (Device &device : devices_) {
        const DeviceEntry &entry = device.entry;
        Json nic = describe(entry.config, device.nic->status());
        nic["driver"] = to_text(entry.config.driver);
        nic["uio"] = device.uio
                         ? Json("uio" + std::to_string(entry.uio_number))
                         : Json(nullptr);
        nic["relid"] = entry.info.relid;
        nic["monitor_id"] =
            entry.config.monitor ? Json(entry.info.monitor_id) : Json(nullptr);
        list.push_back(std::move(nic));
    }
    return list;
}

Machine::Json
Machine::stats(const std::string &guid)
{
    return count(find(guid).nic->status());
}

Machine::Json
Machine::stats()
{
    Json all = Json::object();
    for (Device &device : devices_) {
        all[device.entry.config.guid] = count(device.nic->status());
    }
    return all;
}

} // namespace netvsc::host
