/* The control thread of a device: opens, attaches, watches, detaches. */

#include "driver/device_impl.h"

#include <algorithm>
#include <exception>
#include <new>
#include <optional>

#include <errno.h>

#include "driver/attach_rndis.h"
#include "wire/oid.h"
#include "wire/rndis.h"

namespace netvsc {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/* How often to look for a device that is not there, or that another process
 * has: a few files, nothing that the host would notice. */
constexpr seconds kAbsentInterval{1};
/* Goodbye is a courtesy: the close that follows says it all. */
constexpr seconds kGoodbyeDeadline{5};
/* A host that talks without end (a link that flaps) has the port told so
 * often and no more: each time OVS's main thread wakes and writes to its
 * database.  The first change is passed on at once. */
constexpr milliseconds kNewsInterval{100};

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

/* Without memory there is not even room for a long sentence. */
void
assign(std::string *to, const std::string &text) noexcept
{
    try {
        *to = text;
    } catch (...) {
        *to = "Out of memory."; /* Fits into every std::string. */
    }
}

Error
make_error(int code, const char *text) noexcept
{
    Error error{code, {}};
    try {
        error.message = text;
    } catch (...) {
        error.message = "Out of memory.";
    }
    return error;
}

/* Runs `work`.  Whatever it throws ends the session, and not the switch. */
template <typename Work>
Status
guarded(const Work &work) noexcept
{
    try {
        return work();
    } catch (const std::bad_alloc &) {
        return make_error(ENOMEM,
                          "There was no memory for the network device: give "
                          "ovs-vswitchd, or its control group, more.");
    } catch (const std::exception &error) {
        return make_error(EIO, error.what());
    } catch (...) {
        return make_error(EIO, "The driver failed for an unknown reason.");
    }
}

long long
whole_seconds(SendWatchdog::Clock::duration duration)
{
    return std::chrono::duration_cast<seconds>(duration).count();
}

} // namespace

void
DeviceImpl::run() noexcept
{
    do {
        for (bool wanted = owned(); wanted; wanted = owned()) {
            Status done = guarded([&] { return serve(); });
            {
                std::lock_guard lock(lock_);
                uio_.reset();
            }
            if (!done) {
                wait_before_retry(done.error());
            }
        }
    } while (!leave_(this));
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
        failure_ = Failure::kAbsent;
        lived_ = {};
    }
    auto info = check_device(guid_);
    if (!info) {
        return info.error();
    }
    auto session = open_session(*info);
    if (!session) {
        return session.error();
    }
    auto begin = Clock::now();
    Status outcome = guarded([&] {
        describe(*info, *session);
        notify(true);
        return run_session(session->get());
    });
    lived_ = Clock::now() - begin;
    end_session(std::move(*session), outcome);
    return outcome;
}

Result<std::shared_ptr<Session>>
DeviceImpl::open_session(const DeviceInfo &info)
{
    failure_ = Failure::kHost;
    auto opened = open_uio(info);
    if (!opened) {
        if (opened.error().code == EBUSY) {
            failure_ = Failure::kInUse;
        }
        return opened.error();
    }
    std::shared_ptr<Uio> uio = std::move(*opened);
    Session::Options options;
    options.overdue = [this](const std::string &sentence) {
        set_overdue(sentence);
    };
    {
        std::lock_guard lock(lock_);
        uio_ = uio;
        options.mtu = request_.mtu;
        /* 0 is no generation, so that an id of zeros is never valid. */
        generation_ = generation_ == UINT16_MAX ? 1 : generation_ + 1;
        options.generation = generation_;
        status_.state = DeviceState::kAttaching;
        refused_.clear();
    }
    return Session::attach(uio, info, options, &cancelled_);
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
    s.mtu = session->mtu();
    s.max_mtu = session->max_mtu();
    s.max_frame = negotiated.mtu + kEthernetHeader;
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
    prepared_ = session;
    counting_ = prepared_;
}

