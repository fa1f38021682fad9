/* Receive queue against a hostile host: malformed packets and ranges, no room
 * for completions, broken rings (G). */

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/data_path.h"

namespace netvsc {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::IsEmpty;

class RxHostileTest : public DataPath {
protected:
    /* Packets of one frame each, ids from 1 on. */
    void
    send_frames(unsigned n)
    {
        for (unsigned i = 1; i <= n; i++) {
            send_frame(i);
        }
    }
};

/* --- Malformed packets: counted by cause, given back with failure ---------
 */

struct Hostile {
    const char *name;
    std::function<void(Bytes &)> spoil; /* The ring packet. */
    Malformed cause;
};

class HostilePacket : public DataPath,
                      public testing::WithParamInterface<Hostile> {};

TEST_P(HostilePacket, IsCountedAndCompletedWithFailureAndTheNextIsDelivered)
{
    Range range = store(0, rndis_frame(make_frame(60)));
    Bytes packet = transfer_packet(31, {range, range});
    GetParam().spoil(packet);
    in.write(packet);
    EXPECT_THAT(poll(), IsEmpty());
    EXPECT_EQ(malformed(GetParam().cause), 1u);
    EXPECT_EQ(all_malformed(), 1u);
    EXPECT_THAT(completed(2), ElementsAre(31u));
    EXPECT_EQ(in.used(), 0u);

    send_frame(32);
    EXPECT_EQ(poll().size(), 1u);
    EXPECT_THAT(completed(), ElementsAre(32u));
    EXPECT_EQ(fault.reason(), nullptr);
}

/* The queue is quicker with packets that lie in one piece: it must not take
 * more of them than of those that are cut. */
TEST_P(HostilePacket, IsTheSameWhereverTheRingCutsIt)
{
    Range range = store(0, rndis_frame(make_frame(60)));
    Bytes packet = transfer_packet(31, {range, range});
    GetParam().spoil(packet);
    uint64_t n = 0;
    for (uint32_t cut = 8; cut <= packet.size() + 8; cut += 8) {
        approach_end(cut);
        in.write(packet);
        EXPECT_THAT(poll(), IsEmpty()) << cut;
        EXPECT_EQ(malformed(GetParam().cause), ++n) << cut;
        EXPECT_THAT(completed(2), ElementsAre(31u)) << cut;
        send_frame(32);
        EXPECT_EQ(poll().size(), 1u) << cut;
        EXPECT_THAT(completed(), ElementsAre(32u)) << cut;
    }
    EXPECT_EQ(all_malformed(), n);
    EXPECT_EQ(fault.reason(), nullptr);
}

INSTANTIATE_TEST_SUITE_P(
    G, HostilePacket,
    testing::Values(
        Hostile{"OffsetOfZero", [](Bytes &p) { put16(p, 2, 0); },
                Malformed::kPacketHeader},
        Hostile{"OffsetInTheDescriptor", [](Bytes &p) { put16(p, 2, 1); },
                Malformed::kPacketHeader},
        Hostile{"OffsetInTheFixedPart", [](Bytes &p) { put16(p, 2, 2); },
                Malformed::kPacketHeader},
        Hostile{"OffsetAtTheEnd", [](Bytes &p) { put16(p, 2, 10); },
                Malformed::kPacketHeader},
        Hostile{"OffsetLeavesOneWord", [](Bytes &p) { put16(p, 2, 9); },
                Malformed::kPacketHeader},
        Hostile{"OffsetBehindThePacket", [](Bytes &p) { put16(p, 2, 11); },
                Malformed::kPacketHeader},
        Hostile{"OffsetFarBehindThePacket",
                [](Bytes &p) { put16(p, 2, 0xffff); },
                Malformed::kPacketHeader},
        Hostile{"NoRange", [](Bytes &p) { put32(p, 20, 0); },
                Malformed::kPacketHeader},
        Hostile{"OneRangeTooMany", [](Bytes &p) { put32(p, 20, 3); },
                Malformed::kPacketHeader},
        Hostile{"ManyRanges", [](Bytes &p) { put32(p, 20, 0xffffffff); },
                Malformed::kPacketHeader},
        /* Eight times this is 8 in 32 bits. */
        Hostile{"RangesThatWrap", [](Bytes &p) { put32(p, 20, 0x20000001); },
                Malformed::kPacketHeader},
        Hostile{"OtherSet", [](Bytes &p) { put16(p, 16, 0xcaff); },
                Malformed::kSetId},
        Hostile{"NoSet", [](Bytes &p) { put16(p, 16, 0); }, Malformed::kSetId},
        Hostile{"OtherNvspMessage", [](Bytes &p) { put32(p, 40, 108); },
                Malformed::kNvspType},
        Hostile{"NoNvspMessage", [](Bytes &p) { put32(p, 40, 0); },
                Malformed::kNvspType},
        Hostile{"UnknownChannelType", [](Bytes &p) { put32(p, 44, 2); },
                Malformed::kNvspType}),
    [](const auto &test) { return test.param.name; });

TEST_F(RxHostileTest, GoodPacketsAreDeliveredWhereverTheRingCutsThem)
{
    auto first = make_frame(60, 1), second = make_frame(61, 2);
    Bytes packet = transfer_packet(
        7, {store(0, rndis_frame(first)), store(1, rndis_frame(second))});
    for (uint32_t cut = 8; cut <= packet.size() + 8; cut += 8) {
        approach_end(cut);
        in.write(packet);
        in.write(packet);
        EXPECT_THAT(poll(), ElementsAre(first, second, first, second)) << cut;
        EXPECT_THAT(completed(), ElementsAre(7u, 7u)) << cut;
    }
    EXPECT_EQ(all_malformed(), 0u);
}

/* Nothing says where in a packet its message is but its header, and nothing
 * that the flags are what they should be. */
TEST_F(RxHostileTest, UnusualButGoodTransfersAreDelivered)
{
    Range range = store(0, rndis_frame(make_frame(60)));
    Bytes usual = transfer_packet(7, {range});
    for (uint16_t flags : {0, 2, 0xffff}) {
        Bytes packet = usual;
        put16(packet, 6, flags);
        in.write(packet);
    }
    Bytes gap = usual; /* A word between range and message. */
    gap.insert(gap.begin() + 32, 8, uint8_t{0xee});
    put16(gap, 2, 5);
    put16(gap, 4, static_cast<uint16_t>(gap.size() / 8));
    in.write(gap);
    for (size_t payload : {16, 24, 48}) {
        Bytes packet = usual;
        packet.resize(32 + payload);
        put16(packet, 4, static_cast<uint16_t>(packet.size() / 8));
        in.write(packet);
    }
    EXPECT_EQ(poll().size(), 7u);
    EXPECT_EQ(completed().size(), 7u);
    EXPECT_EQ(all_malformed(), 0u);
}

TEST_F(RxHostileTest, AGoodPacketWithABadRangeIsGivenBackAsFailed)
{
    Range good = store(0, rndis_frame(make_frame(60)));
    Range bad = {kSuballoc + 1, 0};
    in.write(transfer_packet(1, {good, bad, good}));
    in.write(transfer_packet(2, {good}));
    in.write(transfer_packet(3, {bad}));
    EXPECT_EQ(poll().size(), 3u);
    EXPECT_EQ(malformed(Malformed::kRange), 2u);
    std::vector<uint64_t> good_ids, bad_ids;
    for (const Bytes &packet : out.read_all()) {
        (get32(packet, 20) == 1 ? good_ids : bad_ids)
            .push_back(get64(packet, 8));
    }
    EXPECT_THAT(good_ids, ElementsAre(2u));
    EXPECT_THAT(bad_ids, ElementsAre(1u, 3u));
}

TEST_F(RxHostileTest, APollLooksAtABoundedNumberOfBadRanges)
{
    std::vector<Range> bad(kMaxBurst, Range{kSuballoc + 1, 0});
    for (unsigned i = 0; i < 40; i++) {
        in.write(transfer_packet(i, bad));
    }
    EXPECT_THAT(poll(), IsEmpty());
    EXPECT_EQ(malformed(Malformed::kRange), kMaxRangesPerPoll);
    EXPECT_EQ(completed(2).size(), kMaxRangesPerPoll / kMaxBurst);
}

TEST_F(RxHostileTest, APacketLongerThanWhatIsWrittenIsNotRead)
{
    Bytes packet = transfer_packet(1, {store(0, rndis_frame(make_frame(60)))});
    Bytes completion = completion_packet(data_id(1), nvsp_message({108, 1}));
    ASSERT_EQ(send_off(&sections), 1u);
    for (const Bytes &one : {packet, completion}) {
        for (uint16_t more : {1, 2, 100, 0xffff - 9}) {
            SessionFault broken(&uio);
            NetChannel other = make(&broken);
            Bytes spoilt = one;
            put16(spoilt, 4, static_cast<uint16_t>(get16(spoilt, 4) + more));
            in.write(spoilt);
            std::array<netvsc_rx_frame, 4> frames;
            EXPECT_EQ(other.rxq.poll(frames), 0u);
            other.rxq.release();
            EXPECT_NE(broken.reason(), nullptr);
            in.start_at(0);
        }
    }
    EXPECT_EQ(sections.in_use(), 1u);
}

TEST_F(RxHostileTest, APacketOfOnlyADescriptorIsGivenBack)
{
    Bytes packet(16);
    put16(packet, 0, 7);
    put16(packet, 2, 2);
    put16(packet, 4, 2);
    put64(packet, 8, 5);
    in.write(packet);
    EXPECT_THAT(poll(), IsEmpty());
    EXPECT_EQ(malformed(Malformed::kPacketHeader), 1u);
    EXPECT_THAT(completed(2), ElementsAre(5u));
}

TEST_F(RxHostileTest, TheReservedBytesOfATransferPacketDoNotMatter)
{
    Bytes packet = transfer_packet(1, {store(0, rndis_frame(make_frame(60)))});
    put16(packet, 18, 0xffff);
    put32(packet, 40, 12345);
    put32(packet, 44, 67890);
    in.write(packet);
    EXPECT_EQ(poll().size(), 1u);
}

struct HostileRange {
    const char *name;
    Range range;
    Malformed cause;
};

class HostileRangeTest : public DataPath,
                         public testing::WithParamInterface<HostileRange> {};

TEST_P(HostileRangeTest, IsSkippedAndTheOthersAreDelivered)
{
    Range good = store(0, rndis_frame(make_frame(60)));
    in.write(transfer_packet(31, {good, GetParam().range, good}));
    EXPECT_EQ(poll().size(), 2u);
    EXPECT_EQ(malformed(GetParam().cause), 1u);
    EXPECT_EQ(all_malformed(), 1u);
    EXPECT_THAT(completed(2), ElementsAre(31u));
}

INSTANTIATE_TEST_SUITE_P(
    G, HostileRangeTest,
    testing::Values(
        HostileRange{
            "LongerThanASuballocation", {kSuballoc + 1, 0}, Malformed::kRange},
        HostileRange{"BehindTheBuffer", {100, kBuffer}, Malformed::kRange},
        HostileRange{"AcrossTheEnd", {100, kBuffer - 99}, Malformed::kRange},
        HostileRange{
            "FarBehindTheBuffer", {100, 0xffffffff}, Malformed::kRange},
        HostileRange{"SumThatWraps", {100, 0xffffffa0}, Malformed::kRange},
        HostileRange{"Longest", {0xffffffff, 1}, Malformed::kRange},
        HostileRange{
            "LongestAndFarthest", {0xffffffff, 0xffffffff}, Malformed::kRange},
        /* Inside the buffer, where zeros are. */
        HostileRange{"Empty", {0, 8192}, Malformed::kRndisHeader},
        HostileRange{"EmptyAtTheEnd", {0, kBuffer}, Malformed::kRndisHeader},
        HostileRange{"ShorterThanAHeader", {43, 0}, Malformed::kRndisHeader},
        HostileRange{"Zeros", {100, 8192}, Malformed::kRndisHeader},
        HostileRange{
            "LastOfTheBuffer", {100, kBuffer - 100}, Malformed::kRndisHeader}),
    [](const auto &test) { return test.param.name; });

TEST_F(RxHostileTest, MalformedMessagesAreCountedByCause)
{
    Bytes data = rndis_frame(make_frame(60));
    put32(data, 12, 1000);
    Bytes ppi = rndis_frame(make_frame(60), {{6, 1}});
    put32(ppi, 44, 0);
    in.write(transfer_packet(1, {store(0, data), store(1, ppi)}));
    EXPECT_THAT(poll(), IsEmpty());
    EXPECT_EQ(malformed(Malformed::kRndisData), 1u);
    EXPECT_EQ(malformed(Malformed::kRndisPpi), 1u);
    EXPECT_EQ(statistics().rx.packets(), 0u);
    EXPECT_THAT(completed(2), ElementsAre(1u));
}

TEST_F(RxHostileTest, TheUnalignedRangeIsReadAsItStands)
{
    Bytes message = rndis_frame(make_frame(60, 1));
    auto buffer = uio.map(wire::kUioMapReceiveBuffer);
    std::copy(message.begin(), message.end(), buffer.begin() + 1003);
    in.write(
        transfer_packet(1, {{static_cast<uint32_t>(message.size()), 1003}}));
    EXPECT_THAT(poll(), ElementsAre(make_frame(60, 1)));
}

TEST_F(RxHostileTest, PacketsOfOtherTypesAreCountedAndPassedOver)
{
    unsigned n = 0;
    for (uint16_t type : {0, 1, 2, 3, 4, 5, 8, 9, 10, 12, 13, 14, 0xffff}) {
        Bytes packet = inband_packet(nvsp_message({107}));
        put16(packet, 0, type);
        in.write(packet);
        n++;
    }
    send_frame(1);
    EXPECT_EQ(poll().size(), 1u);
    EXPECT_EQ(malformed(Malformed::kPacketType), n);
    EXPECT_EQ(all_malformed(), n);
    EXPECT_THAT(completed(), ElementsAre(1u));
}

TEST_F(RxHostileTest, ABadHeaderOfAnyTypeIsPassedOver)
{
    for (uint16_t type : {6, 11, 9}) {
        for (uint16_t offset : {0, 1, 8, 0xffff}) {
            Bytes packet = inband_packet(nvsp_message({128}));
            put16(packet, 0, type);
            put16(packet, 2, offset);
            in.write(packet);
        }
    }
    EXPECT_THAT(poll(), IsEmpty());
    EXPECT_EQ(malformed(Malformed::kPacketHeader), 12u);
    EXPECT_EQ(out.used(), 0u);
}

TEST_F(RxHostileTest, TransfersBeforeTheBufferIsSharedAreGivenBack)
{
    /* As while NVSP is negotiated. */
    NetChannel early(context, uio.map(wire::kUioMapRings),
                     HostSignal(&uio, kRelid, std::nullopt), {},
                     &control_section);
    send_frame(3);
    std::array<netvsc_rx_frame, 4> frames;
    EXPECT_EQ(early.rxq.poll(frames), 0u);
    early.rxq.release();
    EXPECT_THAT(completed(2), ElementsAre(3u));
    complete(data_id(1));
    EXPECT_EQ(early.rxq.poll(frames), 0u);
    early.rxq.release();
    Statistics s;
    early.add_to(&s);
    EXPECT_EQ(s.malformed[static_cast<unsigned>(Malformed::kSetId)], 1u);
    EXPECT_EQ(s.malformed[static_cast<unsigned>(Malformed::kTransactionId)],
              1u);
}

/* --- Room for completions -------------------------------------------------
 */

TEST_F(RxHostileTest, WithoutRoomForItsCompletionNoTransferIsTaken)
{
    fill_out(32); /* A completion needs 32, and one byte stays free. */
    send_frames(3);
    EXPECT_THAT(poll(), IsEmpty());
    EXPECT_FALSE(consumer.discard());
    EXPECT_EQ(in.get(kReadIndex), 0u);
    EXPECT_EQ(fault.reason(), nullptr);
    drain_out();
    EXPECT_EQ(poll().size(), 3u);
    EXPECT_THAT(completed(), ElementsAre(1u, 2u, 3u));
}

TEST_F(RxHostileTest, TakesAsManyTransfersAsHaveRoom)
{
    fill_out(72); /* Two completions and 8 bytes. */
    send_frames(3);
    EXPECT_EQ(poll().size(), 2u);
    drain_out();
    EXPECT_EQ(poll().size(), 1u);
    EXPECT_THAT(completed(), ElementsAre(3u));
}

TEST_F(RxHostileTest, MalformedTransfersNeedRoomAsWell)
{
    fill_out(40);
    for (uint64_t id : {1, 2}) {
        in.write(transfer_packet(id, {}));
    }
    EXPECT_THAT(poll(), IsEmpty());
    EXPECT_EQ(malformed(Malformed::kPacketHeader), 1u);
    drain_out();
    EXPECT_THAT(poll(), IsEmpty());
    EXPECT_THAT(completed(2), ElementsAre(2u));
}

TEST_F(RxHostileTest, ATransferHalfTakenWaitsForItsRoom)
{
    std::vector<Range> ranges(40, store(0, rndis_frame(make_frame(60))));
    in.write(transfer_packet(1, ranges));
    EXPECT_EQ(poll().size(), 32u);
    fill_out(32);
    EXPECT_THAT(poll(), IsEmpty());
    drain_out();
    EXPECT_EQ(poll().size(), 8u);
    EXPECT_THAT(completed(), ElementsAre(1u));
    EXPECT_EQ(fault.reason(), nullptr);
}

TEST_F(RxHostileTest, CompletionsOfTheHostAreReadWithoutRoom)
{
    fill_out(8);
    ASSERT_EQ(send_off(&sections), 1u);
    complete(data_id(1));
    EXPECT_THAT(poll(), IsEmpty());
    EXPECT_EQ(sections.in_use(), 0u);
}

TEST_F(RxHostileTest, AHostThatTakesTheRoomBackIsAFault)
{
    fill_out(72);
    send_frames(2);
    std::array<netvsc_rx_frame, 4> frames;
    ASSERT_EQ(rxq.poll(frames), 2u);
    out.set(kReadIndex, 3);
    /* Another writer looks at the index. */
    EXPECT_FALSE(Channel::SendBatch(&channel).put(
        make_nvsp_packet(wire::nvsp::RevokeBuffer{103, 1}, 0, false)));
    rxq.release();
    ASSERT_NE(fault.reason(), nullptr);
    EXPECT_NE(std::string(fault.reason()).find("send ring"),
              std::string::npos);
    EXPECT_EQ(uio.wakes(), 1u);
}

TEST_F(RxHostileTest, AnImpossibleIndexOfTheSendRingIsAFaultAtTheNextPoll)
{
    for (uint32_t index : {out.size(), 4u, ~0u}) {
        SessionFault broken(&uio);
        NetChannel other = make(&broken);
        out.set(kReadIndex, index);
        std::array<netvsc_rx_frame, 4> frames;
        EXPECT_EQ(other.rxq.poll(frames), 0u);
        other.rxq.release();
        ASSERT_NE(broken.reason(), nullptr);
        EXPECT_NE(std::string(broken.reason()).find("send ring"),
                  std::string::npos);
        out.set(kReadIndex, 0);
    }
    EXPECT_EQ(uio.wakes(), 3u);
}

/* --- A broken ring --------------------------------------------------------
 */

class BrokenRing : public RxHostileTest {
protected:
    void
    expect_fault()
    {
        ASSERT_NE(fault.reason(), nullptr);
        EXPECT_NE(std::string(fault.reason()).find("receive ring"),
                  std::string::npos);
        EXPECT_EQ(uio.wakes(), 1u);
        /* From here on nothing is read and nothing written. */
        in.start_at(0);
        send_frame(1);
        EXPECT_THAT(poll(), IsEmpty());
        EXPECT_FALSE(consumer.discard());
        consumer.harvest();
        consumer.read_control();
        EXPECT_EQ(in.get(kReadIndex), 0u);
        EXPECT_EQ(uio.wakes(), 1u);
        /* Nobody is left with the lock. */
        EXPECT_TRUE(channel.try_consume());
    }
};

TEST_F(BrokenRing, ByItsIndexIsAFaultAndTheEnd)
{
    in.set(kWriteIndex, in.size());
    EXPECT_THAT(poll(), IsEmpty());
    expect_fault();
}

TEST_F(BrokenRing, ByAPacketLengthIsAFaultAfterTheFramesBeforeIt)
{
    send_frame(1);
    in.write(inband_packet(nvsp_message({128})));
    put16(in.data(), 80 + 4, 1);
    EXPECT_EQ(poll().size(), 1u);
    EXPECT_THAT(completed(), ElementsAre(1u));
    expect_fault();
}

TEST_F(BrokenRing, IsAFaultForEveryReader)
{
    in.set(kWriteIndex, 12);
    consumer.harvest();
    expect_fault();
}

TEST_F(BrokenRing, IsAFaultForReadControl)
{
    in.set(kWriteIndex, 12);
    consumer.read_control();
    expect_fault();
}

TEST_F(BrokenRing, IsAFaultForDiscard)
{
    in.set(kWriteIndex, 12);
    consumer.discard();
    expect_fault();
}

TEST_F(RxHostileTest, TheFirstFaultIsTheOneThatIsTold)
{
    fault.raise("one");
    fault.raise("two");
    EXPECT_STREQ(fault.reason(), "one");
    EXPECT_EQ(uio.wakes(), 1u);
}

} // namespace
} // namespace netvsc
