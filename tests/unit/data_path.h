/* A channel with its queues on a FakeUio, without a negotiation: what the
 * tests of the data path start from. */

#pragma once

#include <algorithm>
#include <memory>

#include <gtest/gtest.h>

#include "driver/control_mailbox.h"
#include "driver/net_channel.h"
#include "driver/session_context.h"
#include "driver/session_fault.h"
#include "driver/statistics.h"
#include "driver/transaction_id.h"
#include "tests/unit/fake_uio.h"
#include "tests/unit/far_ring.h"

namespace netvsc::test {

inline constexpr uint16_t kGeneration = 7;
inline constexpr uint32_t kSuballoc = 2048;
inline constexpr uint32_t kBuffer = 64 * wire::kPageSize; /* Receive. */
inline constexpr uint32_t kSection = 1024;
inline constexpr uint32_t kRelid = 15;

/* Takes a section and gives it to the host. */
inline std::optional<uint32_t>
send_off(SendSections *sections)
{
    sections->share(0).refill();
    auto index = sections->share(0).pop();
    if (index) {
        sections->give(*index);
    }
    return index;
}

class DataPath : public testing::Test {
protected:
    explicit DataPath(const MapSizes &sizes = {})
        : uio(sizes), out(uio.out_ring()), in(uio.in_ring()), net(make(&fault))
    {
    }

    /* Another channel on the same rings, as they are now. */
    NetChannel
    make(SessionFault *its_fault)
    {
        ReceiveBuffer receive(uio.map(wire::kUioMapReceiveBuffer), kSuballoc);
        SectionBuffer send(uio.map(wire::kUioMapSendBuffer), kSection);
        return {{&uio, its_fault, &mailbox, kGeneration},
                uio.map(wire::kUioMapRings),
                HostSignal(&uio, kRelid, std::nullopt),
                {receive, send, channel_sections(send.count(), 0, 1)},
                &control_section};
    }

    /* --- The host's side --- */

    /* Puts a message in sub-allocation `i` and says where it is. */
    Range
    store(unsigned i, const Bytes &message)
    {
        auto at =
            uio.map(wire::kUioMapReceiveBuffer).subspan(size_t{i} * kSuballoc);
        std::copy(message.begin(), message.end(), at.begin());
        return {static_cast<uint32_t>(message.size()), i * kSuballoc};
    }
    /* A transfer-pages packet with one frame. */
    void
    send_frame(uint64_t id, size_t size = 60)
    {
        in.write(
            transfer_packet(id, {store(0, rndis_frame(make_frame(size)))}));
    }
    /* What the driver sent: the ids of receive completions with `status`;
     * other packets fail. */
    std::vector<uint64_t>
    completed(uint32_t status = 1)
    {
        std::vector<uint64_t> ids;
        for (const Bytes &packet : out.read_all()) {
            EXPECT_EQ(packet.size(), 24u);
            EXPECT_EQ(get16(packet, 0), 11);
            EXPECT_EQ(get16(packet, 2), 2);
            EXPECT_EQ(get16(packet, 6), 0);
            EXPECT_EQ(get32(packet, 16), 108u);
            EXPECT_EQ(get32(packet, 20), status);
            ids.push_back(get64(packet, 8));
        }
        return ids;
    }
    /* Lets the next packet to the driver begin `before` bytes before the end
     * of the ring, by messages that ask for nothing. */
    void
    approach_end(uint32_t before)
    {
        /* The shortest of them: descriptor, two words and trailer. */
        constexpr uint32_t kLeast = 40;
        uint32_t to_go = in.size() - before - in.get(kWriteIndex);
        if (to_go == 0) {
            return;
        }
        if (to_go % in.size() < kLeast) {
            pass_over(kLeast);
            to_go -= kLeast;
        }
        pass_over(to_go % in.size());
    }
    void
    pass_over(uint32_t bytes)
    {
        Bytes payload(bytes - 24);
        put32(payload, 0, 128); /* SEND_VF_ASSOCIATION */
        in.write(inband_packet(payload));
        EXPECT_TRUE(poll().empty());
        EXPECT_EQ(in.used(), 0u);
    }

    /* The host completes the RNDIS message with this id. */
    void
    complete(uint64_t id, uint32_t status = 1)
    {
        in.write(completion_packet(id, nvsp_message({108, status})));
    }
    static uint64_t
    data_id(uint32_t section, uint16_t generation = kGeneration)
    {
        return TransactionId{generation, TransactionId::Kind::kData, section}
            .encode();
    }
    static uint64_t
    control_id(uint32_t section = 0)
    {
        return TransactionId{kGeneration, TransactionId::Kind::kControl,
                             section}
            .encode();
    }
    static uint64_t
    nvsp_id(uint32_t number, uint16_t generation = kGeneration)
    {
        return TransactionId{generation, TransactionId::Kind::kNvsp, number}
            .encode();
    }
    /* Leaves `bytes` free in the outgoing ring (a multiple of 8). */
    void
    fill_out(uint32_t bytes)
    {
        out.set(kReadIndex, (out.get(kWriteIndex) + bytes) % out.size());
    }
    void
    drain_out()
    {
        out.set(kReadIndex, out.get(kWriteIndex));
    }

    /* --- The user's side --- */

    /* One poll(), the frames' bytes, and release(). */
    std::vector<Bytes>
    poll(size_t most = kMaxBurst)
    {
        std::array<netvsc_rx_frame, kMaxBurst> frames;
        unsigned n = rxq.poll(std::span(frames).first(most));
        std::vector<Bytes> result;
        for (unsigned i = 0; i < n; i++) {
            Bytes bytes;
            for (uint32_t j = 0; j < frames[i].n_fragments; j++) {
                const netvsc_fragment &f = frames[i].fragments[j];
                bytes.insert(bytes.end(), f.data, f.data + f.size);
            }
            EXPECT_EQ(bytes.size(), frames[i].size);
            result.push_back(std::move(bytes));
        }
        rxq.release();
        return result;
    }
    Statistics
    statistics()
    {
        Statistics s;
        net.add_to(&s);
        return s;
    }
    uint64_t
    malformed(Malformed cause)
    {
        return statistics().malformed[static_cast<unsigned>(cause)];
    }
    uint64_t
    all_malformed()
    {
        return statistics().all_malformed();
    }

    FakeUio uio;
    FarRing out, in; /* The host's ends. */
    SessionFault fault{&uio};
    ControlMailbox mailbox{&uio};
    ControlSection control_section;
    SessionContext context{&uio, &fault, &mailbox, kGeneration};
    NetChannel net;
    Channel &channel = net.ring;
    SendSections &sections = net.sections;
    RingConsumer &consumer = net.consumer;
    RxQueue &rxq = net.rxq;
};

} // namespace netvsc::test
