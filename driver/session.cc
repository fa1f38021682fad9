#include "driver/session.h"

#include <algorithm>
#include <thread>

#include <errno.h>

#include "driver/ethernet.h"
#include "driver/rndis_packet.h"

namespace netvsc {

Session::Session(std::shared_ptr<Uio> uio, const DeviceInfo &info,
                 const Options &options, const std::atomic<bool> *cancelled)
    : uio_(std::move(uio)), generation_(options.generation),
      fault_(uio_.get()), mailbox_(uio_.get()),
      channel_(uio_->map(wire::kUioMapRings),
               HostSignal(uio_.get(), info.relid, info.monitor_id)),
      rxq_(&channel_, &mailbox_, &fault_, generation_),
      control_(uio_.get(), &channel_, &rxq_, &mailbox_, &fault_, cancelled,
               generation_, options.reply_deadline)
{
    control_.set_overdue(options.overdue_after, options.overdue);
}

Result<std::shared_ptr<Session>>
Session::attach(std::shared_ptr<Uio> uio, const DeviceInfo &info,
                const Options &options, const std::atomic<bool> *cancelled)
{
    std::shared_ptr<Session> session(
        new Session(std::move(uio), info, options, cancelled));
    if (Status done = session->negotiate(info, options); !done) {
        return done.error();
    }
    return session;
}

Status
Session::negotiate(const DeviceInfo &info, const Options &options)
{
    const uint32_t mtu = mtu_to_ask(options.mtu);
    if (Status done = negotiate_nvsp(&control_, info, mtu, &negotiated_);
        !done) {
        return done;
    }
    rxq_.set_receive_buffer(uio_->map(wire::kUioMapReceiveBuffer),
                            negotiated_.receive_suballoc_size);
    SectionBuffer send_buffer(uio_->map(wire::kUioMapSendBuffer),
                              negotiated_.send_section_size);
    sections_ = std::make_unique<SendSections>(
        send_buffer, channel_sections(send_buffer.count(), 0, 1));
    rxq_.set_send_sections(sections_.get(), &control_section_);
    control_.set_send_sections(sections_.get(), &control_section_);
    if (Status done = negotiate_rndis(&control_, mtu, &negotiated_); !done) {
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
           kTxHeaderSizeVlan - kEthernetHeader;
}

void
Session::set_txqs(unsigned n)
{
    /* A queue without a section could never send. */
    n = std::clamp(n, 1u, sections_->count());
    TxLimits limits;
    limits.max_frame = mtu_ + kEthernetHeader;
    limits.max_message =
        std::min(negotiated_.send_section_size, negotiated_.max_transfer_size);
    limits.max_packets = negotiated_.max_packets_per_message;
    limits.alignment = negotiated_.packet_alignment;

    /* Completions that arrive meanwhile would look for their owner. */
    while (!channel_.try_consume()) {
        std::this_thread::yield();
    }
    std::lock_guard lock(statistics_lock_);
    for (const auto &txq : txqs_) {
        txq->add_to(&past_txqs_);
    }
    txqs_.clear();
    sections_->partition(n);
    for (unsigned i = 0; i < n; i++) {
        txqs_.push_back(
            std::make_unique<TxQueue>(i, &channel_, sections_.get(), &rxq_,
                                      &fault_, generation_, limits));
    }
    channel_.end_consume();
}

Session::SendProgress
Session::send_progress() const
{
    /* In this order: what completes in between is not known to have been
     * sent, and counts next time. */
    uint64_t sent = statistics().tx_ring_packets;
    uint32_t outstanding = send_sections_in_use();
    return {sent - std::min<uint64_t>(sent, outstanding), outstanding};
}

Status
Session::detach()
{
    /* A refusal (EPERM) does not keep us from the rest of the goodbye. */
    Status closed = set_packet_filter(&control_, 0);
    if (!closed && closed.error().code != EPERM) {
        return closed;
    }
    /* The host may still read what was sent last. */
    if (Status done = control_.wait_sections_back("the last frames"); !done) {
        return done;
    }
    return say_goodbye(&control_);
}

Statistics
Session::statistics() const
{
    std::lock_guard lock(statistics_lock_);
    Statistics statistics = past_txqs_;
    rxq_.add_to(&statistics);
    for (const auto &txq : txqs_) {
        txq->add_to(&statistics);
    }
    statistics.signals += channel_.signals();
    return statistics;
}

} // namespace netvsc
