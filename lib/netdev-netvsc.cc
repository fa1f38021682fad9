#include "lib/netdev-netvsc.h"

#include <algorithm>
#include <climits>

#include <errno.h>

#include "driver/ethernet.h"
#include "driver/kernel/sysfs.h"
#include "driver/session.h"

namespace netvsc::provider {

namespace {

/* OVS writes a status into its database only if it differs from what the
 * database said last; of what OVS itself has just written, it has not heard
 * yet.  So a link that comes up right after the port was created (which wrote
 * "down" over an older "up") stays "down" for ever.  Told again after this
 * many ms, OVS knows better, and mostly has nothing to do. */
constexpr long long kRepeat = 1000;

/* How long a port waits for another one to leave its device, in ms, before
 * that is an error.  OVS has configured all ports, and taken their queues from
 * the datapath, in far less. */
constexpr long long kWishPatience = 1000;
/* How often it looks meanwhile. */
constexpr long long kWishInterval = 20;

/* Frames over the MTU come by the thousand, and each says the same. */
constexpr std::chrono::minutes kTooBigInterval{1};

} // namespace

/* --- The table ------------------------------------------------------------
 */

PortTable::PortTable(const netvsc_glue &glue, Claim claim)
    : glue_(glue), claim_(claim), watch_([this](const Guid &device) {
          auto error = diagnose(device);
          return error ? error->message : std::string();
      }),
      identities_(
          [this] {
              return std::string(
                  glue_.state_directory ? glue_.state_directory() : "");
          },
          [this] { glue_.wake(); })
{
}

void
PortTable::enter(Port *port)
{
    std::lock_guard lock(lock_);
    ports_.push_back(port);
}

void
PortTable::leave(Port *port)
{
    std::lock_guard lock(lock_);
    std::erase(ports_, port);
}

bool
PortTable::run(long long now)
{
    bool again = watch_.look(now);
    again |= grant_wishes(now);
    std::lock_guard lock(lock_);
    for (Port *port : ports_) {
        again |= port->run(now);
    }
    if (!ports_.empty()) {
        for (const std::string &warning : identities_.take_warnings()) {
            ports_.front()->log(NETVSC_LOG_WARN, warning);
        }
    }
    return again;
}

long long
PortTable::next_run()
{
    long long next = watch_.next_look();
    std::lock_guard lock(lock_);
    for (const Port *port : ports_) {
        next = std::min(next, port->repeat_at_);
        if (port->wishes_) {
            next = std::min(next, next_wish_);
        }
    }
    return next;
}

std::optional<Error>
PortTable::diagnose(const Guid &device)
{
    if (auto info = check_device(device); !info) {
        return info.error();
    }
    std::lock_guard lock(lock_);
    if (const Port *holder = find_holder(device)) {
        return device_in_use(device, holder->name_);
    }
    return std::nullopt;
}

Port *
PortTable::find_holder(const Guid &device) const
{
    for (Port *port : ports_) {
        if (port->has_device(device) && !port->is_gone()) {
            return port;
        }
    }
    return nullptr;
}

bool
PortTable::is_held(const Guid &device)
{
    std::lock_guard lock(lock_);
    return find_holder(device) != nullptr;
}

bool
PortTable::grant_wishes(long long now)
{
    std::vector<Port *> wishing;
    {
        std::lock_guard lock(lock_);
        for (Port *port : ports_) {
            /* A removed one could be destroyed by another thread. */
            if (port->wishes_ && !glue_.is_removed(port->netdev_)) {
                wishing.push_back(port);
            }
        }
    }
    bool again = false;
    for (Port *port : wishing) {
        again |= port->claim_wish(now);
    }
    next_wish_ = now + kWishInterval;
    return again;
}

Result<std::shared_ptr<Device>>
PortTable::claim(Port *port, const Guid &device, const DeviceRequest &request)
{
    auto error = diagnose(device);
    if (!error) {
        {
            /* A port that was deleted, or is being created anew, stays for a
             * while: other threads of OVS still hold references to it. */
            std::lock_guard lock(lock_);
            for (Port *other : ports_) {
                if (other->has_device(device)) {
                    other->drop_device();
                }
            }
        }
        auto claimed = claim_(device, port->name_, request, port);
        if (claimed) {
            watch_.remove(port->name_);
            return claimed;
        }
        error = claimed.error();
    }
    watch_.add(port->name_, device, error->message);
    return *error;
}

/* --- A port ---------------------------------------------------------------
 */

Port::Port(PortTable *table, std::string name, void *netdev)
    : table_(table), name_(std::move(name)), netdev_(netdev)
{
    table_->enter(this);
}

Port::~Port()
{
    table_->leave(this);
    drop_device();
}

Status
Port::set_options(std::span<const Option> options)
{
    auto parsed = parse_options(options);
    if (!parsed) {
        table_->watch_.remove(name_);
        log(NETVSC_LOG_WARN, parsed.error().message);
        return parsed.error();
    }
    log_ignored(parsed->ignored);
    const std::shared_ptr<Device> &current =
        next_device_ ? next_device_ : device_;
    if (current && current->guid() == parsed->device) {
        {
            std::lock_guard lock(lock_);
            options_ = *parsed;
            wishes_ = false;
            current->request(request());
        }
        log_queues(current->status());
        return ok();
    }
    if (next_device_) {
        std::lock_guard lock(lock_);
        next_device_->disown();
        next_device_.reset();
        if (device_->guid() == parsed->device) {
            options_ = *parsed;
            device_->request(request());
            return ok();
        }
    }

    {
        std::lock_guard lock(lock_);
        options_ = *parsed;
        if (wishes_) {
            return ok(); /* Asked anew, whatever the wish is now. */
        }
    }
    if (device_ && !insists_ && table_->is_held(parsed->device)) {
        std::lock_guard lock(lock_);
        wishes_ = true;
        table_->glue_.request_reconfigure(netdev_);
        return ok();
    }
    insists_ = false;
    auto claimed = table_->claim(this, parsed->device, request());
    if (!claimed) {
        log(NETVSC_LOG_WARN, claimed.error().message);
        return claimed.error();
    }
    std::lock_guard lock(lock_);
    if (device_) {
        next_device_ = *claimed;
        table_->glue_.request_reconfigure(netdev_);
    } else {
        device_ = *claimed;
        known_mac_ = table_->identities_.mac_of(parsed->device);
    }
    return ok();
}

Pairs
Port::options() const
{
    std::lock_guard lock(lock_);
    if (!options_) {
        return {};
    }
    return {{"vmbus-device", options_->device.str()},
            {"n_rxq", std::to_string(options_->n_rxq)}};
}

Status
Port::set_mtu(int mtu)
{
    if (static_cast<int64_t>(mtu_) == mtu) {
        refuse_mtu("");
        return ok();
    }
    DeviceStatus status = device_ ? device_->status() : DeviceStatus{};
    bool limited = status.max_mtu != 0;
    if (mtu < static_cast<int64_t>(kMinMtu) ||
        (limited && mtu > static_cast<int64_t>(status.max_mtu))) {
        Error error = {EINVAL,
                       "MTU " + std::to_string(mtu) +
                           " is out of range: give mtu_request from " +
                           std::to_string(kMinMtu) +
                           (limited ? " to " + std::to_string(status.max_mtu) +
                                          ", the largest that adapter, "
                                          "host and driver carry."
                                    : " up.")};
        refuse_mtu(error.message);
        return error;
    }
    refuse_mtu("");
    std::lock_guard lock(lock_);
    mtu_ = static_cast<uint32_t>(mtu);
    for (const auto &device : {device_, next_device_}) {
        if (device) {
            device->request(request());
        }
    }
    return ok();
}

/* OVS only logs a refusal, and asks again each time that it configures the
 * bridge: what is wrong stands in the status, and once in the log. */
void
Port::refuse_mtu(const std::string &why)
{
    {
        std::lock_guard lock(lock_);
        if (refused_mtu_ == why) {
            return;
        }
        refused_mtu_ = why;
    }
    if (!why.empty()) {
        log(NETVSC_LOG_WARN, why);
    }
    table_->glue_.status_changed(netdev_);
}

unsigned
Port::reconfigure(unsigned n_txq)
{
    std::lock_guard lock(lock_);
    if (next_device_) {
        session_.reset();
        device_->disown();
        device_ = std::move(next_device_);
        known_mac_.reset();
        last_ = {};
        forget_drops();
    } else if (wishes_ && device_) {
        session_.reset();
        device_->disown();
        device_.reset();
        known_mac_.reset();
        last_ = {};
        forget_drops();
    }
    n_txq_ = n_txq;
    session_ = device_ ? device_->adopt_session(n_txq) : nullptr;
    return session_ ? session_->n_txq() : n_txq;
}

unsigned
Port::n_rxq() const
{
    std::lock_guard lock(lock_);
    return session_ ? session_->n_rxq() : 1;
}

RxQueue *
Port::open_rxq(unsigned queue)
{
    open_rxqs_.fetch_add(1, std::memory_order_relaxed);
    std::lock_guard lock(lock_);
    return session_ ? &session_->rxq(queue) : nullptr;
}

void
Port::close_rxq()
{
    open_rxqs_.fetch_sub(1, std::memory_order_relaxed);
}

int
Port::send(unsigned queue, std::span<const netvsc_tx_frame> frames) noexcept
{
    if (!(flags_.load(std::memory_order_relaxed) & NETVSC_UP)) {
        drops_.down.fetch_add(frames.size(), std::memory_order_relaxed);
        return ENETDOWN;
    }
    if (!session_) {
        drops_.no_session.fetch_add(frames.size(), std::memory_order_relaxed);
        return ENODEV;
    }
    size_t taken = session_->txq(queue % session_->n_txq()).send(frames);
    if (taken < frames.size()) {
        drops_.not_taken.fetch_add(frames.size() - taken,
                                   std::memory_order_relaxed);
        return EAGAIN;
    }
    return 0;
}

void
Port::count_not_ethernet(unsigned n) noexcept
{
    drops_.not_ethernet.fetch_add(n, std::memory_order_relaxed);
}

void
Port::count_rx_policed(uint64_t n_packets, uint64_t n_bytes) noexcept
{
    drops_.rx_policed.fetch_add(n_packets, std::memory_order_relaxed);
    drops_.rx_policed_bytes.fetch_add(n_bytes, std::memory_order_relaxed);
}

void
Port::count_tx_policed(uint64_t n_packets) noexcept
{
    drops_.tx_policed.fetch_add(n_packets, std::memory_order_relaxed);
}

unsigned
Port::update_flags(unsigned off, unsigned on) noexcept
{
    unsigned old = flags_.load(std::memory_order_relaxed);
    unsigned wanted;
    do {
        wanted = (old & ~off) | on;
    } while (!flags_.compare_exchange_weak(old, wanted));
    if (wanted != old) {
        status_moved_.store(true, std::memory_order_release);
    }
    return old;
}

netvsc_port_info
Port::info() const
{
    netvsc_port_info info = {};
    info.numa_node = -1;
    std::lock_guard lock(lock_);
    info.mtu = static_cast<int>(mtu_);
    if (!device_) {
        return info;
    }
    DeviceStatus status = device_->status();
    if (status.sessions > 0) {
        info.has_mac = true;
        std::copy(status.mac.begin(), status.mac.end(), info.mac);
    } else if (known_mac_) {
        info.has_mac = true;
        std::copy(known_mac_->begin(), known_mac_->end(), info.mac);
    }
    info.carrier = status.link_up;
    info.carrier_resets = status.link_resets;
    if (has_session(status)) {
        info.link_speed = status.link_speed;
        info.mtu = static_cast<int>(status.mtu);
    }
    info.numa_node = status.numa_node;
    return info;
}

std::optional<PortView>
Port::view() const
{
    std::lock_guard lock(lock_);
    if (!device_) {
        return std::nullopt;
    }
    unsigned flags = flags_.load(std::memory_order_relaxed);
    /* Before the driver's numbers, of which some are a part. */
    PortDrops drops = {.not_taken = drops_.not_taken,
                       .no_session = drops_.no_session,
                       .down = drops_.down,
                       .not_ethernet = drops_.not_ethernet,
                       .rx_policed = drops_.rx_policed,
                       .rx_policed_bytes = drops_.rx_policed_bytes,
                       .tx_policed = drops_.tx_policed};
    return PortView{
        .name = name_,
        .device = device_->guid(),
        .known_mac = known_mac_,
        .status = device_->status(),
        .statistics = device_->statistics(),
        .drops = drops,
        .ignored_options = options_->ignored,
        .up = (flags & NETVSC_UP) != 0,
        .promiscuous = (flags & NETVSC_PROMISC) != 0,
        .wanted_mtu = mtu_,
        .refused_mtu = refused_mtu_,
        .n_txq = session_ ? session_->n_txq() : n_txq_,
    };
}

/* --- What the device reports ----------------------------------------------
 */

void
Port::status_changed() noexcept
{
    status_moved_.store(true, std::memory_order_release);
    table_->glue_.wake();
}

void
Port::session_changed() noexcept
{
    session_moved_.store(true, std::memory_order_release);
    table_->glue_.wake();
}

bool
Port::run(long long now)
{
    if (now >= repeat_at_) {
        repeat_at_ = LLONG_MAX;
        table_->glue_.status_changed(netdev_);
    }
    if (session_moved_.exchange(false, std::memory_order_acquire)) {
        table_->glue_.request_reconfigure(netdev_);
    }
    if (!status_moved_.exchange(false, std::memory_order_acquire) ||
        !device_) {
        return false;
    }
    device_->request(request());
    DeviceStatus status = device_->status();
    log_changes(status);
    bool new_address = learn_address(status);
    last_ = std::move(status);
    table_->glue_.status_changed(netdev_);
    repeat_at_ = now + kRepeat;
    return new_address;
}

/* The bridge takes its own address and datapath id from its ports' when it
 * configures itself, and only then: true if it has to. */
bool
Port::learn_address(const DeviceStatus &status)
{
    if (status.sessions == 0 || status.mac == known_mac_) {
        return false;
    }
    if (known_mac_) {
        log(NETVSC_LOG_INFO, "The host gives network device " +
                                 device_->guid().str() + " the MAC address " +
                                 mac_text(status.mac) + "; it had " +
                                 mac_text(*known_mac_) + " before.");
    }
    {
        std::lock_guard lock(lock_);
        known_mac_ = status.mac;
    }
    table_->identities_.remember(device_->guid(), status.mac);
    return true;
}

bool
Port::claim_wish(long long now)
{
    if (device_) {
        return false; /* Until reconfigure(). */
    }
    if (!wishes_until_) {
        wishes_until_ = now + kWishPatience;
    }
    bool held = table_->is_held(options_->device);
    if (held && now < *wishes_until_) {
        return false;
    }
    wishes_until_.reset();
    if (!held) {
        auto claimed = table_->claim(this, options_->device, request());
        std::lock_guard lock(lock_);
        wishes_ = false;
        if (claimed) {
            device_ = *claimed;
            return false;
        }
    } else {
        std::lock_guard lock(lock_);
        wishes_ = false;
    }
    /* Only an error of set_options() stands in the database. */
    insists_ = true;
    return true;
}

void
Port::log_changes(const DeviceStatus &status)
{
    if (status.error != last_.error && !status.error.empty()) {
        log(NETVSC_LOG_WARN, status.error);
    }
    if (status.state == DeviceState::kReady &&
        status.sessions != last_.sessions) {
        log(NETVSC_LOG_INFO,
            "attached to network device " + device_->guid().str() + ", MTU " +
                std::to_string(status.mtu) + ", " +
                std::to_string(status.n_rxq) + " of " +
                std::to_string(status.n_rxq_requested) +
                " receive queues, link " + (status.link_up ? "up" : "down") +
                " at " + speed_text(status.link_speed));
        if (std::string less = describe_mtu(status, mtu_); !less.empty()) {
            log(NETVSC_LOG_WARN, less);
        }
        log_queues(status);
    } else if (status.link_up != last_.link_up) {
        log(NETVSC_LOG_INFO,
            std::string("link is ") + (status.link_up ? "up" : "down"));
    }
}

/* The bridge hands over the same options again and again. */
void
Port::log_ignored(const std::vector<std::string> &ignored)
{
    if (ignored != told_ignored_ && !ignored.empty()) {
        log(NETVSC_LOG_WARN, describe_ignored(name_, ignored));
    }
    told_ignored_ = ignored;
}

/* Why there are fewer receive queues than were asked for. */
void
Port::log_queues(const DeviceStatus &status)
{
    std::string sentence;
    if (has_session(status) && status.n_rxq < status.n_rxq_requested) {
        sentence = "options:n_rxq asks for " +
                   std::to_string(status.n_rxq_requested) +
                   " receive queues, and " + std::to_string(status.n_rxq) +
                   (status.n_rxq == 1 ? " is granted: " : " are granted: ") +
                   (status.max_rx_queues < status.n_rxq_requested
                        ? "the host has no more than " +
                              std::to_string(status.max_rx_queues) +
                              " for this network adapter."
                        : "the driver uses no more of the " +
                              std::to_string(status.max_rx_queues) +
                              " that the host has.");
    }
    if (!sentence.empty() && sentence != told_queues_) {
        log(NETVSC_LOG_WARN, sentence);
    }
    told_queues_ = std::move(sentence);
}

void
Port::log_drops(const PortView &view)
{
    auto now = std::chrono::steady_clock::now();
    uint64_t too_big = view.statistics[Count::kTxTooBig];
    if (too_big < told_too_big_) {
        told_too_big_ = 0; /* Another device counts anew. */
    }
    if (too_big == told_too_big_ ||
        (told_too_big_at_ && now - *told_too_big_at_ < kTooBigInterval)) {
        return;
    }
    log(NETVSC_LOG_WARN, describe_too_big(view, too_big - told_too_big_));
    told_too_big_ = too_big;
    told_too_big_at_ = now;
}

void
Port::log(netvsc_log_level level, const std::string &message) const
{
    table_->glue_.log(netdev_, level, name_.c_str(), message.c_str());
}

/* --- Helpers --------------------------------------------------------------
 */

bool
Port::has_device(const Guid &device) const
{
    std::lock_guard lock(lock_);
    return (device_ && device_->guid() == device) ||
           (next_device_ && next_device_->guid() == device);
}

bool
Port::is_gone() const
{
    return table_->glue_.is_removed(netdev_) &&
           open_rxqs_.load(std::memory_order_relaxed) == 0;
}

/* What was counted for another device.  No thread is in the data path. */
void
Port::forget_drops()
{
    for (auto *counter : {&drops_.not_taken, &drops_.no_session, &drops_.down,
                          &drops_.not_ethernet, &drops_.rx_policed,
                          &drops_.rx_policed_bytes, &drops_.tx_policed}) {
        counter->store(0, std::memory_order_relaxed);
    }
}

void
Port::drop_device()
{
    std::lock_guard lock(lock_);
    session_.reset();
    for (auto *device : {&device_, &next_device_}) {
        if (*device) {
            (*device)->disown();
            device->reset();
        }
    }
}

/* What options, MTU and flags ask of the device. */
DeviceRequest
Port::request() const
{
    unsigned flags = flags_.load(std::memory_order_relaxed);
    return {.n_rxq = options_->n_rxq,
            .mtu = mtu_,
            .promiscuous = (flags & NETVSC_PROMISC) != 0,
            .up = (flags & NETVSC_UP) != 0};
}

} // namespace netvsc::provider
