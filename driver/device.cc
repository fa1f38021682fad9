#include "driver/device.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>

#include <errno.h>
#include <pthread.h>

#include "driver/session.h"
#include "wire/oid.h"
#include "wire/rndis.h"

namespace netvsc {

namespace {

using Clock = Uio::Clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

/* How often sysfs is looked at for a device that is not there. */
constexpr seconds kAbsentInterval{1};
/* Pause after a failed attach: doubled each time, so that a host in trouble
 * is not flooded, up to the longest that an operator should have to wait. */
constexpr seconds kFirstRetry{1};
constexpr seconds kLongestRetry{30};
/* Goodbye is a courtesy: the close that follows says it all. */
constexpr seconds kGoodbyeDeadline{5};

/* NDIS filter for what a switch wants, and for an ordinary port. */
constexpr uint32_t kPromiscuousFilter = wire::oid::kFilterPromiscuous;
constexpr uint32_t kOrdinaryFilter = wire::oid::kFilterDirected |
                                     wire::oid::kFilterAllMulticast |
                                     wire::oid::kFilterBroadcast;

/* What follows from a filter that the host refuses, and what to do. */
constexpr char kOrdinaryInstead[] =
    "  The port receives only frames to its own address and to groups: if it "
    "is to carry those of others, allow MAC address spoofing for this network "
    "adapter on the host, then take the port down and up.";
constexpr char kNoFilter[] =
    "  The port receives nothing: look for what the host's policy forbids "
    "this network adapter, then take the port down and up.";

class DeviceImpl final : public Device,
                         public std::enable_shared_from_this<DeviceImpl> {
public:
    explicit DeviceImpl(const Guid &guid) : guid_(guid) {}

    Status take(const std::string &owner, const DeviceRequest &request,
                int numa_node, DeviceObserver *observer);
    Status start();

    void disown() override;
    void request(const DeviceRequest &request) override;
    std::shared_ptr<Session> adopt_session(unsigned n_txq) override;
    DeviceStatus status() const override;
    bool
    owned() const
    {
        std::lock_guard lock(lock_);
        return !owner_.empty();
    }
    Statistics statistics() const override;
    const Guid &
    guid() const override
    {
        return guid_;
    }

private:
    /* Control thread. */
    void run();
    Status serve();
    Result<std::shared_ptr<Session>> open_session(const DeviceInfo &info);
    void describe(const DeviceInfo &info,
                  const std::shared_ptr<Session> &session);
    Status run_session(Session *session);
    Status apply_filter(Session *session, uint32_t wanted);
    void end_session(std::shared_ptr<Session> session, Status outcome);
    void handle_indication(const Indication &indication);
    uint32_t wanted_filter(const Session *session) const;
    bool must_stop() const;
    void set_state(DeviceState state, std::string error);
    void update_link();
    void wait_before_retry(const Error &error);
    /* The claim that is served ended: what is learned of the device from now
     * on is nobody's business.  lock_ is held. */
    bool
    stale() const
    {
        return owner_.empty() || serving_ != epoch_;
    }
    void notify(bool session);

    /* Makes the control thread look at what changed.  lock_ is held. */
    void
    kick()
    {
        kicked_.store(true, std::memory_order_release);
        changed_.notify_all();
        if (uio_) {
            uio_->wake();
        }
    }

    const Guid guid_;

    mutable std::mutex lock_;
    std::condition_variable changed_;
    std::string owner_;    /* Port; empty: no claim. */
    uint64_t epoch_ = 0;   /* Claims so far. */
    uint64_t serving_ = 0; /* The claim that the control thread serves. */
    DeviceRequest request_;
    DeviceRequest applied_; /* What the session was attached with. */
    DeviceStatus status_;
    std::shared_ptr<Uio> uio_;          /* Of the session, for kick(). */
    std::shared_ptr<Session> prepared_; /* For adopt_session(). */
    std::shared_ptr<Session> adopted_;  /* In the data path. */
    std::shared_ptr<Session> counting_; /* Statistics not yet in past_. */
    Statistics past_;
    uint16_t generation_ = 0;
    seconds retry_ = kFirstRetry;
    bool media_up_ = false;  /* As the host says. */
    bool receiving_ = false; /* The packet filter lets frames in. */

    std::atomic<bool> kicked_{false};
    /* Ends the waits of an attach or a session whose claim ended; the next
     * serve() starts with it clear. */
    std::atomic<bool> cancelled_{false};

    /* Held during a callback: disown() waits for it.  Taken before lock_. */
    std::mutex observer_lock_;
    DeviceObserver *observer_ = nullptr;
};

/* The process's devices.  Never destroyed: ovs-vswitchd ends by exit() while
 * control threads still run. */
struct Registry {
    std::mutex lock;
    std::condition_variable closed; /* A device left. */
    std::map<Guid, std::shared_ptr<DeviceImpl>> devices;
};

Registry &
registry()
{
    static auto *the = new Registry;
    return *the;
}

/* --- The port's side ------------------------------------------------------
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
    past_ = {};
    counting_.reset();
    prepared_.reset();
    /* A port's queues are given to a PMD thread before there is a session. */
    status_.numa_node = numa_node;
    request_ = request;
    epoch_++;
    retry_ = kFirstRetry;
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

/* --- The control thread ---------------------------------------------------
 */

void
DeviceImpl::run()
{
    for (;;) {
        {
            /* Nobody wants the device: leave, unless somebody claims it just
             * now (claim() holds the registry's lock, too). */
            std::lock_guard registry_lock(registry().lock);
            std::lock_guard lock(lock_);
            if (owner_.empty()) {
                registry().devices.erase(guid_);
                registry().closed.notify_all();
                status_.state = DeviceState::kClosed;
                return;
            }
        }
        if (Status done = serve(); !done) {
            wait_before_retry(done.error());
        }
    }
}

/* One life of the device: open, attach, run, detach. */
Status
DeviceImpl::serve()
{
    {
        std::lock_guard lock(lock_);
        serving_ = epoch_;
        cancelled_ = false;
        if (owner_.empty()) {
            return ok();
        }
        /* From here on a claim that ends cancels us. */
        status_.state = DeviceState::kOpening;
        applied_ = request_;
    }
    auto info = check_device(guid_);
    if (!info) {
        return info.error();
    }
    auto session = open_session(*info);
    if (!session) {
        return session.error();
    }
    describe(*info, *session);
    notify(true);
    Status outcome = run_session(session->get());
    end_session(std::move(*session), outcome);
    return outcome;
}

Result<std::shared_ptr<Session>>
DeviceImpl::open_session(const DeviceInfo &info)
{
    auto opened = open_uio(info);
    if (!opened) {
        return opened.error();
    }
    std::shared_ptr<Uio> uio = std::move(*opened);
    Session::Options options;
    {
        std::lock_guard lock(lock_);
        uio_ = uio;
        options.mtu = applied_.mtu;
        /* 0 is no generation, so that an id of zeros is never valid. */
        generation_ = generation_ == UINT16_MAX ? 1 : generation_ + 1;
        options.generation = generation_;
    }
    set_state(DeviceState::kAttaching, "");
    auto session = Session::attach(uio, info, options, &cancelled_);
    if (!session) {
        std::lock_guard lock(lock_);
        uio_.reset();
    }
    return session;
}

void
DeviceImpl::describe(const DeviceInfo &info,
                     const std::shared_ptr<Session> &session)
{
    const Negotiated &negotiated = session->negotiated();
    std::lock_guard lock(lock_);
    if (stale()) {
        return; /* run_session() will say goodbye. */
    }
    DeviceStatus &s = status_;
    s.state = DeviceState::kReady;
    s.error.clear();
    s.mac = negotiated.mac;
    s.mtu = negotiated.mtu;
    s.max_mtu = session->max_mtu();
    media_up_ = negotiated.link_up;
    s.link_speed = negotiated.link_speed;
    s.n_rxq = session->n_rxq();
    s.max_rx_queues = negotiated.max_rx_queues;
    s.uio = info.uio;
    s.relid = info.relid;
    s.monitor_id = info.monitor_id;
    s.numa_node = info.numa_node;
    s.nvsp_version = negotiated.nvsp_version;
    s.ndis_major = negotiated.ndis_major;
    s.ndis_minor = negotiated.ndis_minor;
    s.receive_suballocs = negotiated.receive_suballocs;
    s.receive_suballoc_size = negotiated.receive_suballoc_size;
    s.send_sections = session->send_sections();
    s.send_section_size = negotiated.send_section_size;
    s.max_packets_per_message = negotiated.max_packets_per_message;
    s.sessions++;
    receiving_ = false;
    update_link();
    retry_ = kFirstRetry;
    prepared_ = session;
    counting_ = prepared_;
}

/* Success: the session is no longer wanted.  Else: it broke. */
Status
DeviceImpl::run_session(Session *session)
{
    uint32_t filter = 0;
    for (;;) {
        uint32_t wanted = wanted_filter(session);
        if (must_stop()) {
            return ok();
        }
        if (wanted != filter) {
            if (wanted != 0) {
                session->control().reader_arrived();
            }
            Status set = apply_filter(session, wanted);
            if (!set) {
                return must_stop() ? ok() : set;
            }
            filter = wanted;
        }
        std::optional<Indication> indication;
        Status waited =
            session->control().wait_until(Clock::time_point::max(), [&] {
                indication = session->mailbox().take_indication();
                return indication ||
                       kicked_.exchange(false, std::memory_order_acquire);
            });
        if (!waited) {
            return must_stop() ? ok() : waited;
        }
        if (indication) {
            handle_indication(*indication);
        }
    }
}

/* A host whose policy refuses a promiscuous guest may still let in what is
 * meant for it: the port works with what it gets, and says so. */
Status
DeviceImpl::apply_filter(Session *session, uint32_t wanted)
{
    auto refused = [](const Status &status) {
        return !status && status.error().code == EPERM;
    };
    Status set = set_packet_filter(&session->control(), wanted);
    Status done = set;
    if (refused(set) && wanted == kPromiscuousFilter) {
        done = set_packet_filter(&session->control(), kOrdinaryFilter);
    }
    if (!done && !refused(done)) {
        return done;
    }
    std::string error;
    if (!set) {
        error = set.error().message + (done ? kOrdinaryInstead : kNoFilter);
    }
    {
        std::lock_guard lock(lock_);
        if (stale()) {
            return ok();
        }
        status_.error = std::move(error);
        receiving_ = done && wanted != 0;
        update_link();
    }
    notify(false);
    return ok();
}

void
DeviceImpl::end_session(std::shared_ptr<Session> session, Status outcome)
{
    {
        std::lock_guard lock(lock_);
        status_.state = DeviceState::kDetaching;
        media_up_ = false;
        if (!stale()) {
            update_link();
            if (!outcome) {
                status_.error = outcome.error().message;
            }
        }
        prepared_.reset();
    }
    notify(true);
    {
        /* The main thread takes the session out of the data path. */
        std::unique_lock lock(lock_);
        changed_.wait(lock, [&] { return adopted_ != session; });
        cancelled_ = false;
    }
    session->control().reader_left();
    if (outcome) {
        /* Nobody reads any more: what the host still says is for us.  If it
         * does not answer, the close below ends the session all the same. */
        session->control().set_reply_deadline(kGoodbyeDeadline);
        (void) session->detach();
    }
    {
        std::lock_guard lock(lock_);
        if (counting_ == session) {
            past_ += session->statistics();
            counting_.reset();
        }
        uio_.reset();
    }
    /* With no lock held.  Not left to the last reference: the port may drop
     * its own a moment later, and the next open() must come after this. */
    session->close();
}

void
DeviceImpl::handle_indication(const Indication &indication)
{
    {
        std::lock_guard lock(lock_);
        if (stale()) {
            return;
        }
        switch (indication.status) {
        case wire::rndis::kStatusMediaConnect:
            media_up_ = true;
            break;
        case wire::rndis::kStatusMediaDisconnect:
            media_up_ = false;
            break;
        case wire::rndis::kStatusNetworkChange:
            /* Addresses may have changed: a carrier that went and came. */
            status_.link_resets += status_.link_up;
            break;
        case wire::rndis::kStatusLinkSpeedChange:
            if (!indication.has_value) {
                return;
            }
            status_.link_speed =
                uint64_t{indication.value} * wire::oid::kLinkSpeedUnit;
            break;
        default:
            return; /* Offload changes: none are in use. */
        }
        update_link();
    }
    notify(false);
}

uint32_t
DeviceImpl::wanted_filter(const Session *session) const
{
    std::lock_guard lock(lock_);
    if (adopted_.get() != session || !request_.up) {
        return 0; /* Nobody would read what it lets in. */
    }
    return request_.promiscuous ? kPromiscuousFilter : kOrdinaryFilter;
}

/* Claim gone, or a request that takes a new session. */
bool
DeviceImpl::must_stop() const
{
    std::lock_guard lock(lock_);
    return stale() || request_.mtu != applied_.mtu;
}

void
DeviceImpl::set_state(DeviceState state, std::string error)
{
    std::lock_guard lock(lock_);
    status_.state = state;
    if (!error.empty()) {
        status_.error = std::move(error);
    }
}

/* A link that is up carries traffic: whoever waits for it may send.  lock_ is
 * held. */
void
DeviceImpl::update_link()
{
    bool up = media_up_ && (receiving_ || !request_.up);
    status_.link_resets += status_.link_up && !up;
    status_.link_up = up;
}

void
DeviceImpl::wait_before_retry(const Error &error)
{
    seconds pause = kAbsentInterval;
    {
        std::lock_guard lock(lock_);
        if (stale()) {
            return; /* The next claim starts with a clean slate. */
        }
        bool absent = error.code == ENOENT || error.code == ENODEV ||
                      error.code == EBUSY;
        status_.state =
            absent ? DeviceState::kRescinded : DeviceState::kFailed;
        status_.error = error.message;
        if (!absent) {
            pause = retry_;
            retry_ = std::min(retry_ * 2, kLongestRetry);
        }
    }
    notify(false);
    std::unique_lock lock(lock_);
    changed_.wait_for(lock, pause, [&] { return stale(); });
}

/* Tells the port, if there is one.  lock_ is not held. */
void
DeviceImpl::notify(bool session)
{
    std::lock_guard lock(observer_lock_);
    if (observer_) {
        if (session) {
            observer_->session_changed();
        }
        observer_->status_changed();
    }
}

} // namespace

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
        entry = std::make_shared<DeviceImpl>(guid);
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
