/* Host to guest on one channel: frames and control messages become RNDIS
 * messages in sub-allocations of the receive buffer, several for each
 * transfer-pages packet (D.6, E.10). */

#pragma once

#include <array>

#include "host/netvsp/channel.h"
#include "host/netvsp/oids.h"
#include "host/netvsp/receive_buffer.h"
#include "host/wires/backend.h"
#include "host/wires/generator.h"

namespace netvsc::host {

/* Reads what waits on the wire, up to a batch, and counts each frame in
 * `dropped`.  Returns how many. */
unsigned drop_frames(Backend &backend, uint64_t &dropped);

class ReceivePath {
public:
    /* Frames of one round; a tap device queues a few hundred. */
    static constexpr unsigned kBatch = 64;

    /* Of the channel with this index.  All must outlive it. */
    ReceivePath(const NicConfig &nic, ReceiveBuffer &buffer, uint32_t index,
                Channel &channel, Counters &counters, Trace &trace);

    /* Ring space that the frames of one round can need. */
    [[nodiscard]] uint32_t
    batch_room() const
    {
        return batch_room_;
    }
    /* What the guest can be given now: ring space for a round's frames, and a
     * sub-allocation of this channel's range. */
    [[nodiscard]] bool
    has_room()
    {
        return in_round_ || channel_.has_room(batch_room_);
    }
    [[nodiscard]] bool
    has_suballoc() const
    {
        return buffer_.ledger()->data_free(index_) != 0;
    }

    enum class Added { kYes, kNoRoom, kNoSuballoc };
    /* Adds a frame to the transfer that is being filled, and sends that when
     * it is full; kBatch frames at most before flush().  `choice` is why it
     * comes here. */
    [[nodiscard]] Added add(const WireFrame &frame,
                            const ReceiveScaling::Choice &choice,
                            const Oids &oids);
    /* Sends a transfer that is not full.  Ends a round. */
    void flush();

    /* Puts up to kBatch frames of a generator; the ring must have
     * batch_room().  Returns how many there were sub-allocations for. */
    unsigned generate(Generator &generator, unsigned frames);

    /* Sends one control message; the ring must have room for a transfer of
     * one range.  False when the guest has all control sub-allocations. */
    [[nodiscard]] bool send_control(Bytes message);

    /* Frames that this channel delivered, and their bytes. */
    [[nodiscard]] uint64_t
    frames() const
    {
        return frames_;
    }
    [[nodiscard]] uint64_t
    bytes() const
    {
        return bytes_;
    }

    /* The guest's completion of a transfer.  False when this channel has no
     * such one. */
    [[nodiscard]] bool complete(uint64_t trans_id);

private:
    struct Placement {
        uint32_t header_size; /* RNDIS header and per-packet info. */
        uint32_t frame_size;
    };

    Placement place(const WireFrame &frame, uint32_t index,
                    const ReceiveScaling::Choice &choice, const Oids &oids);
    void append(uint32_t index, const Placement &placement);
    void send_batch();

    const NicConfig &nic_;
    ReceiveBuffer &buffer_;
    uint32_t index_;
    Channel &channel_;
    Counters &counters_;
    Trace &trace_;
    uint32_t batch_room_;
    bool in_round_ = false; /* Room was found for all of it. */

    /* The transfer-pages packet that is being filled. */
    std::array<wire::TransferPageRange, kBatch> ranges_{};
    std::array<Placement, kBatch> placements_{};
    uint32_t transfer_ = 0;
    uint64_t frames_ = 0;
    uint64_t bytes_ = 0;
    unsigned filled_ = 0;
};

} // namespace netvsc::host
