/* The wiring of a measurement: frames that are written once and issued again
 * and again, and a sink that reads one of a thousand. */

#include <set>

#include <gtest/gtest.h>

#include "host/wires/test_frame.h"
#include "tests/unit/host_guest.h"

namespace netvsc::host::test {

namespace {

/* The message that a sub-allocation of these tests may hold: the receive
 * buffer of the guest has 72 of them, 16 for control. */
constexpr uint32_t kData = 72 - 16;
constexpr uint32_t kFrameAt = 256;

Buffer
test_frame(uint32_t number, size_t size)
{
    Buffer frame(size);
    make_test_frame(frame,
                    {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}, number, 0});
    return frame;
}

/* --- Frames ------------------------------------------------------------ */

TEST(HostTestFrame, IsValidUdpWithItsNumber)
{
    Buffer frame(60);
    make_test_frame(frame, {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}, 5, 258});
    /* Up to the UDP checksum. */
    EXPECT_EQ(to_hex(Bytes(frame).first(40)),
              to_hex(from_hex("020000000002 020000000001 0800 "
                              "4500002e00000000 4011ed96 c6120102 c6130001 "
                              "c102 0009 001a")));
    EXPECT_EQ(classify_good_frame(frame).ip_header, true);
    EXPECT_EQ(test_frame_number(frame), 5u);
    EXPECT_EQ(check_test_frame(frame), TestFrameVerdict::kGood);
}

TEST(HostTestFrame, ShowsEveryDamage)
{
    for (size_t size : {60, 64, 65, 1514}) {
        Buffer good = test_frame(77, size);
        /* A switch may rewrite the Ethernet addresses and nothing else. */
        for (size_t at = 12; at < size; at++) {
            Buffer frame = good;
            frame[at] ^= std::byte{0x10};
            EXPECT_NE(check_test_frame(frame), TestFrameVerdict::kGood)
                << "byte " << at << " of " << size;
        }
        Buffer cut = good;
        cut.pop_back();
        EXPECT_NE(check_test_frame(cut), TestFrameVerdict::kGood);
    }
    Buffer foreign = plain_frame(64);
    EXPECT_EQ(check_test_frame(foreign), TestFrameVerdict::kForeign);
    Buffer swapped = test_frame(1, 1514);
    std::swap_ranges(swapped.begin() + 100, swapped.begin() + 102,
                     swapped.begin() + 200);
    EXPECT_EQ(check_test_frame(swapped), TestFrameVerdict::kDamaged);
}

/* --- Generator --------------------------------------------------------- */

/* What a transfer has: how many ranges each one that waits. */
std::vector<unsigned>
transfers(Guest &guest, std::vector<uint64_t> *ids = nullptr)
{
    std::vector<unsigned> ranges;
    while (std::optional<HostPacket> packet = guest.read()) {
        EXPECT_EQ(packet->type, 7);
        ranges.push_back(load<uint32_t>(packet->bytes, 20));
        if (ids) {
            ids->push_back(packet->trans_id);
        }
    }
    return ranges;
}

TEST(HostGenerator, WritesMessagesThatAGuestCanRead)
{
    Guest guest("generate=imix,flows=5,pace=none,ranges=8");
    guest.attach();
    ASSERT_EQ(guest.session->fill(24, 1), 24u);
    std::vector<Buffer> messages = guest.receive();
    ASSERT_EQ(messages.size(), 24u);
    std::multiset<size_t> sizes;
    std::set<uint32_t> hashes;
    for (uint32_t i = 0; i < messages.size(); i++) {
        Bytes bytes = messages[i];
        EXPECT_EQ(load<uint32_t>(bytes, 4), bytes.size());
        EXPECT_EQ(to_hex(bytes.subspan(28, 8)),
                  to_hex(from_hex("2400000030000000")));
        /* IPv4 header and UDP checksum good; hash value; hash info. */
        EXPECT_EQ(to_hex(bytes.subspan(44, 16)),
                  to_hex(from_hex("10000000000000000c00000030000000")));
        EXPECT_EQ(to_hex(bytes.subspan(60, 12)),
                  to_hex(from_hex("10000000080000000c000000")));
        EXPECT_EQ(to_hex(bytes.subspan(76, 16)),
                  to_hex(from_hex("10000000090000000c00000001010000")));
        hashes.insert(load<uint32_t>(bytes, 72));
        Buffer frame(bytes.begin() + kFrameAt, bytes.end());
        EXPECT_EQ(check_test_frame(frame), TestFrameVerdict::kGood);
        EXPECT_EQ(test_frame_number(frame), i);
        sizes.insert(frame.size());
    }
    EXPECT_EQ(hashes.size(), 5u);
    EXPECT_EQ(sizes.count(64), 14u);
    EXPECT_EQ(sizes.count(594), 8u);
    EXPECT_EQ(sizes.count(1514), 2u);
    EXPECT_EQ(guest.counters.rx.frames, 24u);
    EXPECT_EQ(guest.counters.wire.read, 24u);
}

