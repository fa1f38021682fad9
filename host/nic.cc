#include "host/nic.h"

#include <algorithm>
#include <ctime>

#include <nlohmann/json.hpp>
#include <sched.h>
#include <sys/prctl.h>

#include "host/base/error.h"
#include "host/base/log.h"
#include "host/wires/generator_backend.h"
#include "host/wires/pcap_backend.h"
#include "host/wires/tap.h"

namespace netvsc::host {

OpenPcap open_pcap;

namespace {

/* The worker spins this long after the last work: the gap between two bursts
 * of a busy wire, and about what one sleep and wake-up costs. */
constexpr uint64_t kSpinNs = 20'000;

/* Commands and descriptors may wait so long for a busy worker: to look for
 * them costs a system call, as much as a round of small frames. */
constexpr uint64_t kPollNs = 20'000;

/* After 10 ms without traffic the monitor page is examined once a
 * millisecond: ten NICs then cost 1% of a core. */
constexpr uint64_t kIdleAfterNs = 10'000'000;
constexpr uint64_t kIdleIntervalNs = 1'000'000;

/* Timers of the worker are to be exact; the default slack is 50 us. */
constexpr unsigned long kTimerSlackNs = 1;

uint64_t
monotonic_ns()
{
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u +
           static_cast<uint64_t>(now.tv_nsec);
}

std::unique_ptr<Backend>
make_backend(const NicConfig &config, PeerQueues &peers, Counters &counters)
{
    if (!config.tap.empty()) {
        return std::make_unique<TapBackend>(config.tap, config.mtu,
                                            counters.wire);
    }
    if (!config.peer.empty()) {
        return std::make_unique<PeerBackend>(
            peers.between(config.peer, config.guid),
            peers.between(config.guid, config.peer), counters.wire);
    }
    if (config.generator) {
        return std::make_unique<GeneratorBackend>(config, counters.wire);
    }
    if (config.pcap) {
        if (!open_pcap) {
            throw HostError("NIC " + config.guid +
                            " has a capture for a wire, which this program "
                            "is built without; use netvsc-host.");
        }
        return open_pcap(*config.pcap, config.guid, counters.wire);
    }
    return std::make_unique<NullBackend>(counters.wire);
}

} // namespace

const char *
to_text(SessionEnd end)
{
    switch (end) {
    case SessionEnd::kClosed:
        return "closed";
    case SessionEnd::kRescinded:
        return "rescinded";
    case SessionEnd::kHostExit:
        return "host exit";
    case SessionEnd::kProtocolError:
        break;
    }
    return "protocol error";
}

Nic::Nic(const NicConfig &config, uint32_t number, PeerQueues &peers,
         TraceFile *trace)
    : config_(config), number_(number), trace_file_(trace),
      backend_(make_backend(config_, peers, counters_)),
      generator_(backend_->generator())
{
    if (backend_->event_fd() >= 0) {
        loop_.watch(backend_->event_fd(), [this] { awake_ = true; });
    }
    worker_ = std::thread([this] { work(); });
}

Nic::~Nic()
{
    call([this] { stopping_ = true; });
    worker_.join();
}

NicStatus
Nic::status()
{
    NicStatus status;
    call([&] {
        status.counters = counters_;
        status.link_up = link_up_;
        status.state = session_ ? session_->state() : "closed";
        if (session_) {
            status.nvsp_version =
                nvsp_version_text(session_->agreement().version);
            status.filter = session_->filter();
            update_books();
        }
        status.books = books_;
        if (generator_) {
            status.load = {generator_->pace(), generator_->counters(),
                           backend_->sink()->counters(),
                           generator_->round_trips().times()};
        }
    });
    return status;
}

void
Nic::set_pace(const Pace &pace)
{
    call([&] {
        if (!generator_) {
            throw HostError("NIC " + config_.guid +
                            " has no generator; give it generate=.");
        }
        generator_->set_pace(pace);
        awake_ = true;
    });
}

void
Nic::set_link(bool up)
{
    call([&] {
        link_up_ = up;
        awake_ = true;
        log(config_.guid, up ? "link up" : "link down");
        if (session_ && !session_->failed()) {
            session_->set_link(up);
            trace_event({{"event", "link"}, {"up", up}});
        }
    });
}

/* --- Sessions ---------------------------------------------------------- */

void
Nic::open(FrontEnd &front_end, ChannelLink &primary, const ChannelInfo &info)
{
    counters_.sessions++;
    auto number = static_cast<uint32_t>(counters_.sessions);
    trace_ = Trace(trace_file_, number_, number);
    session_ = std::make_unique<NetVsp>(config_, front_end, primary, *backend_,
                                        counters_, trace_, link_up_);
    awake_ = true;
    trace_open_ = true;
    log_guest(config_.guid, "session " + std::to_string(number) + " opened");

    Json json;
    json["guid"] = config_.guid;
    json["mac"] = to_text(config_.mac);
    json["mtu"] = config_.mtu;
    json["relid"] = info.relid;
    json["monitor_id"] = info.monitor_id;
    json["ring_bytes"] = primary.to_guest_ring().size() - wire::kPageSize;
    json["receive_buffer"] = front_end.gpadl(info.receive_gpadl).size();
    json["send_buffer"] = front_end.gpadl(info.send_gpadl).size();
    json["receive_gpadl"] = info.receive_gpadl;
    json["send_gpadl"] = info.send_gpadl;
    json["section_size"] = config_.section_size;
    /* Unknown: it follows from the MTU that the guest is going to ask. */
    json["suballoc_size"] = 0;
    json["packets_per_message"] = config_.packets_per_message;
    json["alignment_shift"] = config_.alignment_shift;
    json["speed"] = config_.speed;
    trace_.text(TraceKind::kSessionOpen, json.dump());
}

void
Nic::close(SessionEnd reason)
{
    if (!session_) {
        return;
    }
    if (reason == SessionEnd::kClosed) {
        session_->finish();
    }
    log_guest(config_.guid, "session " + std::to_string(counters_.sessions) +
                                " ended: " + to_text(reason));
    end_trace(reason);
    update_books();
    books_.suballocs_outstanding = books_.sends_outstanding = 0;
    session_.reset();
    awake_ = true;
}

void
Nic::open_subchannel(uint32_t index, ChannelLink &link)
{
    if (session_) {
        session_->open_subchannel(index, link);
        awake_ = true;
    }
}

void
Nic::close_subchannel(uint32_t index)
{
    if (session_) {
        session_->close_subchannel(index);
    }
}

void
Nic::update_books()
{
    books_ = {};
    books_.channels = session_->channel_books();
    books_.messages = session_->messages();
    books_.completed = session_->completed();
    if (const auto &ledger = session_->receive_buffer().ledger()) {
        books_.suballocs = ledger->count();
        books_.issued = ledger->issued();
        books_.returned = ledger->returned();
    }
    books_.suballocs_outstanding = books_.issued - books_.returned;
    books_.sends_outstanding = books_.messages - books_.completed;
}

void
Nic::end_trace(SessionEnd reason)
{
    if (!std::exchange(trace_open_, false)) {
        return;
    }
    update_books();
    Json json;
    json["reason"] = to_text(reason);
    json["issued"] = books_.issued;
    json["returned"] = books_.returned;
    json["outstanding"] = books_.suballocs_outstanding;
    json["tx_messages"] = books_.messages;
    json["tx_completed"] = books_.completed;
    if (session_->failed()) {
        json["error"] = session_->error();
    }
    trace_.text(TraceKind::kSessionClose, json.dump());
    trace_.flush();
}

void
Nic::trace_irq_control(bool unmask)
{
    trace_event({{"event", "irq-control"}, {"value", unmask ? 1 : 0}});
}

void
Nic::trace_gpadl(uint32_t handle, size_t size)
{
    trace_event({{"event", "gpadl"}, {"handle", handle}, {"bytes", size}});
}

/* A session's close record is its last. */
void
Nic::trace_event(const Json &event)
{
    if (trace_open_) {
        trace_.text(TraceKind::kEvent, event.dump());
    }
}

/* --- The worker -------------------------------------------------------- */

void
Nic::work()
{
    prctl(PR_SET_TIMERSLACK, kTimerSlackNs);
    round_ns_ = monotonic_ns();
    bool busy = false;
    while (!stopping_) {
        if (!awake_) {
            sleep();
            continue;
        }
        uint64_t now = monotonic_ns();
        (busy ? counters_.busy_ns : counters_.idle_ns) += now - round_ns_;
        round_ns_ = now;
        busy = serve(now);
        if (busy) {
            busy_ns_ = now;
        } else if (spins()) {
            /* Another NIC may have the same core. */
            sched_yield();
        } else if (now - busy_ns_ >= kSpinNs && fall_asleep(now)) {
            continue;
        }
        if (now - polled_ns_ >= kPollNs) {
            polled_ns_ = now;
            loop_.wait(0);
        }
    }
}

/* Measurements must not wait for a sleeper. */
bool
Nic::spins() const
{
    return generator_ && generator_->pace().kind != Pace::Kind::kNone &&
           session_ && !session_->failed();
}

unsigned
Nic::fill(unsigned frames)
{
    /* It told the guest not to signal: the worker must look by itself. */
    awake_ = true;
    return session_ ? session_->fill(frames, monotonic_ns()) : 0;
}

bool
Nic::serve(uint64_t now_ns)
{
    if (!session_) {
        return drop_frames(*backend_, counters_.rx.dropped_no_session) != 0;
    }
    bool busy = session_->serve(now_ns);
    if (session_->failed()) {
        end_trace(SessionEnd::kProtocolError);
    }
    return busy;
}

bool
Nic::fall_asleep(uint64_t now_ns)
{
    if (session_ && !session_->prepare_sleep()) {
        return false;
    }
    bool wants_frames = !session_ || session_->wants_frames(now_ns);
    if (wants_frames && !backend_->prepare_sleep()) {
        return false;
    }
    if (backend_->gone() && !std::exchange(wire_gone_, true)) {
        /* It would be "readable" for ever. */
        loop_.forget(backend_->event_fd());
        log(config_.guid, "the device at the other end of the wire is gone");
    }
    loop_.enable(backend_->event_fd(), wants_frames);
    trace_.flush();
    awake_ = false;
    return true;
}

void
Nic::sleep()
{
    uint64_t now = monotonic_ns();
    uint64_t due = EventLoop::kForever;
    uint64_t timeout = EventLoop::kForever;
    if (session_ && !session_->failed()) {
        due = session_->next_due_ns(now);
        timeout = session_->signal_interval_ns();
        if (now - busy_ns_ >= kIdleAfterNs) {
            timeout = std::max(timeout, kIdleIntervalNs);
        }
        timeout = std::min(timeout, due - std::min(due, now));
    }
    loop_.wait(timeout);

    /* Only what concerns the data path wakes it: the wire (by its handler),
     * the guest's signal, or the time. */
    if (session_ && !session_->failed() &&
        (session_->take_signal() || monotonic_ns() >= due)) {
        awake_ = true;
    }
    counters_.wakeups += awake_;
}

} // namespace netvsc::host
