/* Reads a channel's inbound ring, for everybody (D.6, E.10).
 *
 * Transfer-pages packets become frame views or control messages, completions
 * go back to the ledger or to who waits for an answer, in-band messages to
 * the control thread.  The ring is read in place, each word once. */

#pragma once

#include <array>
#include <span>

#include "driver/cache_line.h"
#include "driver/channel.h"
#include "driver/control_mailbox.h"
#include "driver/counters.h"
#include "driver/frame_parser.h"
#include "driver/nvsp_packets.h"
#include "driver/receive_buffer.h"
#include "driver/send_sections.h"
#include "driver/session_context.h"

namespace netvsc {

class alignas(kCacheLine) RingConsumer {
public:
    /* `control`: the control section if this is the primary channel, on which
     * alone control messages come and go; else null. */
    RingConsumer(const SessionContext &context, Channel *channel,
                 const ReceiveBuffer &buffer, SendSections *sections,
                 ControlSection *control, Counters *counters);

    /* --- The receive queue: in this order, on one thread --- */

    /* Takes the ring; false if somebody has it, or after a fault. */
    [[nodiscard]] bool
    try_begin() noexcept
    {
        return !fault_->reason() && channel_->try_consume();
    }
    /* Fills `burst`.  Handles a bounded number of ring packets and ranges;
     * a transfer that does not fit goes on in the next burst.  Its last
     * frame's views are good until end(). */
    void poll(RxBurst *burst) noexcept;
    /* Gives what was received back to the host, and the ring. */
    void end() noexcept;

    /* --- Others; each takes and gives the ring --- */

    /* Control thread, when nobody polls any more: completes what is there
     * and counts its frames as discarded.  False if there was nothing, or
     * somebody holds the ring. */
    bool discard() noexcept;

    /* Control thread, when the poller is late: handles completions and
     * control messages up to the first frame, which is left for it. */
    void read_control() noexcept;

    /* A transmitter short of sections: handles completions up to the first
     * transfer-pages packet, if nobody is polling. */
    void harvest() noexcept;

    /* Control thread: interrupt wanted or not.  unmask() returns true if
     * the ring is not empty, or somebody reads it: then look again first. */
    void
    mask() noexcept
    {
        channel_->in().mask();
    }
    [[nodiscard]] bool unmask() noexcept;

private:
    /* The transfer-pages packet that is being walked: completed when its
     * last range was released. */
    struct Transfer {
        RingPacket packet;
        uint32_t next = 0, count = 0; /* Ranges. */
        bool active = false;
        bool control = false;
        bool failed = false;
    };

    unsigned completion_room() noexcept;
    unsigned fast_completions(unsigned most) noexcept;
    void fast_transfers(RxBurst *burst) noexcept;
    bool next_packet(unsigned *room) noexcept;
    bool next_is_frames() noexcept;
    void begin_transfer(const RingPacket &packet) noexcept;
    void continue_transfer(RxBurst *burst) noexcept;
    void deliver_control(unsigned n) noexcept;
    void finish_transfer() noexcept;
    void
    owe_completion(uint64_t trans_id, bool failed) noexcept
    {
        owed_[n_owed_++] = {trans_id, receive_completion(failed)};
    }
    void handle_completion(const RingPacket &packet) noexcept;
    void handle_inband(const RingPacket &packet) noexcept;
    void send_completions() noexcept;

    Channel *channel_;
    SendSections *sections_;
    ControlSection *control_;
    ControlMailbox *mailbox_;
    SessionFault *fault_;
    Counters *counters_;
    uint16_t generation_;
    ReceiveBuffer buffer_;

    Transfer transfer_;
    /* Completions of transfers that ended. */
    unsigned n_owed_ = 0;
    std::array<Completion, kMaxPacketsPerPoll> owed_;
    FrameParser parser_;
};

} // namespace netvsc
