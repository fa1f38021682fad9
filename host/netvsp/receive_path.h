/* Host to guest: frames and control messages become RNDIS messages in
 * sub-allocations of the receive buffer, several for each transfer-pages
 * packet (reference D.6, E.10). */

#pragma once

#include <array>

#include "host/netvsp/channel.h"
#include "host/netvsp/sub_allocations.h"
#include "host/wires/backend.h"
#include "host/wires/generator.h"

namespace netvsc::host {

/* Reads what waits on the wire, up to a batch, and counts each frame in
 * `dropped`.  Returns how many. */
unsigned drop_frames(Backend &backend, uint64_t &dropped);

class ReceivePath {
public:
    /* Frames of one deliver(); a tap device queues a few hundred. */
    static constexpr unsigned kBatch = 64;

    ReceivePath(const NicConfig &nic, Channel &channel, Counters &counters,
                Trace &trace)
        : nic_(nic), channel_(channel), counters_(counters), trace_(trace)
    {
    }

    /* Starts using the guest's buffer for frames of an L3 MTU of `mtu`.  False
     * when it is too small to be of use. */
    [[nodiscard]] bool attach(MutableBytes buffer, uint32_t mtu);
    /* Stops using it (REVOKE); what the guest still has may come back. */
    void revoke();
    [[nodiscard]] bool
    attached() const
    {
        return !buffer_.empty();
    }
    /* Bytes of a sub-allocation for frames of this L3 MTU. */
    [[nodiscard]] static uint32_t suballoc_size_for(uint32_t mtu);
    [[nodiscard]] uint32_t
    suballoc_size() const
    {
        return suballoc_size_;
    }
    /* Nothing before attach(). */
    [[nodiscard]] const std::optional<SubAllocations> &
    ledger() const
    {
        return ledger_;
    }

    /* Ring space that one deliver() can need. */
    [[nodiscard]] uint32_t
    batch_room() const
    {
        return batch_room_;
    }
    /* Delivers waiting frames; the ring must have batch_room().  Returns how
     * many were read, delivered or not. */
    unsigned deliver(Backend &backend, const Oids &oids);

    /* Puts up to kBatch frames of a generator, which writes them into the
     * buffer before the first; the ring must have batch_room().  Returns how
     * many there were sub-allocations for. */
    unsigned generate(Generator &generator, unsigned frames, const Oids &oids);

    /* Sends one control message; the ring must have room for a transfer of
     * one range.  False when the guest has all control sub-allocations. */
    [[nodiscard]] bool send_control(Bytes message);

    /* The guest's completion of a transfer.  False when it has no such one. */
    [[nodiscard]] bool complete(uint64_t trans_id);

private:
    struct Placement {
        uint32_t header_size; /* RNDIS header and per-packet info. */
        uint32_t frame_size;
    };

    Placement place(MutableBytes frame, bool checksum_good, uint32_t index,
                    const Oids &oids);
    void send_batch(uint32_t transfer);
    [[nodiscard]] MutableBytes
    suballoc(uint32_t index) const
    {
        return buffer_.subspan(size_t{index} * suballoc_size_, suballoc_size_);
    }

    const NicConfig &nic_;
    Channel &channel_;
    Counters &counters_;
    Trace &trace_;

    MutableBytes buffer_;
    uint32_t mtu_ = 0;
    uint32_t suballoc_size_ = 0;
    uint32_t batch_room_ = 0;
    std::optional<SubAllocations> ledger_;
    bool prefilled_ = false;

    /* The transfer-pages packet that is being filled. */
    std::array<wire::TransferPageRange, kBatch> ranges_{};
    std::array<Placement, kBatch> placements_{};
    unsigned filled_ = 0;
};

} // namespace netvsc::host
