#include "driver/control_channel.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <thread>

#include <errno.h>

namespace netvsc {

namespace {

/* So many interrupts in a row that brought nothing are no help: whatever
 * makes them is not the ring (a host that signals without end, a descriptor
 * that is always readable).  Then each is followed by a pause that no packet
 * would notice. */
constexpr unsigned kIdleInterrupts = 64;
constexpr std::chrono::milliseconds kIdlePause{1};

std::string
seconds_text(std::chrono::milliseconds duration)
{
    char text[32];
    std::snprintf(text, sizeof text, "%g",
                  std::chrono::duration<double>(duration).count());
    return text;
}

} // namespace

ControlChannel::ControlChannel(Uio *uio, Channel *channel, RxQueue *rxq,
                               ControlMailbox *mailbox, SessionFault *fault,
                               const std::atomic<bool> *cancelled,
                               uint16_t generation,
                               std::chrono::milliseconds reply_deadline)
    : uio_(uio), channel_(channel), rxq_(rxq), mailbox_(mailbox),
      fault_(fault), cancelled_(cancelled), generation_(generation),
      reply_deadline_(reply_deadline)
{
}

Status
ControlChannel::send_packet(const NvspPacket &packet, const std::string &what)
{
    return wait_answer(
        what, [&] { return Channel::SendBatch(channel_).put(packet); });
}

Result<ControlChannel::NvspReply>
ControlChannel::wait_nvsp(const char *what)
{
    std::optional<NvspReply> reply;
    Status done = wait_answer(what, [&] {
        reply = mailbox_->take_nvsp();
        return reply.has_value();
    });
    if (!done) {
        return done.error();
    }
    return *reply;
}

Status
ControlChannel::put_in_section(std::span<const uint8_t> message,
                               const std::string &what)
{
    Status free = wait_answer(what, [&] { return control_section_->take(); });
    if (!free) {
        return free;
    }
    /* Control messages go in a send section, not by a GPA range as other
     * guests send them: no physical address is needed that way (C.9). */
    std::memcpy(sections_->section(kControlSection).data(), message.data(),
                message.size());
    wire::nvsp::SendRndisPacket packet = {
        wire::nvsp::kSendRndisPacket, wire::nvsp::kChannelTypeControl,
        kControlSection, static_cast<uint32_t>(message.size())};
    TransactionId id = {generation_, TransactionId::Kind::kControl,
                        kControlSection};
    Status sent =
        send_packet(make_nvsp_packet(packet, id.encode(), true), what);
    if (!sent) {
        /* It never was away: the goodbye needs it. */
        (void) control_section_->complete();
    }
    return sent;
}

Result<std::vector<uint8_t>>
ControlChannel::request_rndis(std::span<const uint8_t> message,
                              uint32_t request_id, uint32_t reply_type,
                              size_t min_size, const std::string &what)
{
    mailbox_->expect_rndis(reply_type, request_id);
    if (Status sent = put_in_section(message, what); !sent) {
        return sent.error();
    }
    std::optional<std::vector<uint8_t>> reply;
    Status done = wait_answer(what, [&] {
        reply = mailbox_->take_rndis();
        return reply.has_value();
    });
    if (!done) {
        return done.error();
    }
    if (reply->size() < min_size) {
        return Error{EPROTO, "The host answered " + what +
                                 " with a message that is too short."};
    }
    return std::move(*reply);
}

Status
ControlChannel::send_rndis(std::span<const uint8_t> message,
                           const std::string &what)
{
    if (Status sent = put_in_section(message, what); !sent) {
        return sent;
    }
    return wait_answer(what, [&] { return control_section_->is_free(); });
}

Status
ControlChannel::wait_sections_back(const std::string &what)
{
    return wait_answer(what, [&] {
        return sections_->in_use() == 0 && control_section_->is_free();
    });
}

Status
ControlChannel::wait_drained(const std::string &what)
{
    auto deadline = Clock::now() + reply_deadline_;
    for (;;) {
        /* Reading makes no interrupt: look again every millisecond. */
        Status done = wait_until(Clock::now() + std::chrono::milliseconds(1),
                                 [&] { return channel_->out_drained(); });
        if (done || done.error().code != ETIMEDOUT) {
            return done;
        }
        if (Clock::now() >= deadline) {
            return no_answer(done.error(), what);
        }
    }
}

/* Waits for the host's part in `what`, up to the deadline for replies. */
Status
ControlChannel::wait_answer(const std::string &what,
                            const std::function<bool()> &done)
{
    auto now = Clock::now();
    auto deadline = now + reply_deadline_;
    auto overdue = now + overdue_after_;
    Status waited = wait_until(std::min(deadline, overdue), done);
    if (!waited && waited.error().code == ETIMEDOUT && overdue < deadline) {
        if (overdue_) {
            overdue_("The host has not answered " + what + " for " +
                     seconds_text(overdue_after_) +
                     " s: look at its load, and at the adapter's state "
                     "there.  The device is opened anew after " +
                     seconds_text(reply_deadline_) + " s.");
        }
        waited = wait_until(deadline, done);
        if (overdue_ && waited) {
            overdue_("");
        }
    }
    return waited ? waited : no_answer(waited.error(), what);
}

Error
ControlChannel::no_answer(const Error &error, const std::string &what) const
{
    if (error.code != ETIMEDOUT) {
        return error;
    }
    return {ETIMEDOUT, "The host did not answer " + what + " within " +
                           seconds_text(reply_deadline_) +
                           " s: look at the state of the virtual machine's "
                           "network adapter on the host."};
}

ControlChannel::Reader
ControlChannel::find_reader()
{
    uint64_t polls = rxq_->polls();
    auto now = Clock::now();
    if (polls != polls_seen_) {
        polls_seen_ = polls;
        last_poll_ = now;
    }
    auto pause = now - last_poll_;
    return pause < kReaderLate   ? Reader::kPolls
           : pause < kReaderGone ? Reader::kLate
                                 : Reader::kGone;
}

void
ControlChannel::set_interrupts(bool wanted)
{
    if (!wanted) {
        /* Each time: what asks the kernel to signal the host, or to go on
         * after an interrupt, clears the mask as well (C.5). */
        rxq_->mask();
    }
    if (wanted != unmasked_) {
        unmasked_ = wanted;
        uio_->irq_control(wanted);
    }
}

Status
ControlChannel::wait_until(Clock::time_point deadline,
                           const std::function<bool()> &done)
{
    unsigned idle_interrupts = 0;
    for (;;) {
        Reader reader = find_reader();
        bool progress = false;
        if (reader == Reader::kLate) {
            rxq_->read_control();
        } else if (reader == Reader::kGone) {
            progress = rxq_->discard();
        }
        if (done()) {
            return ok();
        }
        if (const char *reason = fault_->reason()) {
            return Error{EIO, std::string("The host ") + reason +
                                  ": the device was closed to be safe."};
        }
        if (cancelled_->load(std::memory_order_acquire)) {
            return Error{ECANCELED, "The port was deleted."};
        }
        auto now = Clock::now();
        if (now >= deadline) {
            return Error{ETIMEDOUT, ""};
        }
        /* With a poller, interrupts would only cost the host; without one
         * they are what wakes us. */
        set_interrupts(reader == Reader::kGone);
        auto until = std::min(deadline, now + kReaderLate);
        if (reader == Reader::kGone) {
            if (!rxq_->unmask()) {
                until = deadline;
            } else if (progress) {
                continue;
            }
            /* Else packets wait for room that the host has to make. */
        }
        switch (uio_->wait(until)) {
        case Uio::Event::kRemoved:
            return Error{ENODEV, "The host took the device away."};
        case Uio::Event::kInterrupt:
            /* Kernels 5.4 to early 6.1 mask at each event (C.7). */
            unmasked_ = false;
            idle_interrupts = progress ? 0 : idle_interrupts + 1;
            if (idle_interrupts > kIdleInterrupts) {
                std::this_thread::sleep_for(kIdlePause);
            }
            break;
        case Uio::Event::kWoken:
        case Uio::Event::kTimeout:
            break;
        }
    }
}

} // namespace netvsc
