/* One session of a NIC: the network virtual service provider that answers a
 * guest from OPENCHANNEL to close (D).
 *
 * It owns everything a session has (channels, buffers, ledgers, RNDIS device),
 * so that a session that ends takes all of it along and the next one starts
 * clean.  The NIC's worker thread drives it; nothing here blocks. */

#pragma once

#include "host/netvsp/rndis_device.h"
#include "host/netvsp/session_channel.h"
#include "host/netvsp/transmit_path.h"

namespace netvsc::host {

/* What a guest may call an NVSP message: anything with its fields; the rest
 * counts as zero (D.1). */
template <typename T>
[[nodiscard]] std::optional<T>
message_of(const RingPacket &packet)
{
    if (packet.payload.size() < sizeof(T)) {
        return std::nullopt;
    }
    return load<T>(packet.payload);
}

[[nodiscard]] inline bool
wants_completion(const RingPacket &packet)
{
    return packet.desc.flags & wire::kCompletionRequested;
}

/* "6.1" and so on; "" for 0. */
[[nodiscard]] const char *nvsp_version_text(uint32_t version);

/* Frames of this L3 MTU are what a session has that asks for nonsense (D.4).
 */
inline constexpr uint32_t kDefaultMtu = 1500;

class NetVsp {
public:
    /* On the primary channel, which is open.  All must outlive it. */
    NetVsp(const NicConfig &nic, FrontEnd &front_end, ChannelLink &primary,
           Backend &backend, Counters &counters, Trace trace, bool link_up);
    NetVsp(const NetVsp &) = delete;
    NetVsp &operator=(const NetVsp &) = delete;

    /* One round: what the guest sent, what it is owed, what waits on the
     * wire.  True when there was anything to do.  Never blocks, and is
     * bounded; call it again until it is false. */
    [[nodiscard]] bool serve(uint64_t now_ns);

    /* With a generator: serves until nothing is left to do, then puts so many
     * frames more into the ring, whatever the pace, and returns how many there
     * was room for. */
    unsigned fill(unsigned frames, uint64_t now_ns);

    /* The guest closed the channel: reads what it wrote before, such as the
     * revokes of an orderly goodbye.  Nothing goes to the guest any more. */
    void finish();

    /* Tells the guest to signal new packets, and freed space when the host
     * waits for it.  False when there is more to do after all.  serve() after
     * a sleep takes both back. */
    [[nodiscard]] bool prepare_sleep();
    /* How often a sleeper asks take_signal(), which is true when the guest
     * signalled any channel since the last call. */
    [[nodiscard]] uint64_t signal_interval_ns();
    [[nodiscard]] bool take_signal();

    /* When serve() has something to do even without a signal; UINT64_MAX for
     * never. */
    [[nodiscard]] uint64_t next_due_ns(uint64_t now_ns) const;

    /* False while waiting frames must stay where they are: the guest does not
     * read its ring. */
    [[nodiscard]] bool wants_frames(uint64_t now_ns) const;

    void set_link(bool up);

    /* The guest opened or closed the sub-channel with this index, which it
     * was granted.  `link` must outlive its part of the session. */
    void open_subchannel(uint32_t index, ChannelLink &link);
    void close_subchannel(uint32_t index);