TEST(HostGenerator, HasOneElementWhenAsked)
{
    Guest guest("generate=64,elements=1,pace=none");
    guest.attach();
    ASSERT_EQ(guest.session->fill(1, 1), 1u);
    std::vector<Buffer> messages = guest.receive();
    ASSERT_EQ(messages.size(), 1u);
    EXPECT_EQ(load<uint32_t>(messages[0], 32), 16u);
}

TEST(HostGenerator, ObeysTheSessionsMtu)
{
    Guest guest("generate=9000,mtu=9202,pace=none");
    guest.config.mtu = 1500; /* What the guest of these tests asks for. */
    guest.attach();
    ASSERT_EQ(guest.session->fill(1, 1), 1u);
    std::vector<Buffer> messages = guest.receive();
    ASSERT_EQ(messages.size(), 1u);
    EXPECT_EQ(messages[0].size(), kFrameAt + 1514);
}

TEST(HostGenerator, FillsOnRequestOnly)
{
    Guest guest("generate=64,pace=none,ranges=8");
    guest.attach();
    guest.serve();
    EXPECT_TRUE(transfers(guest).empty());
    EXPECT_EQ(guest.session->fill(20, 1), 20u);
    EXPECT_EQ(transfers(guest), (std::vector<unsigned>{8, 8, 4}));
    /* The rest of the buffer, and no more. */
    EXPECT_EQ(guest.session->fill(64, 1), kData - 20);
    EXPECT_EQ(guest.session->fill(1, 1), 0u);
}

TEST(HostGenerator, TakesSuballocationsInTurn)
{
    Guest guest("generate=64,pace=none,ranges=1,suballocs=4");
    guest.attach();
    std::vector<uint64_t> ids;
    for (unsigned i = 0; i < 6; i++) {
        ASSERT_EQ(guest.session->fill(1, 1), 1u);
        transfers(guest, &ids);
        guest.complete_transfer(ids.back());
    }
    EXPECT_EQ(ids, (std::vector<uint64_t>{16, 17, 18, 19, 16, 17}));
    EXPECT_EQ(guest.session->fill(9, 1), 4u);
}

TEST(HostGenerator, KeepsItsWindow)
{
    Guest guest("generate=64,pace=none,ranges=8");
    guest.attach();
    guest.generator->generator()->set_pace(parse_pace("window:20"));
    guest.serve();
    std::vector<uint64_t> ids;
    EXPECT_EQ(transfers(guest, &ids), (std::vector<unsigned>{8, 8}));
    guest.complete_transfer(ids[0]);
    guest.serve();
    EXPECT_EQ(transfers(guest, &ids), (std::vector<unsigned>{8}));
    const GeneratorCounters &counters =
        guest.generator->generator()->counters();
    EXPECT_EQ(counters.frames, 24u);
    EXPECT_GT(counters.full_rounds, 0u);
    EXPECT_GT(counters.rounds, counters.full_rounds);
    EXPECT_GT(counters.empty_rounds, 0u);
}

TEST(HostGenerator, KeepsItsRate)
{
    Guest guest("generate=64,pace=none,ranges=8");
    guest.attach();
    guest.generator->generator()->set_pace(parse_pace("rate:1000"));
    uint64_t start = guest.now_ns = 50'000'000'000;
    guest.serve();
    unsigned received = 0;
    for (unsigned ms = 1; ms <= 2500; ms++) {
        guest.now_ns = start + ms * 1'000'000;
        guest.serve();
        received += static_cast<unsigned>(guest.receive().size());
        EXPECT_EQ(received, ms);
    }
    EXPECT_EQ(guest.generator->generator()->counters().late, 0u);
    /* A guest that stands still for a second does not get it all at once. */
    guest.now_ns += 1'000'000'000;
    guest.serve();
    EXPECT_LE(guest.receive().size(), kData);
    EXPECT_EQ(guest.generator->generator()->counters().late, 1000u - 256);
}

TEST(HostGenerator, GathersTheFramesOfARate)
{
    Guest guest("generate=64,pace=none,ranges=8");
    guest.attach();
    /* Five frames in 50 us. */
    guest.generator->generator()->set_pace(parse_pace("rate:100000"));
    uint64_t start = guest.now_ns = 50'000'000'000;
    guest.serve();
    std::vector<unsigned> ranges;
    for (unsigned us = 1; us <= 1000; us++) {
        guest.now_ns = start + us * 1000;
        guest.serve();
        std::vector<uint64_t> ids;
        for (unsigned n : transfers(guest, &ids)) {
            ranges.push_back(n);
        }
        for (uint64_t id : ids) {
            guest.complete_transfer(id);
        }
    }
    EXPECT_EQ(ranges, std::vector<unsigned>(20, 5));
}

/* --- Sink -------------------------------------------------------------- */

