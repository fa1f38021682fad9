/* Sub-channels of a session: the request, what goes over them, and their end
 * (D.7). */

#include <set>

#include <gtest/gtest.h>

#include "tests/unit/host_guest.h"

namespace netvsc::host::test {

namespace {

/* A guest with the rings of some sub-channels. */
class ManyChannels : public Guest {
public:
    explicit ManyChannels(uint32_t channels, const std::string &options = "",
                          size_t ring_data = 8 * 4096)
        : Guest("max-queues=" + std::to_string(channels) + options)
    {
        for (uint32_t i = 1; i < channels; i++) {
            links.push_back(std::make_unique<FakeLink>(ring_data));
        }
    }
    /* The status and the number of the answer. */
    std::pair<uint32_t, uint32_t>
    ask(uint32_t count)
    {
        Buffer reply =
            request(900, Message().u32(133).u32(1).u32(count).zeros(28));
        EXPECT_EQ(load<uint32_t>(reply), 133u);
        return {load<uint32_t>(reply, 4), load<uint32_t>(reply, 8)};
    }
    FakeLink &
    link(uint32_t channel)
    {
        return channel ? *links[channel - 1] : front_end;
    }
    void
    open(uint32_t channel)
    {
        session->open_subchannel(channel, link(channel));
    }
    /* Attached, and all sub-channels open. */
    void
    attach_all()
    {
        attach();
        ASSERT_EQ(ask(static_cast<uint32_t>(links.size())),
                  std::pair(1u, static_cast<uint32_t>(links.size())));
        for (uint32_t i = 1; i <= links.size(); i++) {
            open(i);
        }
        serve();
        EXPECT_TRUE(take_table());
    }
    /* Takes the message that announces where to send what. */
    bool
    take_table()
    {
        auto packet = read();
        return packet && packet->type == 6 &&
               load<uint32_t>(packet->payload) == 134;
    }
    /* Which channel takes which of 128 buckets. */
    void
    scale(const std::vector<uint32_t> &table)
    {
        Message set;
        auto size = static_cast<uint16_t>(4 * table.size());
        set.u8(0x89).u8(2).u16(40).u32(0).u32(0x1701).u16(size).u16(0).u32(40);
        set.u16(40).u16(0).u32(40u + size).zeros(12);
        for (uint32_t entry : table) {
            set.u32(entry);
        }
        /* A key by which the bits of the last byte of the source address, the
         * highest first, are the lowest of the hash. */
        Buffer key(40);
        key[6] = std::byte{1};
        set.bytes(key);
        Buffer reply = control(rndis_set(70, 0x00010204, set));
        ASSERT_EQ(load<uint32_t>(reply, 12), 0u);
    }
    /* Ring packets that wait on a channel. */
    std::vector<HostPacket>
    take(uint32_t channel)
    {
        std::vector<HostPacket> packets;
        while (auto packet = read_packet(link(channel).to_guest_ring())) {
            packets.push_back(*packet);
        }
        return packets;
    }
    /* Frames of these, each as its message in the receive buffer. */
    std::vector<Buffer>
    messages(const std::vector<HostPacket> &packets)
    {
        std::vector<Buffer> all;
        for (const HostPacket &packet : packets) {
            for (uint32_t i = 0;
                 packet.type == 7 && i < load<uint32_t>(packet.bytes, 20);
                 i++) {
                auto size = load<uint32_t>(packet.bytes, 24 + 8 * i);
                auto at = load<uint32_t>(packet.bytes, 28 + 8 * i);
                all.emplace_back(front_end.receive.begin() + at,
                                 front_end.receive.begin() + at + size);
            }
        }
        return all;
    }
    void
    send(uint32_t channel, uint16_t type, uint64_t id, Bytes payload,
         bool completion = true)
    {
        write_packet(link(channel).to_host_ring(), type, id,
                     completion ? 1 : 0, {}, payload);
    }

