/* Makes the traffic of a measurement.
 *
 * The messages are written into the sub-allocations of the receive buffer
 * once, when a guest wants frames; a frame then costs the host an entry in a
 * transfer-pages packet and nothing else.  Frame i is in the i-th, and the
 * flows that take a channel are in the sub-allocations of that channel in
 * turn, so there are never more flows than sub-allocations.  They are written
 * anew when flows take other channels; what the guest still has, when it comes
 * back. */

#pragma once

#include <functional>
#include <vector>

#include "host/netvsp/oids.h"
#include "host/netvsp/receive_buffer.h"
#include "host/wires/round_trips.h"
#include "host/wires/sink.h"
#include "wire/ring.h"

namespace netvsc::host {

/* Bytes of frame `number`. */
[[nodiscard]] uint32_t generated_size(const GeneratorConfig &config,
                                      uint32_t number);

struct GeneratorCounters {
    uint64_t frames = 0; /* Put into the ring. */
    /* Rounds in which frames were due, and of these: those that put none
     * because ring, buffer or window were full, so that the guest was the
     * limit; and those that found that the guest had read everything, so that
     * it may have waited for the host. */
    uint64_t rounds = 0;
    uint64_t full_rounds = 0;
    uint64_t empty_rounds = 0;
    uint64_t late = 0; /* Frames of a rate that could not be put in time. */
    uint64_t lost = 0; /* Frames of a loop that did not come back. */
};

class Generator {
public:
    Generator(const NicConfig &nic, const Sink &sink);

    /* Writes the messages into the sub-allocations of `buffer`, which is
     * attached.  `open` says which of `channels` channels takes the frames
     * that the indirection table gives to another one.  Both must outlive
     * it. */
    void lay_out(ReceiveBuffer &buffer, const Oids &oids, uint32_t channels,
                 const std::function<uint32_t(uint32_t)> &open);

    /* Whether any flow takes the channel. */
    [[nodiscard]] bool
    feeds(uint32_t channel) const
    {
        return !flows_[channel].empty();
    }
    /* The message in a sub-allocation of that channel. */
    [[nodiscard]] const wire::TransferPageRange &
    message(uint32_t index, uint32_t channel)
    {
        if (messages_[index].layout != layout_) {
            write(index, channel);
        }
        return messages_[index].range;
    }
    /* Header and per-packet info of each. */
    [[nodiscard]] uint32_t
    head_size() const
    {
        return head_size_;
    }

    /* What the host can put at once, and the sub-allocations that it has and
     * that the guest has. */
    struct Room {
        uint32_t batch;
        uint32_t free;
        uint32_t outstanding;
    };
    /* How many frames should be put now: whole transfers, if they can be. */
    [[nodiscard]] unsigned due(uint64_t now_ns, const Room &room);
    /* How many of them were, into a ring that was empty or not. */
    void put(uint64_t frames, bool was_empty);

    [[nodiscard]] const Pace &
    pace() const
    {
        return pace_;
    }
    void set_pace(const Pace &pace);

    [[nodiscard]] const GeneratorCounters &
    counters() const
    {
        return counters_;
    }
    /* Of a loop of one frame, since the pace was set. */
    [[nodiscard]] const RoundTrips &
    round_trips() const
    {
        return round_trips_;
    }

private:
    void write(uint32_t index, uint32_t channel);
    [[nodiscard]] uint64_t due_by_pace(uint64_t now_ns, uint64_t outstanding);
    [[nodiscard]] uint64_t transfer_size(uint64_t batch) const;
    [[nodiscard]] uint64_t due_in_loop(uint64_t now_ns);
    [[nodiscard]] uint64_t due_at_rate(uint64_t now_ns);

    const NicConfig &nic_;
    const Sink &sink_;
    Pace pace_;
    struct Message {
        wire::TransferPageRange range{};
        uint32_t layout = 0; /* As of which it was written. */
    };
    std::vector<Message> messages_;
    uint32_t layout_ = 0;
    ReceiveBuffer *buffer_ = nullptr;
    const Oids *oids_ = nullptr;
    std::vector<std::vector<uint32_t>> flows_; /* Of each channel. */
    uint32_t head_size_ = 0;
    GeneratorCounters counters_;
    uint64_t due_ = 0; /* Of the round. */

    /* kLoop: frames put and taken when the count began, and when one came
     * back last. */
    uint64_t loop_put_ = 0;
    uint64_t loop_taken_ = 0;
    uint64_t taken_ = 0;
    uint64_t taken_at_ns_ = 0;
    /* A loop of one: when its frame was put, 0 when it is back. */
    uint64_t round_ns_ = 0;
    uint64_t sent_ns_ = 0;
    RoundTrips round_trips_;
    /* kRate: when the count began, and frames put or late since. */
    uint64_t began_ns_ = 0;
    uint64_t accounted_ = 0;
};

} // namespace netvsc::host