/* Success: the session is no longer wanted.  Else: it broke. */
Status
DeviceImpl::run_session(Session *session)
{
    HostRequests &requests = session->requests();
    uint32_t filter = 0;
    SendWatchdog watchdog;
    bool news = false; /* That the port has not been told. */
    Clock::time_point next_news;
    for (;;) {
        uint32_t wanted = wanted_filter(session);
        if (must_stop(session)) {
            return ok();
        }
        apply_mtu(session);
        if (wanted != filter) {
            if (wanted != 0) {
                session->readers_arrived();
            }
            Status set = apply_filter(session, wanted);
            if (!set) {
                return must_stop(session) ? ok() : set;
            }
            filter = wanted;
        }
        if (Status alive = watch_sends(session, &watchdog); !alive) {
            return alive;
        }
        auto now = Clock::now();
        if (news && now >= next_news) {
            notify(false);
            news = false;
            next_news = now + kNewsInterval;
        }
        auto until = now + SendWatchdog::kInterval;
        if (news) {
            until = std::min(until, next_news);
        }
        std::optional<HostEvent> event;
        Status waited = requests.wait_until(until, [&] {
            event = session->mailbox().collect_event();
            return event || kicked_.exchange(false, std::memory_order_acquire);
        });
        if (!waited && waited.error().code != ETIMEDOUT) {
            return must_stop(session) ? ok() : waited;
        }
        if (!event) {
            continue;
        }
        if (const auto *indication = std::get_if<Indication>(&*event)) {
            news |= handle_indication(*indication);
        }
        /* From the others nothing follows yet: there is no VF to switch to,
         * and frames leave on the channel of their queue. */
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
    Status set = set_packet_filter(&session->requests(), wanted);
    Status done = set;
    if (refused(set) && wanted == kPromiscuousFilter) {
        done = set_packet_filter(&session->requests(), kOrdinaryFilter);
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
        refused_ = std::move(error);
        update_error();
        receiving_ = done && wanted != 0;
        update_link();
    }
    notify(false);
    return ok();
}

/* An MTU that the session carries takes no new one: only the transmit side
 * knows it. */
void
DeviceImpl::apply_mtu(Session *session)
{
    {
        std::lock_guard lock(lock_);
        uint32_t mtu = std::min(request_.mtu, session->carried_mtu());
        if (stale() || mtu == status_.mtu) {
            return;
        }
        session->set_mtu(mtu);
        status_.mtu = mtu;
    }
    notify(false);
}

Status
DeviceImpl::watch_sends(Session *session, SendWatchdog *watchdog)
{
    auto now = Clock::now();
    if (!watchdog->is_due(now)) {
        return ok();
    }
    auto progress = session->send_progress();
    auto before = watchdog->silence();
    auto silence =
        watchdog->look(now, progress.completed, progress.outstanding);
    auto what = [&] {
        return "The host has completed none of the " +
               std::to_string(progress.outstanding) +
               " messages that it was sent for " +
               std::to_string(whole_seconds(silence)) + " s: ";
    };
    if (silence >= SendWatchdog::kDead) {
        return Error{ETIMEDOUT, what() + "the device was closed, to be "
                                         "opened anew.  If that does not "
                                         "help, look at the load of the host "
                                         "and at the adapter's state there."};
    }
    bool overdue = silence >= SendWatchdog::kOverdue;
    if (overdue == (before >= SendWatchdog::kOverdue)) {
        return ok(); /* Said before, or nothing to say. */
    }
    if (!overdue) {
        set_overdue("");
    } else {
        set_overdue(what() +
                    "look at its load, and at the adapter's state there.  "
                    "The device is opened anew after " +
                    std::to_string(SendWatchdog::kDead.count()) + " s.");
    }
    return ok();
}

/* Says what the host has not done for a while; nothing: it has. */
void
DeviceImpl::set_overdue(const std::string &sentence)
{
    {
        std::lock_guard lock(lock_);
        if (stale() || sentence == overdue_) {
            return;
        }
        overdue_ = sentence;
        update_error();
    }
    notify(false);
}

/* True if there is something to tell the port. */
bool
DeviceImpl::handle_indication(const Indication &indication)
{
    std::lock_guard lock(lock_);
    if (stale()) {
        return false;
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
            return false;
        }
        status_.link_speed =
            uint64_t{indication.value} * wire::oid::kLinkSpeedUnit;
        break;
    default:
        return false; /* Offload changes: none are in use. */
    }
    update_link();
    return true;
}

void
DeviceImpl::end_session(std::shared_ptr<Session> session,
                        const Status &outcome) noexcept
{
    {
        std::lock_guard lock(lock_);
        status_.state = DeviceState::kDetaching;
        media_up_ = false;
        overdue_.clear();
        if (!stale()) {
            update_link();
            if (!outcome) {
                assign(&status_.error, outcome.error().message);
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
    session->readers_left();
    if (outcome) {
        /* Nobody reads any more: what the host still says is for us.  If it
         * does not answer, the close below ends the session all the same. */
        (void) guarded([&] {
            session->requests().set_reply_deadline(kGoodbyeDeadline);
            return session->detach();
        });
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
DeviceImpl::must_stop(const Session *session) const
{
    std::lock_guard lock(lock_);
    return stale() ||
           std::min(request_.mtu, session->max_mtu()) > session->carried_mtu();
}

/* A link that is up carries traffic: whoever waits for it may send. */
void
DeviceImpl::update_link()
{
    bool up = media_up_ && (receiving_ || !request_.up);
    status_.link_resets += status_.link_up && !up;
    status_.link_up = up;
}

void
DeviceImpl::wait_before_retry(const Error &error) noexcept
{
    seconds pause = kAbsentInterval;
    {
        std::lock_guard lock(lock_);
        if (stale()) {
            return; /* The next claim starts with a clean slate. */
        }
        bool absent = error.code == ENOENT || error.code == ENODEV ||
                      error.code == EBUSY;
        status_.state = failure_ == Failure::kInUse ? DeviceState::kInUse
                        : absent                    ? DeviceState::kRescinded
                                                    : DeviceState::kFailed;
        assign(&status_.error, error.message);
        if (failure_ == Failure::kHost) {
            pause = retry_.after_failure(lived_);
        }
    }
    notify(false);
    std::unique_lock lock(lock_);
    changed_.wait_for(lock, pause, [&] { return stale(); });
}

/* Tells the port, if there is one. */
void
DeviceImpl::notify(bool session) noexcept
{
    std::lock_guard lock(observer_lock_);
    if (observer_) {
        if (session) {
            observer_->session_changed();
        }
        observer_->status_changed();
    }
}

} // namespace netvsc
