#include "host/netvsp/netvsp.h"

#include <algorithm>

#include "host/base/ethernet.h"
#include "host/base/log.h"

namespace netvsc::host {

namespace nvsp = wire::nvsp;

namespace {

/* Ring packets of one round.  Bounded, so that frames for the guest and the
 * NIC's other duties get their turn. */
constexpr unsigned kGuestPackets = 256;

/* Rounds after a close: more than a full ring of the smallest packets needs,
 * but an end for a guest that kept a mapping and goes on writing. */
constexpr unsigned kLastRounds = 512;

/* NVSP replies that may wait for room.  A guest has one request at a time. */
constexpr size_t kMaxReplies = 64;

/* A guest that has not read its ring for so long does not want the frames
 * that wait for it: a switch would have dropped them. */
constexpr uint64_t kHoldNs = 100'000'000;

/* The version that brought a message which came after version 1 (D.2); to an
 * older host it is of an unknown type. */
uint32_t
first_version(uint32_t type)
{
    switch (type) {
    case nvsp::kSendNdisConfig:
        return nvsp::kVersion2;
    case nvsp::kSwitchDataPath:
        return nvsp::kVersion4;
    case nvsp::kSubchannel:
        return nvsp::kVersion5;
    default:
        return 0;
    }
}

} // namespace

NetVsp::NetVsp(const NicConfig &nic, FrontEnd &front_end, ChannelLink &primary,
               Backend &backend, Counters &counters, Trace trace, bool link_up)
    : nic_(nic), front_end_(front_end), backend_(backend),
      generator_(backend.generator()), sink_(backend.sink()),
      counters_(counters), trace_(std::move(trace)), receive_buffer_(nic),
      gatherer_(front_end.memory()),
      transmit_(nic, agreement_, backend, counters), link_up_(link_up)
{
    agreement_.mtu = std::min(nic.mtu, kDefaultMtu);
    channels_.push_back(std::make_unique<SessionChannel>(
        nic, receive_buffer_, 0, primary, counters, trace_));
    channels_changed();
}

/* --- The worker's round ------------------------------------------------ */

bool
NetVsp::serve(uint64_t now_ns)
{
    if (failed()) {
        return drop_frames(backend_, counters_.rx.dropped_no_session) != 0;
    }
    bool busy = false;
    for (SessionChannel *channel : open_) {
        channel->begin_round();
        busy |= read_guest(*channel, now_ns);
        if (failed()) {
            break;
        }
    }
    if (!failed()) {
        busy |= flush_control();
        for (SessionChannel *channel : open_) {
            busy |= flush_completions(*channel, now_ns);
        }
        busy |= deliver(now_ns);
        for (SessionChannel *channel : open_) {
            if (const char *fault = channel->ring().fault()) {
                fail(fault);
                break;
            }
        }
    }
    backend_.flush();
    if (failed()) {
        return true;
    }
    publish();
    return offer_subchannels(now_ns) || busy;
}

void
NetVsp::publish()
{
    for (SessionChannel *channel : open_) {
        channel->ring().publish();
    }
}

void
NetVsp::finish()
{
    for (SessionChannel *channel : open_) {
        finish(*channel);
    }
}

/* The guest closed it: what it wrote before. */
void
NetVsp::finish(SessionChannel &channel)
{
    for (unsigned i = 0; i < kLastRounds && !failed(); i++) {
        if (!read_guest(channel, 0)) {
            break;
        }
        flush_completions(channel, UINT64_MAX);
    }
    backend_.flush();
}

bool
NetVsp::prepare_sleep()
{
    if (failed()) {
        return true;
    }
    for (SessionChannel *channel : open_) {
        if (!channel->prepare_sleep(accepts_packets(*channel))) {
            return false;
        }
    }
    return true;
}

uint64_t
NetVsp::signal_interval_ns()
{
    uint64_t interval = UINT64_MAX;
    for (SessionChannel *channel : open_) {
        interval = std::min(interval, channel->link().signal_interval_ns());
    }
    return interval;
}

bool
NetVsp::take_signal()
{
    bool signalled = false;
    for (SessionChannel *channel : open_) {
        signalled |= channel->link().take_signal();
    }
    return signalled;
}

uint64_t
NetVsp::next_due_ns(uint64_t now_ns) const
{
    uint64_t due = UINT64_MAX;
    if (failed()) {
        return due;
    }
    for (const SessionChannel *channel : open_) {
        due = std::min(due, channel->next_due_ns());
    }
    if (!wants_frames(now_ns)) {
        due = std::min(due, blocked_since_ns_ + kHoldNs);
    }
    if (offers_ && replies_.empty()) {
        due = std::min(due, offers_due_ns_);
    }
    return due;
}

bool
NetVsp::wants_frames(uint64_t now_ns) const
{
    return !blocked_since_ns_ || now_ns - blocked_since_ns_ >= kHoldNs;
}

void
NetVsp::set_link(bool up)
{
    link_up_ = up;
    if (rndis_) {
        rndis_->set_link(up, control_);
    }
}

const char *
NetVsp::state() const
{
    if (failed()) {
        return "failed";
    }
    return rndis_ && rndis_->running() ? "ready" : "open";
}

uint32_t
NetVsp::filter() const
{
    return rndis_ ? rndis_->oids().filter() : 0;
}

/* --- Guest to host ----------------------------------------------------- */

/* A guest that is owed much has to wait for it before it sends more. */
bool
NetVsp::accepts_packets(SessionChannel &channel) const
{
    return !channel.completions().full() && replies_.size() < kMaxReplies;
}

bool
NetVsp::read_guest(SessionChannel &channel, uint64_t now_ns)
{
    RingPacket packet;
    for (unsigned i = 0; i < kGuestPackets; i++) {
        if (!accepts_packets(channel)) {
            return i != 0;
        }
        if (channel.ring().read(packet) != IncomingRing::Result::kPacket) {
            return i != 0; /* A broken ring is found after the round. */
        }
        if (const char *error = handle(channel, packet, now_ns)) {
            fail(error);
            return true;
        }
    }
    return true;
}

const char *
NetVsp::handle(SessionChannel &channel, const RingPacket &packet,
               uint64_t now_ns)
{
    if (packet.desc.type == wire::kPacketCompletion) {
        return handle_receive_completion(channel, packet);
    }
    if (packet.desc.type != wire::kPacketInband &&
        packet.desc.type != wire::kPacketGpaDirect) {
        return "VMBus packet of a type that no guest sends";
    }
    auto type = message_of<uint32_t>(packet);
    if (!type) {
        return "NVSP message without a type";
    }
    if (packet.desc.type == wire::kPacketGpaDirect &&
        *type != nvsp::kSendRndisPacket) {
        return "GPA-direct packet that is not RNDIS_PKT";
    }
    if (channel.index() && *type != nvsp::kSendRndisPacket) {
        return "NVSP message on a sub-channel, which only carries frames";
    }
    if (*type != nvsp::kInit && !agreement_.version) {
        return "NVSP message before INIT";
    }
    if (agreement_.version < first_version(*type)) {
        return "NVSP message that the agreed version does not have";
    }
    switch (*type) {
    case nvsp::kInit:
        return handle_init(packet);
    case nvsp::kSendNdisConfig:
        return handle_ndis_config(packet);
    case nvsp::kSendNdisVersion:
        return handle_ndis_version(packet);
    case nvsp::kSendReceiveBuffer:
        return handle_receive_buffer(packet);
    case nvsp::kSendSendBuffer:
        return handle_send_buffer(packet);
    case nvsp::kRevokeReceiveBuffer:
    case nvsp::kRevokeSendBuffer:
        return handle_revoke(packet, *type);
    case nvsp::kSendRndisPacket:
        return handle_rndis(channel, packet, now_ns);
    case nvsp::kSwitchDataPath:
        return handle_data_path_switch(packet);
    case nvsp::kSubchannel:
        return handle_subchannel(packet, now_ns);
    default:
        return "NVSP message of an unknown type";
    }
}

const char *
NetVsp::handle_receive_completion(SessionChannel &channel,
                                  const RingPacket &packet)
{
    auto message = message_of<nvsp::SendRndisPacketComplete>(packet);
    if (!message || message->type != nvsp::kSendRndisPacketComplete) {
        return "completion without an RNDIS_PKT_COMPLETE";
    }
    /* The status is informative: the memory is the host's again (D.6). */
    return channel.receive().complete(packet.desc.trans_id)
               ? nullptr
               : "completion of a transfer that is not outstanding";
}

const char *
NetVsp::handle_rndis(SessionChannel &channel, const RingPacket &packet,
                     uint64_t now_ns)
{
    auto message = message_of<nvsp::SendRndisPacket>(packet);
    if (!message || !wants_completion(packet)) {
        return "malformed RNDIS_PKT";
    }
    if (!rndis_) {
        return "RNDIS_PKT before the receive buffer";
    }
    counters_.tx.messages++;
    messages_++;

    uint32_t status = nvsp::kStatusSuccess;
    uint64_t frames = counters_.tx.frames;
    const char *error =
        message->channel_type == nvsp::kChannelTypeControl
            ? handle_rndis_control(channel, packet, *message)
            : handle_rndis_data(channel, packet, *message, status);
    if (error) {
        return error;
    }
    channel.count_sent(1, counters_.tx.frames - frames);
    counters_.tx.malformed += status != nvsp::kStatusSuccess;
    channel.completions().push(packet.desc.trans_id, status, now_ns);
    return nullptr;
}

const char *
NetVsp::handle_rndis_data(SessionChannel &channel, const RingPacket &packet,
                          const nvsp::SendRndisPacket &nvsp, uint32_t &status)
{
    if (nvsp.channel_type != nvsp::kChannelTypeData) {
        return "RNDIS_PKT of an unknown channel type";
    }
    if (sink_ && !trace_.on()) {
        if (std::optional<Bytes> section = gatherer_.view(packet, nvsp)) {
            bool good = rndis_->running() && transmit_.parse(*section);
            if (good) {
                transmit_.sink(*section, *sink_);
            } else {
                status = nvsp::kStatusFailure;
            }
            return nullptr;
        }
    }
    /* Malformed data cost the guest that message and nothing else (G.4). */
    std::optional<MutableBytes> message = gatherer_.gather(packet, nvsp);
    if (!message) {
        status = nvsp::kStatusFailure;
        return nullptr;
    }
    bool good = rndis_->running() && transmit_.parse(*message);
    if (trace_.on()) {
        gatherer_.record(channel.trace(), good
                                              ? transmit_.pieces(trace_.snap())
                                              : std::vector<TracePiece>());
    }
    if (good) {
        transmit_.send(*message);
    } else {
        status = nvsp::kStatusFailure;
    }
    return nullptr;
}

const char *
NetVsp::handle_rndis_control(SessionChannel &channel, const RingPacket &packet,
                             const nvsp::SendRndisPacket &nvsp)
{
    if (channel.index()) {
        return "RNDIS control message on a sub-channel";
    }
    std::optional<MutableBytes> message = gatherer_.gather(packet, nvsp);
    if (!message) {
        return "RNDIS control message outside of the guest's memory";
    }
    gatherer_.record(channel.trace(), {});
    return rndis_->handle(*message, control_);
}

/* --- Host to guest ----------------------------------------------------- */

bool
NetVsp::flush_control()
{
    bool busy = false;
    SessionChannel &channel = primary();
    while (!replies_.empty() &&
           channel.need_room(std::max(kCompletionRoom, kNotifyRoom))) {
        const Reply &reply = replies_.front();
        if (reply.notice) {
            channel.ring().notify(reply.message);
        } else {
            channel.ring().complete(reply.trans_id, reply.message);
        }
        replies_.pop_front();
        busy = true;
    }
    while (!control_.empty()) {
        if (!receive_buffer_.attached()) {
            control_.pop(); /* Nowhere to put it: the guest revoked. */
            continue;
        }
        if (!channel.need_room(transfer_room(1)) ||
            !channel.receive().send_control(control_.front())) {
            break;
        }
        control_.pop();
        busy = true;
    }
    return busy;
}

bool
NetVsp::flush_completions(SessionChannel &channel, uint64_t now_ns)
{
    unsigned count = channel.flush_completions(now_ns);
    completed_ += count;
    return count != 0;
}

bool
NetVsp::deliver(uint64_t now_ns)
{
    if (!rndis_ || !rndis_->running() || !receive_buffer_.attached()) {
        return drop_frames(backend_, counters_.rx.dropped_no_session) != 0;
    }
    if (!link_up_) {
        return drop_frames(backend_, counters_.rx.dropped_link_down) != 0;
    }
    if (!rndis_->oids().filter()) {
        return drop_frames(backend_, counters_.rx.dropped_filter) != 0;
    }
    if (generator_) {
        return generate(now_ns) != 0;
    }
    /* With several channels none waits for another: what one has no room for
     * is dropped. */
    if (open_.size() > 1 || primary().receive().has_room()) {
        blocked_since_ns_ = 0;
        return deliver_frames() != 0;
    }
    if (!blocked_since_ns_) {
        blocked_since_ns_ = now_ns;
    }
    primary().lack_room(primary().receive().batch_room());
    if (!wants_frames(now_ns)) {
        return false;
    }
    return drop_frames(backend_, counters_.rx.dropped_ring_full) != 0;
}

/* Frames that wait on the wire, up to a batch.  Returns how many were read,
 * delivered or not. */
unsigned
NetVsp::deliver_frames()
{
    using Added = ReceivePath::Added;
    const Oids &oids = rndis_->oids();
    unsigned count = 0;
    for (; count < ReceivePath::kBatch; count++) {
        if (backend_.patient() && !all_take_frames()) {
            break;
        }
        std::optional<WireFrame> frame = backend_.receive();
        if (!frame) {
            break;
        }
        if (!fits_mtu(frame->bytes, agreement_.mtu)) {
            counters_.rx.dropped_oversize++;
            continue;
        }
        if (!oids.wants(frame->bytes)) {
            counters_.rx.dropped_filter++;
            continue;
        }
        ReceiveScaling::Choice choice = oids.scaling().choose(frame->bytes);
        Added added =
            channel_for(choice.channel).receive().add(*frame, choice, oids);
        counters_.rx.dropped_ring_full += added == Added::kNoRoom;
        counters_.rx.dropped_no_suballoc += added == Added::kNoSuballoc;
    }
    for (SessionChannel *channel : open_) {
        channel->receive().flush();
    }
    return count;
}

/* Whatever channel the next frame takes has room for it. */
bool
NetVsp::all_take_frames()
{
    for (SessionChannel *channel : open_) {
        if (!channel->receive().has_room()) {
            channel->lack_room(channel->receive().batch_room());
            return false;
        }
        if (!channel->receive().has_suballoc()) {
            return false;
        }
    }
    return true;
}

/* --- Measurements ------------------------------------------------------ */

unsigned
NetVsp::generate(uint64_t now_ns)
{
    lay_out();
    const SubAllocations &ledger = *receive_buffer_.ledger();
    Generator::Room room{0, 0, 0};
    for (SessionChannel *channel : open_) {
        if (generator_->feeds(channel->index())) {
            room.batch += ReceivePath::kBatch;
            room.free += ledger.data_free(channel->index());
        }
        room.outstanding += ledger.data_outstanding(channel->index());
    }
    return put_frames(generator_->due(now_ns, room));
}

/* Before frames are put: each channel gets those of its flows. */
void
NetVsp::lay_out()
{
    const Oids &oids = rndis_->oids();
    if (laid_out_ && laid_out_for_ == oids.scaling().generation()) {
        return;
    }
    laid_out_ = true;
    laid_out_for_ = oids.scaling().generation();
    generator_->lay_out(
        receive_buffer_, oids, static_cast<uint32_t>(channels_.size()),
        [this](uint32_t index) { return channel_for(index).index(); });
}

/* The guest wants frames and can have them. */
bool
NetVsp::delivers() const
{
    return rndis_ && rndis_->running() && receive_buffer_.attached() &&
           link_up_ && rndis_->oids().filter();
}

/* The channels that have flows get equal parts, if there is room. */
unsigned
NetVsp::put_frames(unsigned frames)
{
    unsigned left = 0;
    for (SessionChannel *channel : open_) {
        left += generator_->feeds(channel->index());
    }
    bool drained = true;
    unsigned count = 0;
    turn_++;
    for (size_t i = 0; i < open_.size(); i++) {
        SessionChannel &channel = *open_[(turn_ + i) % open_.size()];
        if (!generator_->feeds(channel.index())) {
            continue;
        }
        drained &= channel.ring().drained();
        unsigned part = (frames - count + left - 1) / left;
        unsigned wanted = std::min(part, ReceivePath::kBatch);
        left--;
        if (wanted && channel.receive().has_room()) {
            count += channel.receive().generate(*generator_, wanted);
        }
    }
    generator_->put(count, drained);
    return count;
}

unsigned
NetVsp::fill(unsigned frames, uint64_t now_ns)
{
    while (serve(now_ns)) {
    }
    if (!failed() && delivers()) {
        lay_out();
    }
    unsigned count = 0;
    while (!failed() && delivers() && count < frames) {
        unsigned put =
            put_frames(std::min(frames - count, ReceivePath::kBatch));
        if (!put) {
            break;
        }
        count += put;
    }
    if (!failed()) {
        publish();
    }
    return count;
}

/* --- The end ----------------------------------------------------------- */

void
NetVsp::fail(const char *error)
{
    error_ = error;
    counters_.protocol_errors++;
    log(std::string("protocol error, the session is not served any more: ") +
        error);
}

void
NetVsp::log(const std::string &text) const
{
    log_guest(nic_.guid, text);
}

} // namespace netvsc::host
