#include "driver/session.h"

#include <algorithm>
#include <thread>

#include <errno.h>

#include "driver/attach_nvsp.h"
#include "driver/attach_rndis.h"
#include "driver/ethernet.h"
#include "driver/rndis_packet.h"

namespace netvsc {

Session::Session(std::shared_ptr<Uio> uio, const Options &options,
                 const std::atomic<bool> *cancelled)
    : uio_(std::move(uio)), fault_(uio_.get()),
      mailbox_(uio_.get()), context_{uio_.get(), &fault_, &mailbox_,
                                     options.generation},
      requests_(context_, &channels_, &control_section_, cancelled,
                options.reply_deadline),
      past_(1)
{
    requests_.set_overdue(options.overdue_after, options.overdue);
}

Result<std::shared_ptr<Session>>
Session::attach(std::shared_ptr<Uio> uio, const DeviceInfo &info,
                const Options &options, const std::atomic<bool> *cancelled)
{
    std::shared_ptr<Session> session(
        new Session(std::move(uio), options, cancelled));
    if (Status done = session->negotiate(info, options); !done) {
        return done.error();
    }
    return session;
}

/* One channel today. */
void
Session::make_channels(const DeviceInfo &info, SectionBuffer send,
                       const ReceiveBuffer &receive)
{
    ChannelBuffers buffers = {receive, send,
                              channel_sections(send.count(), 0, 1)};
    HostSignal signal(uio_.get(), info.relid, info.monitor_id);
    channels_.push_back(
        std::make_unique<NetChannel>(context_, uio_->map(wire::kUioMapRings),
                                     signal, buffers, &control_section_));
}

Status
Session::negotiate(const DeviceInfo &info, const Options &options)
{
    const uint32_t mtu = mtu_to_ask(options.mtu);
    /* NVSP tells the sizes of the buffers; until then a channel can answer
     * and be answered, and nothing else. */
    make_channels(info, {}, {});
    if (Status done = attach_nvsp(&requests_, info, mtu, &negotiated_);
        !done) {
        return done;
    }
    channels_[0]->add_to(&past_[0]);
    channels_.clear();
    make_channels(
        info,
        {uio_->map(wire::kUioMapSendBuffer), negotiated_.send_section_size},
        {uio_->map(wire::kUioMapReceiveBuffer),
         negotiated_.receive_suballoc_size});
    if (Status done = attach_rndis(&requests_, mtu, &negotiated_); !done) {
        return done;
    }
    negotiated_.mtu = std::min(negotiated_.mtu, section_mtu());
    mtu_ = std::min(options.mtu, negotiated_.mtu);
    return ok();
}

void
Session::set_mtu(uint32_t mtu)
{
    mtu_ = std::min(mtu, negotiated_.mtu);
    std::lock_guard lock(statistics_lock_);
    for (const auto &txq : txqs_) {
        txq->set_max_frame(mtu_ + kEthernetHeader);
    }
}

uint32_t
Session::max_mtu() const noexcept
{
    return std::min(negotiated_.max_mtu, section_mtu());
}

/* Largest L3 MTU whose frames fit a send section. */
uint32_t
Session::section_mtu() const noexcept
{
    return std::min(negotiated_.send_section_size,
                    negotiated_.max_transfer_size) -
           kTxOverhead - kEthernetHeader;
}

void
Session::set_txqs(unsigned n)
{
    const auto channels = static_cast<unsigned>(channels_.size());
    /* A queue without a section could never send. */
    unsigned most = 0;
    for (const auto &channel : channels_) {
        most += channel->sections.count();
    }
    n = std::clamp(n, 1u, most);
    TxLimits limits;
    limits.max_frame = mtu_ + kEthernetHeader;
    limits.max_message =
        std::min(negotiated_.send_section_size, negotiated_.max_transfer_size);
    limits.max_packets = negotiated_.max_packets_per_message;
    limits.alignment = negotiated_.packet_alignment;

    /* Completions that arrive meanwhile would look for their owner. */
    for (const auto &channel : channels_) {
        while (!channel->ring.try_consume()) {
            std::this_thread::yield();
        }
    }
    std::lock_guard lock(statistics_lock_);
    for (unsigned q = 0; q < txqs_.size(); q++) {
        txqs_[q]->add_to(&past_[q % channels]);
    }
    txqs_.clear();
    for (unsigned c = 0; c < channels; c++) {
        /* As many as there are q below n with q mod channels = c. */
        channels_[c]->sections.partition((n + channels - 1 - c) / channels);
    }
    for (unsigned q = 0; q < n; q++) {
        txqs_.push_back(std::make_unique<TxQueue>(
            context_, channels_[q % channels].get(), q / channels, limits));
    }
    for (const auto &channel : channels_) {
        channel->ring.end_consume();
    }
}

void
Session::readers_arrived()
{
    for (const auto &channel : channels_) {
        channel->watch.reader_arrived();
    }
}

void
Session::readers_left()
{
    for (const auto &channel : channels_) {
        channel->watch.reader_left();
    }
}

Session::SendProgress
Session::send_progress() const
{
    /* In this order: what completes in between is not known to have been
     * sent, and counts next time. */
    uint64_t sent = statistics()[Count::kTxRingPackets];
    uint32_t outstanding = send_sections_in_use();
    return {sent - std::min<uint64_t>(sent, outstanding), outstanding};
}

Status
Session::detach()
{
    /* A refusal (EPERM) does not keep us from the rest of the goodbye. */
    Status closed = set_packet_filter(&requests_, 0);
    if (!closed && closed.error().code != EPERM) {
        return closed;
    }
    /* The host may still read what was sent last. */
    if (Status done = requests_.wait_sections_back("the last frames"); !done) {
        return done;
    }
    return say_goodbye(&requests_);
}

Statistics
Session::channel_statistics(unsigned channel) const
{
    std::lock_guard lock(statistics_lock_);
    Statistics statistics = past_[channel];
    channels_[channel]->add_to(&statistics);
    for (size_t q = channel; q < txqs_.size(); q += channels_.size()) {
        txqs_[q]->add_to(&statistics);
    }
    return statistics;
}

Statistics
Session::statistics() const
{
    Statistics statistics;
    for (unsigned c = 0; c < channels_.size(); c++) {
        statistics += channel_statistics(c);
    }
    return statistics;
}

uint32_t
Session::send_sections() const noexcept
{
    uint32_t n = kControlSection + 1;
    for (const auto &channel : channels_) {
        n += channel->sections.count();
    }
    return n;
}

uint32_t
Session::send_sections_in_use() const noexcept
{
    uint32_t n = !control_section_.is_free();
    for (const auto &channel : channels_) {
        n += channel->sections.in_use();
    }
    return n;
}

} // namespace netvsc