    /* The session broke the protocol: nothing is served any more (G.4). */
    [[nodiscard]] bool
    failed() const
    {
        return error_ != nullptr;
    }
    /* "open", "ready" from RNDIS INITIALIZE to HALT, or "failed". */
    [[nodiscard]] const char *state() const;
    [[nodiscard]] const char *
    error() const
    {
        return error_;
    }
    [[nodiscard]] const Agreement &
    agreement() const
    {
        return agreement_;
    }
    [[nodiscard]] uint32_t filter() const;
    [[nodiscard]] const ReceiveBuffer &
    receive_buffer() const
    {
        return receive_buffer_;
    }
    /* Of the open channels, by index. */
    [[nodiscard]] std::vector<ChannelBooks> channel_books() const;
    /* RNDIS_PKT messages of this session. */
    [[nodiscard]] uint64_t
    messages() const
    {
        return messages_;
    }
    [[nodiscard]] uint64_t
    completed() const
    {
        return completed_;
    }

private:
    /* Guest to host. */
    [[nodiscard]] bool accepts_packets(SessionChannel &channel) const;
    bool read_guest(SessionChannel &channel, uint64_t now_ns);
    const char *handle(SessionChannel &channel, const RingPacket &packet,
                       uint64_t now_ns);
    const char *handle_receive_completion(SessionChannel &channel,
                                          const RingPacket &packet);
    const char *handle_init(const RingPacket &packet);
    const char *handle_ndis_config(const RingPacket &packet);
    const char *handle_ndis_version(const RingPacket &packet);
    const char *handle_receive_buffer(const RingPacket &packet);
    const char *handle_send_buffer(const RingPacket &packet);
    const char *handle_revoke(const RingPacket &packet, uint32_t type);
    const char *handle_rndis(SessionChannel &channel, const RingPacket &packet,
                             uint64_t now_ns);
    const char *handle_rndis_data(SessionChannel &channel,
                                  const RingPacket &packet,
                                  const wire::nvsp::SendRndisPacket &nvsp,
                                  uint32_t &status);
    const char *handle_rndis_control(SessionChannel &channel,
                                     const RingPacket &packet,
                                     const wire::nvsp::SendRndisPacket &nvsp);
    const char *handle_data_path_switch(const RingPacket &packet);
    const char *handle_subchannel(const RingPacket &packet, uint64_t now_ns);

    /* Host to guest. */
    const char *reply(const RingPacket &request, Bytes message);
    const char *acknowledge(const RingPacket &request);
    [[nodiscard]] SessionChannel &
    primary()
    {
        return *channels_[0];
    }
    bool flush_control();
    bool flush_completions(SessionChannel &channel, uint64_t now_ns);
    bool deliver(uint64_t now_ns);
    unsigned deliver_frames();
    [[nodiscard]] bool all_take_frames();
    [[nodiscard]] SessionChannel &channel_for(uint32_t index);
    bool offer_subchannels(uint64_t now_ns);
    void announce_table();
    void channels_changed();
    void finish(SessionChannel &channel);
    void lay_out();
    [[nodiscard]] bool delivers() const;
    unsigned generate(uint64_t now_ns);
    unsigned put_frames(unsigned frames);
    void publish();

    void fail(const char *error);
    void log(const std::string &text) const;

    const NicConfig &nic_;
    FrontEnd &front_end_;
    Backend &backend_;
    Generator *generator_; /* Or nullptr, like the next. */
    Sink *sink_;
    Counters &counters_;
    Trace trace_;
    Agreement agreement_;
    ReceiveBuffer receive_buffer_;
    MessageGatherer gatherer_;
    TransmitPath transmit_;
    /* By index, the primary channel first; nullptr for a sub-channel that was
     * granted and is not open. */
    std::vector<std::unique_ptr<SessionChannel>> channels_;
    std::vector<SessionChannel *> open_; /* Of these. */
    /* Sub-channels that are to be offered, and when. */
    uint32_t offers_ = 0;
    uint64_t offers_due_ns_ = 0;
    bool table_sent_ = false;
    /* The generator's layout: for which channels and scaling it is, and the
     * channel that is its turn. */
    bool laid_out_ = false;
    uint32_t laid_out_for_ = 0;
    size_t turn_ = 0;
    /* From the receive buffer on. */
    std::optional<RndisDevice> rndis_;

    /* Which setup messages came: each may once (G.1). */
    bool link_up_;
    bool have_ndis_config_ = false;
    bool have_ndis_version_ = false;
    bool have_receive_buffer_ = false;
    bool have_send_buffer_ = false;

    /* NVSP replies, then RNDIS messages, that wait for room in the ring. */
    struct Reply {
        uint64_t trans_id;
        std::vector<std::byte> message;
        bool notice = false; /* Nobody asked for it. */
    };
    std::deque<Reply> replies_;
    ControlQueue control_;

    uint64_t messages_ = 0;
    uint64_t completed_ = 0;
    /* Since when frames wait for room in the ring, or 0. */
    uint64_t blocked_since_ns_ = 0;
    const char *error_ = nullptr;
};

} // namespace netvsc::host
