/* The port's side of a device, and the devices of the process. */

#include "driver/device.h"

#include <algorithm>
#include <map>
#include <system_error>
#include <thread>

#include <errno.h>
#include <pthread.h>

#include "driver/device_impl.h"

namespace netvsc {

namespace {

/* The process's devices.  Never destroyed: ovs-vswitchd ends by exit() while
 * control threads still run. */
struct Registry {
    std::mutex lock;                /* Taken before a device's. */
    std::condition_variable closed; /* A device left. */
    std::map<Guid, std::shared_ptr<DeviceImpl>> devices;
};

Registry &
registry()
{
    static auto *the = new Registry;
    return *the;
}

/* Nobody wants the device: forgets it, unless somebody claims it just now. */
bool
leave(DeviceImpl *device)
{
    std::lock_guard lock(registry().lock);
    if (device->owned()) {
        return false;
    }
    registry().devices.erase(device->guid());
    registry().closed.notify_all();
    device->set_closed();
    return true;
}

} // namespace

/* --- A device -------------------------------------------------------------
 */

Status
DeviceImpl::take(const std::string &owner, const DeviceRequest &request,
                 int numa_node, DeviceObserver *observer)
{
    std::lock_guard observer_lock(observer_lock_);
    std::lock_guard lock(lock_);
    if (!owner_.empty()) {
        return device_in_use(guid_, owner_);
    }
    owner_ = owner;
    observer_ = observer;
    /* What the device did for another port is not this one's. */
    DeviceState state = status_.state;
    status_ = {};
    status_.state = state;
    refused_.clear();
    overdue_.clear();
    past_ = {};
    counting_.reset();
    prepared_.reset();
    /* A port's queues are given to a PMD thread before there is a session. */
    status_.numa_node = numa_node;
    request_ = request;
    epoch_++;
    retry_.reset();
    kick();
    return ok();
}

Status
DeviceImpl::start()
{
    try {
        std::thread thread([self = shared_from_this()] { self->run(); });
        ::pthread_setname_np(thread.native_handle(), "netvsc_control");
        thread.detach();
        return ok();
    } catch (const std::system_error &error) {
        return Error{EAGAIN, "The control thread of network device " +
                                 guid_.str() + " did not start (" +
                                 error.code().message() +
                                 "): raise the limits on memory and threads "
                                 "of ovs-vswitchd."};
    }
}

void
DeviceImpl::disown()
{
    std::lock_guard observer_lock(observer_lock_);
    std::lock_guard lock(lock_);
    observer_ = nullptr;
    owner_.clear();
    prepared_.reset();
    adopted_.reset();
    /* A goodbye goes on: it has its own deadline. */
    cancelled_ = status_.state != DeviceState::kDetaching;
    kick();
}

void
DeviceImpl::request(const DeviceRequest &request)
{
    std::lock_guard lock(lock_);
    if (request_ != request) {
        request_ = request;
        kick();
    }
}

std::shared_ptr<Session>
DeviceImpl::adopt_session(unsigned n_txq)
{
    std::lock_guard lock(lock_);
    if (prepared_) {
        prepared_->set_txqs(std::max(n_txq, 1u));
    }
    adopted_ = prepared_;
    kick();
    return adopted_;
}

DeviceStatus
DeviceImpl::status() const
{
    std::lock_guard lock(lock_);
    DeviceStatus status = status_;
    status.n_rxq_requested = request_.n_rxq;
    if (prepared_) {
        status.send_sections_in_use = prepared_->send_sections_in_use();
    }
    return status;
}

Statistics
DeviceImpl::statistics() const
{
    std::lock_guard lock(lock_);
    Statistics statistics = past_;
    if (counting_) {
        statistics += counting_->statistics();
    }
    return statistics;
}

/* --- All devices ----------------------------------------------------------
 */

const char *
device_state_name(DeviceState state)
{
    switch (state) {
    case DeviceState::kClosed:
        return "closed";
    case DeviceState::kOpening:
        return "opening";
    case DeviceState::kAttaching:
        return "attaching";
    case DeviceState::kReady:
        return "ready";
    case DeviceState::kDetaching:
        return "detaching";
    case DeviceState::kFailed:
        return "failed";
    case DeviceState::kInUse:
        return "in use";
    case DeviceState::kRescinded:
        return "absent";
    }
    return "unknown";
}

Error
device_in_use(const Guid &guid, const std::string &owner)
{
    return {EBUSY, "Network device " + guid.str() + " is in use by port " +
                       owner +
                       ": name another one in options:vmbus-device, or "
                       "delete port " +
                       owner + "."};
}

Result<std::shared_ptr<Device>>
Device::claim(const Guid &guid, const std::string &owner,
              const DeviceRequest &request, DeviceObserver *observer)
{
    auto info = check_device(guid);
    if (!info) {
        return info.error();
    }
    std::lock_guard lock(registry().lock);
    auto &entry = registry().devices[guid];
    bool fresh = !entry;
    if (fresh) {
        entry = std::make_shared<DeviceImpl>(guid, leave);
    }
    if (Status taken = entry->take(owner, request, info->numa_node, observer);
        !taken) {
        return taken.error();
    }
    if (fresh) {
        if (Status started = entry->start(); !started) {
            registry().devices.erase(guid);
            return started.error();
        }
    }
    return std::shared_ptr<Device>(entry);
}

bool
Device::wait_closed(std::chrono::milliseconds patience)
{
    Registry &all = registry();
    std::unique_lock lock(all.lock);
    return all.closed.wait_for(lock, patience, [&] {
        return std::none_of(
            all.devices.begin(), all.devices.end(),
            [](const auto &entry) { return !entry.second->owned(); });
    });
}

} // namespace netvsc
