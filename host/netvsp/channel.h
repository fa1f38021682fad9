/* The host's end of one open VMBus channel: both rings, the trace of what
 * crosses them, and one signal decision for each batch. */

#pragma once

#include <array>

#include "host/counters.h"
#include "host/netvsp/front_end.h"
#include "host/netvsp/ring.h"
#include "host/netvsp/trace.h"
#include "wire/nvsp.h"

namespace netvsc::host {

/* Bytes of ring that a packet of each kind takes, trailer included. */
inline constexpr uint32_t kCompletionRoom = sizeof(wire::PacketDescriptor) +
                                            wire::nvsp::kMessageSize +
                                            wire::kTrailerSize;
inline constexpr uint32_t kNotifyRoom =
    sizeof(wire::PacketDescriptor) +
    round_up(sizeof(wire::nvsp::SendIndirectionTable), wire::kRingUnit) +
    wire::kTrailerSize;
[[nodiscard]] constexpr uint32_t
transfer_room(uint32_t ranges)
{
    return static_cast<uint32_t>(sizeof(wire::TransferPagesHeader) +
                                 ranges * sizeof(wire::TransferPageRange) +
                                 wire::nvsp::kMessageSize +
                                 wire::kTrailerSize);
}

/* Ranges of one transfer-pages packet that Linux can still read (A.12). */
inline constexpr uint32_t kMaxRanges =
    (wire::kMaxHostPacket - sizeof(wire::TransferPagesHeader) -
     wire::nvsp::kMessageSize) /
    sizeof(wire::TransferPageRange);

class Channel {
public:
    Channel(ChannelLink &link, Counters &counters, Trace &trace);

    /* Guest to host.  The packet is valid until the next read(). */
    [[nodiscard]] IncomingRing::Result read(RingPacket &packet);

    /* Host to guest.  Room must have been asked for; the guest sees nothing
     * before publish(). */
    [[nodiscard]] bool
    has_room(uint32_t bytes)
    {
        return to_guest_.has_room(bytes);
    }
    [[nodiscard]] bool
    drained() const
    {
        return to_guest_.drained();
    }
    /* A completion without `message` is an empty one. */
    void complete(uint64_t trans_id, Bytes message);
    /* A message that nobody asked for, and that is not completed. */
    void notify(Bytes message);
    void transfer(uint64_t trans_id, uint32_t channel_type,
                  std::span<const wire::TransferPageRange> ranges);

    /* Publishes both rings' indices and interrupts the guest at most once. */
    void publish();

    void
    mask()
    {
        to_host_.mask();
    }
    /* True when packets wait, so that the caller must not sleep. */
    [[nodiscard]] bool
    unmask()
    {
        return to_host_.unmask();
    }
    /* True when the caller may sleep until the guest signals room. */
    [[nodiscard]] bool
    wait_for_room(uint32_t bytes)
    {
        return to_guest_.wait_for_room(bytes);
    }

    /* Why the channel cannot go on, or nullptr. */
    [[nodiscard]] const char *fault() const;

private:
    [[nodiscard]] MutableBytes start(size_t size);
    void finish(Bytes packet);

    IncomingRing to_host_;
    OutgoingRing to_guest_;
    ChannelLink &link_;
    Counters &counters_;
    Trace &trace_;
    /* A packet that goes around the end of the ring is put together here, and
     * every one for the trace, which wants the trailer with it. */
    std::array<std::byte, wire::kMaxHostPacket + wire::kTrailerSize> packet_{};
};

} // namespace netvsc::host