    std::vector<std::unique_ptr<FakeLink>> links;
};

/* A UDP frame that has this hash by the key above. */
Buffer
frame_of(uint8_t hash, size_t size = 60)
{
    Buffer frame = plain_frame(size);
    Buffer head = from_hex("0800 4500 002e 0000 0000 4011 0000 c6120000"
                           "00000000 c000 0009");
    std::copy(head.begin(), head.end(), frame.begin() + 12);
    uint8_t last = 0;
    for (unsigned bit = 0; bit < 8; bit++) {
        last = static_cast<uint8_t>(last << 1 | (hash >> bit & 1));
    }
    frame[29] = static_cast<std::byte>(last);
    return frame;
}

/* 128 entries, of which the first ones matter. */
std::vector<uint32_t>
table_of(std::vector<uint32_t> first)
{
    first.resize(128);
    return first;
}

Message
rndis_message(uint32_t channel_type, uint32_t section, uint32_t size)
{
    return Message()
        .u32(107)
        .u32(channel_type)
        .u32(section)
        .u32(size)
        .zeros(24);
}

/* --- The request ------------------------------------------------------- */

TEST(HostChannels, AreGrantedAsAskedAndOfferedAfterTheAnswer)
{
    ManyChannels guest(4);
    guest.attach();
    guest.inband(5, Message().u32(133).u32(1).u32(3).zeros(28));
    (void) guest.session->serve(guest.now_ns);
    std::optional<HostPacket> reply = guest.read();
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->type, 11u);
    EXPECT_EQ(to_hex(reply->payload),
              to_hex(Message().u32(133).u32(1).u32(3).zeros(28)));
    EXPECT_EQ(guest.front_end.offered, 3u);
    /* Once in a session. */
    EXPECT_EQ(guest.ask(3), std::pair(2u, 0u));
    EXPECT_EQ(guest.front_end.offered, 3u);
}

TEST(HostChannels, AreNotGrantedBeyondTheNicsQueues)
{
    ManyChannels guest(4);
    guest.attach();
    EXPECT_EQ(guest.ask(4), std::pair(2u, 0u));
    EXPECT_EQ(guest.ask(1u << 31), std::pair(2u, 0u));
    EXPECT_EQ(guest.front_end.offered, 0u);
    EXPECT_EQ(guest.ask(2), std::pair(1u, 2u));
    EXPECT_FALSE(guest.session->failed());
}

TEST(HostChannels, AreNotGrantedWithoutASubAllocationForEach)
{
    /* 128 KiB have 72 sub-allocations of 1,808 bytes, 16 kept back. */
    ManyChannels many(64, ",control-suballocs=16");
    many.init();
    many.ndis();
    EXPECT_EQ(many.ask(3), std::pair(2u, 0u));
    ManyChannels few(64, ",control-suballocs=70");
    few.attach();
    EXPECT_EQ(few.ask(2), std::pair(2u, 0u));
    EXPECT_EQ(few.ask(1), std::pair(1u, 1u));
}

TEST(HostChannels, AreOfferedLateWhenTheNicSaysSo)
{
    ManyChannels guest(2, ",subchannel-delay-ms=50");
    guest.attach();
    EXPECT_EQ(guest.ask(1), std::pair(1u, 1u));
    guest.serve();
    EXPECT_EQ(guest.front_end.offered, 0u);
    EXPECT_EQ(guest.session->next_due_ns(guest.now_ns),
              guest.now_ns + 50'000'000);
    guest.now_ns += 50'000'000;
    guest.serve();
    EXPECT_EQ(guest.front_end.offered, 1u);
    EXPECT_EQ(guest.session->next_due_ns(guest.now_ns), UINT64_MAX);
}

TEST(HostChannels, AreAnnouncedWhenAllAreOpen)
{
    ManyChannels guest(3);
    guest.attach();
    ASSERT_EQ(guest.ask(2), std::pair(1u, 2u));
    guest.open(2);
    guest.serve();
    EXPECT_FALSE(guest.read());
    guest.open(1);
    guest.serve();
    std::optional<HostPacket> table = guest.read();
    ASSERT_TRUE(table);
    EXPECT_EQ(table->type, 6u);
    EXPECT_EQ(load<uint16_t>(table->bytes, 6), 0u); /* No completion. */
    Message wanted;
    wanted.u32(134).u32(16).u32(12);
    for (uint32_t i = 0; i < 16; i++) {
        wanted.u32(i % 3);
    }
    EXPECT_EQ(to_hex(table->payload), to_hex(wanted.zeros(4)));
}

TEST(HostChannels, CannotBeOpenedWithoutAGrant)
{
    ManyChannels guest(4);
    guest.attach();
    guest.open(1);
    ASSERT_EQ(guest.ask(1), std::pair(1u, 1u));
    guest.open(2);
    guest.serve();
    EXPECT_EQ(guest.session->channel_books().size(), 1u);
    EXPECT_FALSE(guest.session->failed());
}

/* --- Frames to the guest ----------------------------------------------- */

TEST(HostChannels, CarryTheFramesThatTheTableGivesThem)
{
    ManyChannels guest(3);
    guest.attach_all();
    guest.scale(table_of({0, 1, 2, 1}));
    for (uint8_t hash : {0, 1, 2, 3, 1}) {
        guest.backend.waiting.push_back(frame_of(hash));
    }
    guest.backend.waiting.push_back(plain_frame(60));
    guest.serve();
    std::vector<Buffer> got[3];
    for (uint32_t channel = 0; channel < 3; channel++) {
        auto packets = guest.take(channel);
        EXPECT_EQ(packets.size(), 1u); /* One for all ranges. */
        got[channel] = guest.messages(packets);
        EXPECT_EQ(guest.link(channel).interrupts > 0, true);
    }
    ASSERT_EQ(got[0].size(), 2u);
    ASSERT_EQ(got[1].size(), 3u);
    ASSERT_EQ(got[2].size(), 1u);
    /* Hash value and hash info: IPv4 and Toeplitz. */
    EXPECT_EQ(to_hex(Bytes(got[1][1]).subspan(44, 32)),
              to_hex(Message()
                         .bytes(info_element(8, 3))
                         .bytes(info_element(9, 0x101))));
    EXPECT_EQ(to_hex(Bytes(got[2][0]).subspan(256)), to_hex(frame_of(2)));
    /* What is not IP has neither, and takes the primary channel. */
    EXPECT_EQ(load<uint32_t>(got[0][1], 32), 0u);

    auto books = guest.session->channel_books();
    ASSERT_EQ(books.size(), 3u);
    EXPECT_EQ(books[1].index, 1u);
    EXPECT_EQ(books[1].rx_frames, 3u);
    EXPECT_EQ(books[1].rx_bytes, 180u);
    EXPECT_EQ(guest.counters.rx.frames, 6u);
}

TEST(HostChannels, StayUnusedUntilScalingIsOnAndTheyAreOpen)
{
    ManyChannels guest(3);
    guest.attach();
    ASSERT_EQ(guest.ask(2), std::pair(1u, 2u));
    guest.open(1);
    guest.backend.waiting.push_back(frame_of(1));
    guest.serve();
    EXPECT_EQ(guest.receive().size(), 1u);
    guest.scale(table_of({0, 1, 2}));
    guest.backend.waiting = {frame_of(1), frame_of(2)};
    guest.serve();
    EXPECT_EQ(guest.messages(guest.take(1)).size(), 1u);
    EXPECT_EQ(guest.receive().size(), 1u); /* In place of channel 2. */
}

TEST(HostChannels, HaveSubAllocationsOfTheirOwn)
{
    ManyChannels guest(2, ",ranges=1");
    guest.attach_all();
    guest.scale(table_of({0, 1}));
    const SubAllocations &ledger = *guest.session->receive_buffer().ledger();
    uint32_t share = ledger.share(1);
    ASSERT_GT(share, 4u);
    for (uint32_t i = 0; i < share + 3; i++) {
        guest.backend.waiting.push_back(frame_of(1));
    }
    guest.backend.waiting.push_back(frame_of(0));
    guest.serve();
    auto packets = guest.take(1);
    EXPECT_EQ(packets.size(), share);
    EXPECT_EQ(guest.counters.rx.dropped_no_suballoc, 3u);
    EXPECT_EQ(guest.receive().size(), 1u); /* Channel 0 is not held up. */

    guest.send(1, 11, packets[0].trans_id, Message().u32(108).u32(1), false);
    guest.serve();
    EXPECT_EQ(ledger.data_free(1), 1u);
    EXPECT_FALSE(guest.session->failed());
}

TEST(HostChannels, DropWhatOneHasNoRoomForAndDeliverTheRest)
{
    /* A round can need 584 bytes; a packet of one frame takes 80. */
    ManyChannels guest(2, ",ranges=64", 1024);
    guest.attach_all();
    guest.scale(table_of({0, 1}));
    for (int i = 0; i < 6; i++) {
        guest.backend.waiting.push_back(frame_of(1));
        guest.serve();
    }
    uint64_t before = guest.counters.rx.frames;
    EXPECT_EQ(before, 6u);
    guest.backend.waiting = {frame_of(1), frame_of(0)};
    guest.serve();
    EXPECT_EQ(guest.counters.rx.dropped_ring_full, 1u);
    EXPECT_EQ(guest.counters.rx.frames, before + 1);
    EXPECT_EQ(guest.receive().size(), 1u);
    EXPECT_TRUE(guest.session->wants_frames(guest.now_ns));
}

/* --- What the guest sends ---------------------------------------------- */

TEST(HostChannels, AreCompletedWhereTheMessageCame)
{
    ManyChannels guest(2);
    guest.attach_all();
    Buffer message = rndis_packet(plain_frame(60)).buffer();
    std::copy(message.begin(), message.end(), guest.front_end.send.begin());
    guest.send(1, 6, 77, rndis_message(0, 0, 104));
    guest.serve();
    EXPECT_FALSE(guest.read());
    auto packets = guest.take(1);
    ASSERT_EQ(packets.size(), 1u);
    EXPECT_EQ(packets[0].type, 11u);
    EXPECT_EQ(packets[0].trans_id, 77u);
    EXPECT_EQ(load<uint32_t>(packets[0].payload, 4), 1u);
    EXPECT_EQ(guest.backend.sent, std::vector<Buffer>{plain_frame(60)});
    EXPECT_EQ(guest.session->channel_books()[1].tx_frames, 1u);
    EXPECT_EQ(guest.session->channel_books()[0].tx_frames, 0u);
}

TEST(HostChannels, CarryNothingButFrames)
{
    const std::pair<Message, const char *> bad[] = {
        {Message().u32(133).u32(1).u32(1).zeros(28),
         "NVSP message on a sub-channel, which only carries frames"},
        {Message().u32(103).u16(0xcafe).zeros(34),
         "NVSP message on a sub-channel, which only carries frames"},
        {rndis_message(1, 0, 24), "RNDIS control message on a sub-channel"}};
    for (const auto &[message, error] : bad) {
        ManyChannels guest(2);
        guest.attach_all();
        guest.send(1, 6, 5, message);
        guest.serve();
        EXPECT_STREQ(guest.session->error(), error);
    }
}

TEST(HostChannels, AreCompletedByTheGuestWhereTheFrameCame)
{
    ManyChannels guest(2);
    guest.attach_all();
    guest.scale(table_of({0, 1}));
    guest.backend.waiting.push_back(frame_of(1));
    guest.serve();
    auto packets = guest.take(1);
    ASSERT_EQ(packets.size(), 1u);
    guest.complete_transfer(packets[0].trans_id);
    guest.serve();
    EXPECT_STREQ(guest.session->error(),
                 "completion of a transfer that is not outstanding");
}

TEST(HostChannels, BreakTheSessionWithTheirRings)
{
    ManyChannels guest(2);
    guest.attach_all();
    store(guest.link(1).to_host_ring(), 0, uint32_t{3});
    guest.serve();
    EXPECT_TRUE(guest.session->failed());
}

/* --- The end ----------------------------------------------------------- */

TEST(HostChannels, AreReadToTheEndWhenTheyClose)
{
    ManyChannels guest(3);
    guest.attach_all();
    guest.scale(table_of({0, 1, 2}));
    guest.backend.waiting = {frame_of(1), frame_of(2)};
    guest.serve();
    auto packets = guest.take(1);
    guest.send(1, 11, packets.at(0).trans_id, Message().u32(108).u32(1),
               false);
    guest.session->close_subchannel(1);
    EXPECT_EQ(guest.session->receive_buffer().ledger()->data_outstanding(1),
              0u);
    guest.backend.waiting.push_back(frame_of(1));
    guest.serve();
    EXPECT_TRUE(guest.take(1).empty());
    EXPECT_EQ(guest.receive().size(), 1u);
    guest.session->close_subchannel(1);
    guest.session->finish();
    EXPECT_FALSE(guest.session->failed());
}

/* --- Measurements ------------------------------------------------------ */

TEST(HostChannels, GetGeneratedFramesByTheirFlow)
{
    ManyChannels guest(2, ",generate=64,flows=8,pace=none,ranges=8");
    guest.attach_all();
    /* The flow is the last byte of the address; its bits 1 and 2 are here. */
    auto table = table_of({});
    table[0x40] = table[0x60] = 1;
    guest.scale(table);
    guest.generator->generator()->set_pace(parse_pace("window:16"));
    guest.serve();
    size_t frames = 0;
    for (uint32_t channel : {0u, 1u}) {
        auto got = guest.messages(guest.take(channel));
        EXPECT_FALSE(got.empty());
        frames += got.size();
        for (const Buffer &message : got) {
            auto flow = std::to_integer<uint32_t>(message[256 + 29]);
            EXPECT_EQ(flow >> 1 & 1, channel);
            /* Checksum, then hash value. */
            auto hash = load<uint32_t>(message, 44 + 16 + 12);
            EXPECT_EQ(table[hash % 128], channel);
        }
    }
    EXPECT_EQ(frames, 16u);
    auto books = guest.session->channel_books();
    EXPECT_EQ(books[0].rx_frames + books[1].rx_frames, 16u);

    /* The flows change channels. */
    guest.scale(std::vector<uint32_t>(128, 1));
    guest.generator->generator()->set_pace(parse_pace("window:24"));
    guest.serve();
    EXPECT_TRUE(guest.messages(guest.take(0)).empty());
    auto got = guest.messages(guest.take(1));
    EXPECT_EQ(got.size(), 8u);
    std::set<uint32_t> flows;
    for (const Buffer &message : got) {
        flows.insert(std::to_integer<uint32_t>(message[256 + 29]));
    }
    EXPECT_GT(flows.size(), 4u);
}

} // namespace

} // namespace netvsc::host::test
