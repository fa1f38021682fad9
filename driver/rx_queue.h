/* Receive queue: consumes a channel's inbound ring (reference D.6, E.10).
 *
 * Transfer-pages packets become frame views; completions go back to the
 * send sections; control messages to the mailbox.  The ring is read in
 * place, each word once. */

#pragma once

#include <array>
#include <span>

#include "driver/cache_line.h"
#include "driver/channel.h"
#include "driver/control_mailbox.h"
#include "driver/ethernet.h"
#include "driver/frame.h"
#include "driver/nvsp_packets.h"
#include "driver/rndis_shape.h"
#include "driver/send_sections.h"
#include "driver/session_fault.h"
#include "driver/size_bins.h"
#include "driver/statistics.h"

namespace netvsc {

/* Frames of one poll(): OVS's burst. */
inline constexpr unsigned kMaxBurst = 32;

class alignas(kCacheLine) RxQueue {
public:
    RxQueue(Channel *channel, ControlMailbox *mailbox, SessionFault *fault,
            uint16_t generation);

    /* What the negotiation found; before that every transfer-pages packet
     * and every section's completion is malformed.  Control thread, nobody
     * else polling yet. */
    void set_receive_buffer(std::span<uint8_t> buffer,
                            uint32_t suballoc_size) noexcept;
    void set_send_sections(SendSections *sections,
                           ControlSection *control_section) noexcept;

    /* --- The queue's user: one thread at a time, calls in pairs --- */

    /* Fills at most `frames.size()` views (no more than kMaxBurst) and
     * returns how many.  Handles a bounded number of ring packets.  Never
     * blocks.  Call release() after it, also when it returned 0. */
    [[nodiscard]] unsigned poll(std::span<netvsc_rx_frame> frames) noexcept;

    /* Ends the views of the last poll(), unconditionally, and gives their
     * sub-allocations back to the host. */
    void release() noexcept;

    /* --- Others --- */

    /* Control thread, when nobody polls any more: completes what is there
     * and counts its frames as discarded.  False if there was nothing, or
     * somebody holds the ring. */
    bool discard() noexcept;

    /* Control thread, when the poller is late: takes completions and control
     * messages up to the first frame, which is left for it. */
    void read_control() noexcept;

    /* A transmitter short of sections: takes completions up to the first
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

    /* Grows with every poll(); tells the control thread that somebody is
     * there. */
    uint64_t
    polls() const noexcept
    {
        return polls_.get();
    }

    /* Adds this queue's counters; any thread. */
    void add_to(Statistics *statistics) const noexcept;

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

    class Buffer;

    /* What is counted of a poll's frames. */
    struct Tally : FrameTally {
        void
        add(const netvsc_rx_frame &frame,
            const netvsc_fragment &fragment) noexcept
        {
            /* As OVS sees it, with the tag back in. */
            uint32_t size =
                fragment.size + (frame.flags & NETVSC_RX_VLAN ? kVlanTag : 0);
            FrameTally::add(size);
            /* Group bit of the destination, broadcast included. */
            multicast += fragment.data[0] & 1;
        }
        uint32_t multicast = 0;
    };

    /* A poll under way. */
    struct Poll {
        std::span<netvsc_rx_frame> frames;
        unsigned n = 0;                   /* Of them filled. */
        unsigned packets = 0, ranges = 0; /* Handled. */
        unsigned room = 0; /* Transfers that can be completed yet. */
        Tally tally;
    };

    unsigned completion_room() noexcept;
    void take(Poll *poll) noexcept;
    void take_transfers(Poll *poll) noexcept;
    unsigned take_sent(unsigned most) noexcept;
    bool next_packet(unsigned *room) noexcept;
    bool next_is_frames() noexcept;
    void begin_transfer(const RingPacket &packet) noexcept;
    void take_some(Poll *poll) noexcept;
    bool take_frames(uint64_t *ranges, uint32_t n, Poll *poll) noexcept;
    void take_messages(unsigned n) noexcept;
    void finish_transfer() noexcept;
    void
    finish(uint64_t trans_id, bool failed) noexcept
    {
        owed_[n_owed_++] = {trans_id, receive_completion(failed)};
    }
    void take_completion(const RingPacket &packet) noexcept;
    void take_inband(const RingPacket &packet) noexcept;
    void send_completions() noexcept;
    void
    count(Malformed cause) noexcept
    {
        malformed_[static_cast<unsigned>(cause)].add();
    }

    Channel *channel_;
    ControlMailbox *mailbox_;
    SessionFault *fault_;
    uint16_t generation_;
    std::span<uint8_t> buffer_;
    uint32_t suballoc_size_ = 0;
    SendSections *sections_ = nullptr;
    ControlSection *control_section_ = nullptr;

    Transfer transfer_;
    RndisShape shape_;
    bool polled_ = false; /* The user holds the ring: poll() to release(). */
    /* Completions of transfers that ended. */
    unsigned n_owed_ = 0;
    std::array<Completion, kMaxPacketsPerPoll> owed_;
    std::array<netvsc_fragment, kMaxBurst> fragments_;

    FrameCounters frames_;
    Counter polls_, multicast_, discarded_, control_, ring_packets_,
        tx_failed_;
    std::array<Counter, kMalformedCauses> malformed_;
};

} // namespace netvsc