class HostSink : public testing::Test {
protected:
    void
    SetUp() override
    {
        guest.attach();
    }
    const SinkCounters &
    counters()
    {
        return guest.generator->sink()->counters();
    }
    /* Sends frames until one is examined. */
    void
    send(const Buffer &frame)
    {
        for (unsigned i = 0; i < Sink::kCheckEvery; i++) {
            ASSERT_EQ(guest.data(rndis_packet(frame)), 1u);
        }
    }
    Guest guest{"generate=64,pace=none"};
};

TEST_F(HostSink, ExaminesOneOfAThousand)
{
    send(test_frame(3, 64));
    EXPECT_EQ(counters().frames, 1000u);
    EXPECT_EQ(counters().checked, 1u);
    EXPECT_EQ(counters().damaged + counters().foreign, 0u);
    EXPECT_EQ(guest.counters.tx.frames, 1000u);
    EXPECT_EQ(guest.counters.tx.bytes, 64'000u);
    EXPECT_EQ(guest.counters.wire.written, 1000u);
}

TEST_F(HostSink, SeesDamageAndStrangers)
{
    Buffer frame = test_frame(3, 64);
    frame[63] ^= std::byte{1};
    send(frame);
    send(plain_frame(64));
    EXPECT_EQ(counters().checked, 2u);
    EXPECT_EQ(counters().damaged, 1u);
    EXPECT_EQ(counters().foreign, 1u);
}

TEST_F(HostSink, ComputesChecksumsThatItIsAskedFor)
{
    Buffer frame = test_frame(3, 64);
    frame[24] = frame[25] = frame[40] = frame[41] = std::byte{0};
    /* IPv4, UDP, IP header. */
    Buffer info = info_element(0, 0x19).buffer();
    for (unsigned i = 0; i < Sink::kCheckEvery; i++) {
        ASSERT_EQ(guest.data(rndis_packet(frame, info)), 1u);
    }
    EXPECT_EQ(counters().checked, 1u);
    EXPECT_EQ(counters().damaged, 0u);
}

TEST_F(HostSink, RefusesWhatTheOrdinaryWayRefuses)
{
    Buffer message = rndis_packet(test_frame(3, 64)).buffer();
    store(message, 12, uint32_t{65}); /* The frame exceeds the message. */
    EXPECT_EQ(guest.data(message), 2u);
    /* A section behind the buffer. */
    EXPECT_EQ(guest.data(rndis_packet(test_frame(3, 64)), 7), 1u);
    Buffer reply =
        guest.request(50, Message().u32(107).u32(0).u32(8).u32(108).zeros(24));
    EXPECT_EQ(load<uint32_t>(reply, 4), 2u);
    EXPECT_EQ(counters().frames, 1u);
    EXPECT_EQ(guest.counters.tx.malformed, 2u);
}

TEST_F(HostSink, ClosesALoop)
{
    guest.generator->generator()->set_pace(parse_pace("loop:2"));
    guest.serve();
    EXPECT_EQ(guest.receive().size(), 2u);
    guest.serve();
    EXPECT_TRUE(guest.receive().empty()); /* Completed, but not back. */
    guest.data(rndis_packet(test_frame(0, 64)));
    guest.serve();
    EXPECT_EQ(guest.receive().size(), 1u);
    /* What does not come back is given up. */
    guest.now_ns += 1'000'000'000;
    guest.serve();
    EXPECT_EQ(guest.receive().size(), 2u);
    EXPECT_EQ(guest.generator->generator()->counters().lost, 2u);
}

TEST_F(HostSink, TimesALoopOfOne)
{
    Generator &generator = *guest.generator->generator();
    generator.set_pace(parse_pace("loop:1"));
    for (uint64_t away : {7'000, 5'000, 900'000}) {
        guest.serve();
        EXPECT_EQ(guest.receive().size(), 1u);
        guest.serve();
        guest.now_ns += away;
        guest.data(rndis_packet(test_frame(0, 64)));
    }
    guest.serve();
    RoundTripTimes times = generator.round_trips().times();
    EXPECT_EQ(times.count, 3u);
    /* A class is 1/32 wide, and answers with its end. */
    EXPECT_GE(times.median, 7'000u);
    EXPECT_LT(times.median, 7'000u * 33 / 32 + 1);
    EXPECT_GE(times.p999, 900'000u);
    EXPECT_LT(times.p999, 900'000u * 33 / 32 + 1);
    generator.set_pace(parse_pace("loop:1"));
    EXPECT_EQ(generator.round_trips().times().count, 0u);
}

TEST(HostRoundTrips, TellsShortTimesExactlyAndTheLongestAtAll)
{
    RoundTrips trips;
    for (uint64_t ns = 0; ns < 64; ns++) {
        trips.add(ns);
    }
    EXPECT_EQ(trips.times().median, 31u);
    EXPECT_EQ(trips.times().p999, 63u);
    trips.add(UINT64_MAX);
    EXPECT_EQ(trips.times().p999, UINT64_MAX);
}

} // namespace

} // namespace netvsc::host::test
