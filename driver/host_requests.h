/* Requests of the control thread to the host, and the wait for replies.
 *
 * One request at a time.  Replies are read by whoever polls the ring; while
 * nobody does, by this thread (ReaderWatch).  Every wait ends at a deadline,
 * at a rescind, at a fault, and when the attempt is cancelled. */

#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "driver/error.h"
#include "driver/net_channel.h"
#include "driver/nvsp_packets.h"
#include "driver/send_sections.h"
#include "driver/session_context.h"
#include "driver/transaction_id.h"

namespace netvsc {

/* Hosts have taken 15 s for a reply on busy machines; DPDK waits 60. */
inline constexpr std::chrono::seconds kReplyDeadline{60};

/* A reply that takes longer is worth a word to the operator: it mostly takes
 * milliseconds. */
inline constexpr std::chrono::seconds kReplyOverdue{5};

class HostRequests {
public:
    using Clock = Uio::Clock;
    using NvspReply = std::array<uint8_t, wire::nvsp::kMessageSize>;

    /* `channels`: those whose rings this thread has to watch while it waits,
     * at each time; the first one carries the requests.  `cancelled`: set by
     * another thread, followed by uio->wake(). */
    HostRequests(const SessionContext &context, const NetChannels *channels,
                 ControlSection *control, const std::atomic<bool> *cancelled,
                 std::chrono::milliseconds reply_deadline);

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
        TransactionId id = {context_.generation, TransactionId::Kind::kNvsp,
                            number};
        context_.mailbox->expect_nvsp(number);
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

    /* Waits until `done` or `deadline`; reads the rings meanwhile
     * that nobody else reads.  ETIMEDOUT without a sentence at the deadline.
     */
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
    void mask_and_unmask(Clock::time_point now, Clock::time_point *until);
    void set_interrupts(bool wanted);

    const SessionContext context_;
    const NetChannels *channels_;
    ControlSection *control_;
    const std::atomic<bool> *cancelled_;
    std::chrono::milliseconds reply_deadline_;
    std::chrono::milliseconds overdue_after_ = kReplyOverdue;
    Overdue overdue_;
    /* Never used twice in a session, so that no late reply is taken for
     * another's. */
    uint32_t next_nvsp_ = 1, next_rndis_ = 1;
    bool unmasked_ = false;
};

} // namespace netvsc
