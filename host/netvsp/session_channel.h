/* What a session has for each of its channels: the rings, the frames on their
 * way to the guest, and the completions that the guest is owed for what it
 * sent there. */

#pragma once

#include "host/netvsp/completion_queue.h"
#include "host/netvsp/receive_path.h"

namespace netvsc::host {

/* What went over a channel since it was opened. */
struct ChannelBooks {
    uint32_t index;
    uint64_t rx_frames; /* To the guest. */
    uint64_t rx_bytes;
    uint64_t tx_messages; /* From the guest: RNDIS_PKT. */
    uint64_t tx_frames;
};

class SessionChannel {
public:
    /* The channel with this index, 0 for the primary.  `link` is open; all
     * must outlive it.  `trace` is the session's. */
    SessionChannel(const NicConfig &nic, ReceiveBuffer &buffer, uint32_t index,
                   ChannelLink &link, Counters &counters, const Trace &trace);
    SessionChannel(const SessionChannel &) = delete;
    SessionChannel &operator=(const SessionChannel &) = delete;

    [[nodiscard]] uint32_t
    index() const
    {
        return index_;
    }
    [[nodiscard]] ChannelLink &
    link()
    {
        return link_;
    }
    [[nodiscard]] Trace &
    trace()
    {
        return trace_;
    }
    [[nodiscard]] Channel &
    ring()
    {
        return ring_;
    }
    [[nodiscard]] ReceivePath &
    receive()
    {
        return receive_;
    }
    [[nodiscard]] CompletionQueue &
    completions()
    {
        return completions_;
    }

    /* The worker looks at the ring by itself now. */
    void begin_round();
    /* Room in the ring, or a note of how much was lacking. */
    [[nodiscard]] bool need_room(uint32_t bytes);
    void
    lack_room(uint32_t bytes)
    {
        lacking_room_ = std::max(lacking_room_, bytes);
    }
    /* Sends what is due, as far as there is room.  Returns how many. */
    unsigned flush_completions(uint64_t now_ns);

    /* Frames that the guest sent on this channel; RNDIS_PKT messages. */
    void
    count_sent(uint64_t messages, uint64_t frames)
    {
        sent_messages_ += messages;
        sent_frames_ += frames;
    }
    [[nodiscard]] ChannelBooks
    books() const
    {
        return {index_, receive_.frames(), receive_.bytes(), sent_messages_,
                sent_frames_};
    }

    /* Asks for signals again.  False when there is more to do after all;
     * `accepts`: packets of the guest would be read. */
    [[nodiscard]] bool prepare_sleep(bool accepts);
    /* When a completion is due; UINT64_MAX for never. */
    [[nodiscard]] uint64_t next_due_ns() const;

private:
    uint32_t index_;
    ChannelLink &link_;
    Counters &counters_;
    Trace trace_;
    Channel ring_;
    ReceivePath receive_;
    CompletionQueue completions_;
    /* Ring space that the last round lacked, or 0. */
    uint32_t lacking_room_ = 0;
    bool masked_ = false;
    uint64_t sent_messages_ = 0;
    uint64_t sent_frames_ = 0;
};

} // namespace netvsc::host
