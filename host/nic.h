/* A NIC of the host: its wire, its worker thread and, while a guest has it
 * open, its session.
 *
 * The worker serves guest and wire in turns as long as there is traffic.  Then
 * it sleeps: in epoll for the wire and for commands, and with a timer for the
 * guest, whose only signal is a bit in shared memory that wakes nobody. */

#pragma once

#include <thread>

#include <nlohmann/json_fwd.hpp>

#include "host/base/event_loop.h"
#include "host/netvsp/netvsp.h"
#include "host/wires/peer.h"

namespace netvsc::host {

/* What the trace tells about a channel, from its front end.  A GPADL that is
 * not known when the channel opens is 0. */
struct ChannelInfo {
    uint32_t relid;
    uint32_t monitor_id;
    uint32_t receive_gpadl;
    uint32_t send_gpadl;
};

/* Why a session ended. */
enum class SessionEnd { kClosed, kRescinded, kHostExit, kProtocolError };
/* As the trace says it. */
[[nodiscard]] const char *to_text(SessionEnd end);

/* What the ledgers of a session hold. */
struct SessionBooks {
    uint32_t suballocs = 0;
    uint64_t issued = 0; /* Sub-allocations. */
    uint64_t returned = 0;
    uint64_t messages = 0; /* RNDIS_PKT messages from the guest. */
    uint64_t completed = 0;
    /* What a guest that went took along is the host's again. */
    uint64_t suballocs_outstanding = 0;
    uint64_t sends_outstanding = 0;
    std::vector<ChannelBooks> channels; /* Open ones, by index. */
};

/* What generator and sink of a NIC did. */
struct LoadStatus {
    Pace pace;
    GeneratorCounters generator;
    SinkCounters sink;
    RoundTripTimes round_trips;
};

/* A snapshot of everything countable; the books are those of the session, or
 * of the last one after it. */
struct NicStatus {
    Counters counters;
    std::string state;
    std::string nvsp_version;
    bool link_up = true;
    uint32_t filter = 0;
    SessionBooks books;
    std::optional<LoadStatus> load; /* With a generator. */
};

class Nic {
public:
    /* Connects the wire and starts the worker.  Throws HostError. */
    Nic(const NicConfig &config, uint32_t number, PeerQueues &peers,
        TraceFile *trace);
    /* The front end must have closed the session before. */
    ~Nic();

    [[nodiscard]] const NicConfig &
    config() const
    {
        return config_;
    }

    /* Other threads: runs `work` on the worker and waits for it. */
    void
    call(std::function<void()> work)
    {
        loop_.call(std::move(work));
    }
    [[nodiscard]] NicStatus status();
    void set_link(bool up);
    /* Throws HostError when the NIC has no generator. */
    void set_pace(const Pace &pace);

    /* --- On the worker thread only --- */

    [[nodiscard]] EventLoop &
    loop()
    {
        return loop_;
    }
    /* Starts a session on its primary channel, which is open.  Both must live
     * until close(). */
    void open(FrontEnd &front_end, ChannelLink &primary,
              const ChannelInfo &info);
    void close(SessionEnd reason);
    /* A sub-channel of the session opens and closes; `link` must live until
     * then. */
    void open_subchannel(uint32_t index, ChannelLink &link);
    void close_subchannel(uint32_t index);
    /* For a measurement on this thread: takes everything that the guest sent,
     * completes it and, with a generator, puts exactly `frames` frames into
     * the ring.  Returns how many there was room for. */
    unsigned fill(unsigned frames);
    /* Notes in the trace what the guest did outside of the rings. */
    void trace_irq_control(bool unmask);
    /* Notes what a GPADL is that open() did not know. */
    void trace_gpadl(uint32_t handle, size_t size);
    void
    count_protocol_error()
    {
        counters_.protocol_errors++;
    }

private:
    using Json = nlohmann::ordered_json;

    void work();
    [[nodiscard]] bool spins() const;
    [[nodiscard]] bool serve(uint64_t now_ns);
    [[nodiscard]] bool fall_asleep(uint64_t now_ns);
    void sleep();
    void update_books();
    void end_trace(SessionEnd reason);
    void trace_event(const Json &event);

    NicConfig config_;
    uint32_t number_;
    TraceFile *trace_file_;
    Counters counters_;
    std::unique_ptr<Backend> backend_;
    Generator *generator_; /* The backend's, or nullptr. */
    EventLoop loop_;

    std::unique_ptr<NetVsp> session_;
    Trace trace_; /* Of the session, for what is not in the rings. */
    bool trace_open_ = false;
    SessionBooks books_; /* As of the last update_books(). */
    bool link_up_ = true;
    bool wire_gone_ = false;

    bool awake_ = true;
    uint64_t busy_ns_ = 0;   /* When there was last anything to do. */
    uint64_t polled_ns_ = 0; /* When commands were last looked for. */
    uint64_t round_ns_ = 0;  /* When the round began. */
    bool stopping_ = false;
    std::thread worker_; /* Last: it uses all of the above. */
};

} // namespace netvsc::host
