/* Requests of the control thread to the host, and the wait for replies.
 *
 * One request at a time.  Replies are read by whoever polls the ring; while
 * nobody does, by this thread.  Every wait ends at a deadline, at a rescind,
 * at a fault, and when the attempt is cancelled. */

#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "driver/channel.h"
#include "driver/control_mailbox.h"
#include "driver/error.h"
#include "driver/nvsp_packets.h"
#include "driver/rx_queue.h"
#include "driver/send_sections.h"
#include "driver/session_fault.h"
#include "driver/transaction_id.h"

namespace netvsc {

/* Hosts have taken 15 s for a reply on busy machines; DPDK waits 60. */
inline constexpr std::chrono::seconds kReplyDeadline{60};

/* A reply that takes longer is worth a word to the operator: it mostly takes
 * milliseconds. */
inline constexpr std::chrono::seconds kReplyOverdue{5};

/* Nobody has polled the ring for this long: the control thread reads what is
 * for it, but no frames. */
inline constexpr std::chrono::milliseconds kReaderLate{10};

/* And for this long: nobody is going to, and the frames are in the way.  Not
 * sooner: on a busy machine a PMD thread is off its core for tens of
 * milliseconds, and what waits in the ring meanwhile is not lost. */
inline constexpr std::chrono::milliseconds kReaderGone{1000};

class ControlChannel {
public:
    using Clock = Uio::Clock;
    using NvspReply = std::array<uint8_t, wire::nvsp::kMessageSize>;

    /* `cancelled`: set by another thread, followed by uio->wake(). */
    ControlChannel(Uio *uio, Channel *channel, RxQueue *rxq,
                   ControlMailbox *mailbox, SessionFault *fault,
                   const std::atomic<bool> *cancelled, uint16_t generation,
                   std::chrono::milliseconds reply_deadline);

    void
    set_send_sections(SendSections *sections, ControlSection *control_section)
    {
        sections_ = sections;
        control_section_ = control_section;
    }

    /* Another deadline for the replies from here on. */
    void
    set_reply_deadline(std::chrono::milliseconds deadline)
    {
        reply_deadline_ = deadline;
    }

    /* Called on the control thread: with a sentence when the host has not
     * answered for `after`, and with an empty one when it has. */
    using Overdue = std::function<void(const std::string &sentence)>;
    void
    set_overdue(std::chrono::milliseconds after, Overdue overdue)
    {
        overdue_after_ = after;
        overdue_ = std::move(overdue);
    }

    /* An NVSP message that has no reply. */
    template <typename Message>
    Status
    notify_nvsp(const Message &message, const char *what)
    {
        return send_packet(make_nvsp_packet(message, 0, false), what);
    }

    /* An NVSP request.  `what`: its name, for the error sentence. */
    template <typename Message>
    Result<NvspReply>
    request_nvsp(const Message &message, const char *what)
    {
        uint32_t number = next_nvsp_++;
        TransactionId id = {generation_, TransactionId::Kind::kNvsp, number};
        mailbox_->expect_nvsp(number);
        if (Status sent = send_packet(
                make_nvsp_packet(message, id.encode(), true), what);
            !sent) {
            return sent.error();
        }
        return wait_nvsp(what);
    }

    /* A new RNDIS request id. */
    [[nodiscard]] uint32_t
    next_request_id()
    {
        return next_rndis_++;
    }

    /* An RNDIS request, answered by a message of type `reply_type` with the
     * same id; returns the whole reply, at least `min_size` bytes. */
    Result<std::vector<uint8_t>>
    request_rndis(std::span<const uint8_t> message, uint32_t request_id,
                  uint32_t reply_type, size_t min_size,
                  const std::string &what);

    /* An RNDIS message without a reply (HALT): waits until the host gave the
     * control section back. */
    Status send_rndis(std::span<const uint8_t> message,
                      const std::string &what);

    /* Waits until the host has given all send sections back. */
    Status wait_sections_back(const std::string &what);

    /* Waits until the host has read all that was sent. */
    Status wait_drained(const std::string &what);

    /* The queue has a user from now on: its first poll may take a moment,
     * and what comes before it is not to be lost. */
    void
    reader_arrived()
    {
        last_poll_ = Clock::now();
    }

    /* The queue's user is gone: no need to wait until it shows. */
    void
    reader_left()
    {
        polls_seen_ = rxq_->polls();
        last_poll_ = Clock::time_point();
    }

    /* Waits until `done` or `deadline`; reads the ring meanwhile if nobody
     * else does.  ETIMEDOUT without a sentence at the deadline. */
    Status wait_until(Clock::time_point deadline,
                      const std::function<bool()> &done);

private:
    Status send_packet(const NvspPacket &packet, const std::string &what);
    Status put_in_section(std::span<const uint8_t> message,
                          const std::string &what);
    Result<NvspReply> wait_nvsp(const char *what);
    Status wait_answer(const std::string &what,
                       const std::function<bool()> &done);
    Error no_answer(const Error &error, const std::string &what) const;
    enum class Reader { kPolls, kLate, kGone };
    Reader find_reader();
    void set_interrupts(bool wanted);

    Uio *uio_;
    Channel *channel_;
    RxQueue *rxq_;
    ControlMailbox *mailbox_;
    SessionFault *fault_;
    const std::atomic<bool> *cancelled_;
    uint16_t generation_;
    std::chrono::milliseconds reply_deadline_;
    std::chrono::milliseconds overdue_after_ = kReplyOverdue;
    Overdue overdue_;
    SendSections *sections_ = nullptr;
    ControlSection *control_section_ = nullptr;

    uint32_t next_nvsp_ = 1;
    uint32_t next_rndis_ = 1;
    uint64_t polls_seen_ = 0;
    Clock::time_point last_poll_; /* Long ago: nobody has polled yet. */
    bool unmasked_ = false;
};

} // namespace netvsc
