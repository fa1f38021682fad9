/* Guest to host: the RNDIS message of an RNDIS_PKT is brought to private
 * memory, checked as G.4 says, and its frames go to the wire.
 *
 * The message is copied out of shared memory once, before anything in it is
 * looked at.  Everything after that works on the copy: nothing can change
 * between a check and its use, and tags and checksums are put into place where
 * the frame lies.  Only for a sink, which sends nothing on, the message stays
 * where it is. */

#pragma once

#include <vector>

#include "host/base/checksum.h"
#include "host/netvsp/channel.h"
#include "host/netvsp/oids.h"
#include "host/wires/backend.h"
#include "host/wires/sink.h"

namespace netvsc::host {

/* The bytes that an RNDIS_PKT message stands for (E.8): those in a section of
 * the send buffer, then those in guest memory. */
class MessageGatherer {
public:
    explicit MessageGatherer(GuestMemory &memory);

    /* Where sections are: SEND_SEND_BUF and REVOKE_SEND_BUF. */
    void
    attach(MutableBytes send_buffer, uint32_t section_size)
    {
        send_buffer_ = send_buffer;
        section_size_ = section_size;
    }

    /* A private copy of the message, valid until the next call; nothing when
     * the packet names memory that does not exist, or too much of it. */
    [[nodiscard]] std::optional<MutableBytes>
    gather(const RingPacket &packet, const wire::nvsp::SendRndisPacket &nvsp);

    /* The message where it lies, when all of it is in a section: the guest can
     * change it at any time. */
    [[nodiscard]] std::optional<Bytes>
    view(const RingPacket &packet,
         const wire::nvsp::SendRndisPacket &nvsp) const;

    /* Records what the last gather() read in the trace of its channel; of it
     * only `pieces` (ascending) unless they are empty. */
    void record(Trace &trace, std::span<const TracePiece> pieces);

private:
    /* The longest message: a large send of 64 KiB and its headers, twice. */
    static constexpr uint32_t kLongestMessage = 128 * 1024;

    [[nodiscard]] std::optional<Bytes>
    section(const wire::nvsp::SendRndisPacket &nvsp) const;
    [[nodiscard]] bool add_ranges(const RingPacket &packet);

    GuestMemory &memory_;
    MutableBytes send_buffer_;
    uint32_t section_size_ = 0;
    std::unique_ptr<std::byte[]> message_;
    std::vector<GpaPiece> gpa_;
    /* Of the last message. */
    uint64_t section_at_ = 0;
    uint32_t section_bytes_ = 0;
    uint32_t gpa_bytes_ = 0;
};

class TransmitPath {
public:
    TransmitPath(const NicConfig &nic, const Agreement &agreement,
                 Backend &backend, Counters &counters);

    /* Checks a data message, each field of which it reads once.  False when
     * any part of it is malformed: then none of its frames may be sent. */
    [[nodiscard]] bool parse(Bytes message);

    /* What a trace cut to `snap` keeps of the parsed message; nothing when
     * it must be kept whole. */
    [[nodiscard]] std::vector<TracePiece> pieces(uint32_t snap) const;

    /* Sends the frames of the parsed message, changing it. */
    void send(MutableBytes message);

    /* Gives them to a sink instead, as they are. */
    void sink(Bytes message, Sink &sink);

private:
    /* One RNDIS PACKET of the message; offsets in the message. */
    struct Frame {
        uint32_t packet_at;
        uint32_t head_end; /* After header and per-packet info. */
        uint32_t data_at;
        uint32_t data_size;
        std::optional<uint16_t> tci;
        ChecksumRequest checksum;
    };

    [[nodiscard]] bool parse_packets(Bytes message);
    [[nodiscard]] bool parse_packet(Bytes packet, uint32_t at, Frame &frame);
    [[nodiscard]] bool parse_info(Bytes elements, Frame &frame);
    void send_frame(MutableBytes message, const Frame &frame);

    const NicConfig &nic_;
    const Agreement &agreement_;
    Backend &backend_;
    Counters &counters_;
    std::vector<Frame> frames_;
};

} // namespace netvsc::host
