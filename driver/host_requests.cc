#include "driver/host_requests.h"

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

HostRequests::HostRequests(const SessionContext &context,
                           const NetChannels *channels,
                           ControlSection *control,
                           const std::atomic<bool> *cancelled,
                           std::chrono::milliseconds reply_deadline)
    : context_(context), channels_(channels), control_(control),
      cancelled_(cancelled), reply_deadline_(reply_deadline)
{
}

Status
HostRequests::send_packet(const NvspPacket &packet, const std::string &what)
{
    return wait_answer(what, [&] {
        return Channel::SendBatch(&channels_->front()->ring).put(packet);
    });
}

Result<HostRequests::NvspReply>
HostRequests::wait_nvsp(const char *what)
{
    std::optional<NvspReply> reply;
    Status done = wait_answer(what, [&] {
        reply = context_.mailbox->collect_nvsp();
        return reply.has_value();
    });
    if (!done) {
        return done.error();
    }
    return *reply;
}

Status
HostRequests::put_in_section(std::span<const uint8_t> message,
                             const std::string &what)
{
    Status free = wait_answer(what, [&] { return control_->acquire(); });
    if (!free) {
        return free;
    }
    /* Control messages go in a send section, not by a GPA range as other
     * guests send them: no physical address is needed that way (C.9). */
    const SendSections &sections = channels_->front()->sections;
    std::memcpy(sections.section(kControlSection).data(), message.data(),
                message.size());
    wire::nvsp::SendRndisPacket packet = {
        wire::nvsp::kSendRndisPacket, wire::nvsp::kChannelTypeControl,
        kControlSection, static_cast<uint32_t>(message.size())};
    TransactionId id = {context_.generation, TransactionId::Kind::kControl,
                        kControlSection};
    Status sent =
        send_packet(make_nvsp_packet(packet, id.encode(), true), what);
    if (!sent) {
        /* It never was away: the goodbye needs it. */
        (void) control_->complete();
    }
    return sent;
}

Result<std::vector<uint8_t>>
HostRequests::request_rndis(std::span<const uint8_t> message,
                            uint32_t request_id, uint32_t reply_type,
                            size_t min_size, const std::string &what)
{
    context_.mailbox->expect_rndis(reply_type, request_id);
    if (Status sent = put_in_section(message, what); !sent) {
        return sent.error();
    }
    std::optional<std::vector<uint8_t>> reply;
    Status done = wait_answer(what, [&] {
        reply = context_.mailbox->collect_rndis();
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
HostRequests::send_rndis(std::span<const uint8_t> message,
                         const std::string &what)
{
    if (Status sent = put_in_section(message, what); !sent) {
        return sent;
    }
    return wait_answer(what, [&] { return control_->is_free(); });
}

Status
HostRequests::wait_sections_back(const std::string &what)
{
    return wait_answer(what, [&] {
        auto idle = [](const auto &channel) {
            return channel->sections.in_use() == 0;
        };
        return std::all_of(channels_->begin(), channels_->end(), idle) &&
               control_->is_free();
    });
}

Status
HostRequests::wait_drained(const std::string &what)
{
    auto deadline = Clock::now() + reply_deadline_;
    for (;;) {
        /* Reading makes no interrupt: look again every millisecond. */
        Status done =
            wait_until(Clock::now() + std::chrono::milliseconds(1),
                       [&] { return channels_->front()->ring.out_drained(); });
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
HostRequests::wait_answer(const std::string &what,
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
HostRequests::no_answer(const Error &error, const std::string &what) const
{
    if (error.code != ETIMEDOUT) {
        return error;
    }
    return {ETIMEDOUT, "The host did not answer " + what + " within " +
                           seconds_text(reply_deadline_) +
                           " s: look at the state of the virtual machine's "
                           "network adapter on the host."};
}

void
HostRequests::set_interrupts(bool wanted)
{
    if (wanted != unmasked_) {
        unmasked_ = wanted;
        context_.uio->irq_control(wanted);
    }
}

/* Asks for interrupts of the rings that nobody polls, and for no others;
 * moves `until` to when the control thread has to look again. */
void
HostRequests::mask_and_unmask(Clock::time_point now, Clock::time_point *until)
{
    bool interrupts = false;
    for (const auto &channel : *channels_) {
        if (channel->watch.alone()) {
            interrupts = true;
        } else {
            channel->watch.mask();
        }
    }
    set_interrupts(interrupts);
    bool look_again = false;
    for (const auto &channel : *channels_) {
        ReaderWatch &watch = channel->watch;
        if (!watch.alone()) {
            look_again = true;
        } else if (watch.unmask()) {
            /* Without progress, packets wait for room that the host has to
             * make. */
            look_again = true;
            if (watch.progress()) {
                *until = now;
            }
        }
    }
    if (look_again) {
        *until = std::min(*until, now + kReaderLate);
    }
}

Status
HostRequests::wait_until(Clock::time_point deadline,
                         const std::function<bool()> &done)
{
    unsigned idle_interrupts = 0;
    for (;;) {
        bool progress = false;
        for (const auto &channel : *channels_) {
            channel->watch.look();
            progress |= channel->watch.progress();
        }
        if (done()) {
            return ok();
        }
        if (const char *reason = context_.fault->reason()) {
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
        auto until = deadline;
        mask_and_unmask(now, &until);
        if (until == now) {
            continue; /* More was there to read than one look takes. */
        }
        switch (context_.uio->wait(until)) {
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
