/* Receive queue: what the host writes to the inbound ring, and what goes
 * back (D.6, E.10, G). */

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/data_path.h"

namespace netvsc {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::IsEmpty;

class RxQueueTest : public DataPath {
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

/* --- Frames ---------------------------------------------------------------
 */

TEST_F(RxQueueTest, AnEmptyRingGivesNothingAndSendsNothing)
{
    EXPECT_THAT(poll(), IsEmpty());
    EXPECT_EQ(out.used(), 0u);
    EXPECT_FALSE(uio.take_signal());
    EXPECT_EQ(rxq.polls(), 1u);
}

TEST_F(RxQueueTest, DeliversTheFramesOfSeveralRangesInOrder)
{
    std::vector<Range> ranges;
    std::vector<Bytes> wanted;
    for (unsigned i = 0; i < 5; i++) {
        wanted.push_back(make_frame(60 + 100 * i, i));
        /* Not in the order of the buffer. */
        ranges.push_back(store(9 - i, rndis_frame(wanted.back())));
    }
    in.write(transfer_packet(77, ranges));
    EXPECT_EQ(poll(), wanted);
    EXPECT_THAT(completed(), ElementsAre(77u));
    EXPECT_EQ(in.used(), 0u);
}

TEST_F(RxQueueTest, ViewsStayUntilReleaseAndTheSectionsWithThem)
{
    send_frame(5);
    std::array<netvsc_rx_frame, 4> frames;
    ASSERT_EQ(rxq.poll(frames), 1u);
    EXPECT_EQ(out.used(), 0u);
    EXPECT_EQ(frames[0].fragments->data,
              uio.map(wire::kUioMapReceiveBuffer).data() + 44);
    rxq.release();
    EXPECT_THAT(completed(), ElementsAre(5u));
    rxq.release();
    EXPECT_THAT(completed(), IsEmpty());
}

TEST_F(RxQueueTest, FillsTheFrameFromTheElements)
{
    in.write(transfer_packet(
        1, {store(0, rndis_frame(make_frame(60),
                                 {{8, 42}, {6, 0x645}, {0, 0x28}}))}));
    std::array<netvsc_rx_frame, 1> frames;
    ASSERT_EQ(rxq.poll(frames), 1u);
    EXPECT_EQ(frames[0].rss_hash, 42u);
    EXPECT_EQ(frames[0].vlan_tci, 0xa064);
    EXPECT_EQ(frames[0].flags, NETVSC_RX_HASH | NETVSC_RX_VLAN |
                                   NETVSC_RX_IP_GOOD | NETVSC_RX_L4_GOOD);
    rxq.release();
}

TEST_F(RxQueueTest, APacketOf375RangesIsCompletedOnceAfterItsLastFrame)
{
    std::vector<Range> ranges;
    for (unsigned i = 0; i < 375; i++) {
        ranges.push_back(store(i % 100, rndis_frame(make_frame(60, i % 100))));
    }
    in.write(transfer_packet(9, ranges));
    send_frame(10);
    unsigned seen = 0;
    for (unsigned round = 0; round < 11; round++) {
        auto frames = poll();
        ASSERT_EQ(frames.size(), 32u);
        for (const Bytes &frame : frames) {
            if (seen != 0 && seen % 100 != 0) {
                ASSERT_EQ(frame, make_frame(60, seen % 100)) << seen;
            }
            seen++;
        }
        ASSERT_EQ(out.used(), 0u) << "round " << round;
        ASSERT_EQ(in.get(kReadIndex), 0u);
    }
    /* 352 so far: 23 of this packet, one of the next. */
    EXPECT_EQ(poll().size(), 24u);
    EXPECT_THAT(completed(), ElementsAre(9u, 10u));
    EXPECT_THAT(poll(), IsEmpty());
    EXPECT_EQ(out.used(), 0u);
    EXPECT_EQ(statistics().rx.packets(), 376u);
}

TEST_F(RxQueueTest, APacketThatDoesNotFitThePollGoesOnInTheNext)
{
    std::vector<Range> ranges;
    for (unsigned i = 0; i < 20; i++) {
        ranges.push_back(store(i, rndis_frame(make_frame(60, i))));
    }
    Bytes packet = transfer_packet(9, ranges);
    /* Once in one piece, once for each place where the ring cuts it. */
    for (uint32_t cut = 8; cut <= packet.size() + 8; cut += 8) {
        approach_end(cut);
        in.write(packet);
        in.write(packet);
        std::vector<Bytes> frames;
        for (size_t most : {7, 32, 32}) {
            for (Bytes &frame : poll(most)) {
                frames.push_back(std::move(frame));
            }
        }
        ASSERT_EQ(frames.size(), 40u);
        for (unsigned i = 0; i < 40; i++) {
            ASSERT_EQ(frames[i], make_frame(60, i % 20)) << cut;
        }
        EXPECT_THAT(completed(), ElementsAre(9u, 9u));
    }
}

TEST_F(RxQueueTest, APollTakesNoMoreThanItsCallerHasRoomFor)
{
    send_frames(5);
    EXPECT_EQ(poll(2).size(), 2u);
    EXPECT_THAT(completed(), ElementsAre(1u, 2u));
    EXPECT_EQ(poll(0).size(), 0u);
    EXPECT_EQ(poll(1).size(), 1u);
    EXPECT_EQ(poll().size(), 2u);
    EXPECT_THAT(completed(), ElementsAre(3u, 4u, 5u));
}

TEST_F(RxQueueTest, APollNeverFillsMoreThanABurst)
{
    send_frames(40);
    std::array<netvsc_rx_frame, 64> frames;
    EXPECT_EQ(rxq.poll(frames), kMaxBurst);
    rxq.release();
    EXPECT_EQ(completed().size(), kMaxBurst);
}

TEST_F(RxQueueTest, CompletionsOfAPollGoOutWithOneSignal)
{
    send_frames(20);
    EXPECT_EQ(poll().size(), 20u);
    EXPECT_EQ(channel.signals(), 1u);
    EXPECT_EQ(uio.irq_controls(), std::vector<bool>{true});
    EXPECT_EQ(completed().size(), 20u);
    EXPECT_EQ(in.used(), 0u);
}

TEST_F(RxQueueTest, HandlesABoundedNumberOfRingPacketsInAPoll)
{
    for (unsigned i = 0; i < 100; i++) {
        in.write(inband_packet(nvsp_message({128, 0, 0})));
    }
    send_frame(1);
    EXPECT_THAT(poll(), IsEmpty());
    EXPECT_EQ(statistics()[Count::kRxRingPackets], kMaxPacketsPerPoll);
    EXPECT_EQ(in.get(kReadIndex), kMaxPacketsPerPoll * 64);
    EXPECT_EQ(poll().size(), 1u);
    EXPECT_EQ(statistics()[Count::kRxRingPackets], 101u);
}

TEST_F(RxQueueTest, CountsPacketsBytesMulticastAndSizes)
{
    std::vector<Range> ranges;
    unsigned i = 0;
    for (size_t size : {60, 65, 200, 500, 1000, 1500, 1600}) {
        Bytes frame = make_frame(size);
        frame[0] = i % 2 ? 0xff : 0x02;
        ranges.push_back(store(i++, rndis_frame(frame)));
    }
    in.write(transfer_packet(1, ranges));
    EXPECT_EQ(poll().size(), 7u);
    Statistics s = statistics();
    EXPECT_EQ(s.rx.packets(), 7u);
    EXPECT_EQ(s.rx.bytes, 60u + 65 + 200 + 500 + 1000 + 1500 + 1600);
    EXPECT_EQ(s.rx.multicast, 3u);
    EXPECT_THAT(s.rx.size_bins, ElementsAre(1, 1, 1, 1, 1, 1, 1));
    EXPECT_EQ(s[Count::kRxRingPackets], 1u);
    EXPECT_EQ(s[Count::kRxDiscarded], 0u);
}

TEST_F(RxQueueTest, CountsATagThatTheHostTookOutAsPartOfTheFrame)
{
    in.write(transfer_packet(
        1, {store(0, rndis_frame(make_frame(62), {{6, 0x645}}))}));
    EXPECT_EQ(poll().size(), 1u);
    EXPECT_EQ(statistics().rx.bytes, 66u);
    EXPECT_EQ(statistics().rx.size_bins[1], 1u);
}

/* One tag in the element, the other in the frame, or both in the frame. */
TEST_F(RxQueueTest, FramesWithTwoTagsOfAnyTypeAreReceivedAtFullSize)
{
    Bytes inner = make_tagged_frame(1514, 9);
    Bytes both = inner;
    both.insert(both.begin() + 12, {0x88, 0xa8, 0, 7});
    in.write(transfer_packet(1, {store(0, rndis_frame(inner, {{6, 0x645}})),
                                 store(1, rndis_frame(both))}));
    EXPECT_THAT(poll(), ElementsAre(inner, both));
    EXPECT_EQ(statistics().rx.bytes, 2u * 1522);
    EXPECT_EQ(all_malformed(), 0u);
}

TEST_F(RxQueueTest, OnlyOneReaderHasTheRing)
{
    send_frames(2);
    ASSERT_TRUE(channel.try_consume());
    EXPECT_THAT(poll(), IsEmpty());
    consumer.harvest();
    consumer.read_control();
    EXPECT_FALSE(consumer.discard());
    EXPECT_EQ(in.get(kReadIndex), 0u);
    channel.end_consume();
    EXPECT_EQ(poll().size(), 2u);

    std::array<netvsc_rx_frame, 1> frames;
    send_frame(3);
    ASSERT_EQ(rxq.poll(frames), 1u);
    EXPECT_FALSE(consumer.discard());
    rxq.release();
}

TEST_F(RxQueueTest, SignalsTheHostThatWaitsForRoom)
{
    in.set(kFeatureBits, 1);
    in.set(kPendingSendSz, in.size() - 100);
    send_frames(3);
    EXPECT_EQ(poll().size(), 3u);
    /* For the completions and for the room. */
    EXPECT_EQ(channel.signals(), 1u);
}

TEST_F(RxQueueTest, SignalsTheHostThatWaitsForRoomAlsoWithoutACompletion)
{
    in.set(kFeatureBits, 1);
    in.set(kPendingSendSz, in.size() - 32);
    in.write(inband_packet(nvsp_message({128, 0, 0})));
    EXPECT_THAT(poll(), IsEmpty());
    EXPECT_EQ(channel.signals(), 1u);
    /* And once only. */
    in.set(kPendingSendSz, 0);
    out.set(kInterruptMask, 1);
    EXPECT_THAT(poll(), IsEmpty());
    send_frame(1);
    EXPECT_EQ(poll().size(), 1u);
    EXPECT_EQ(channel.signals(), 1u);
}

/* The host has read everything before each burst, does not mask, and waits
 * for room: it wants all the signals that there are. */
TEST_F(RxQueueTest, ABurstOfManyPacketsIsOneSignal)
{
    in.set(kFeatureBits, 1);
    for (unsigned i = 1; i <= 100; i++) {
        in.set(kPendingSendSz, in.size() - 100);
        send_frames(kMaxBurst);
        EXPECT_EQ(poll().size(), kMaxBurst);
        EXPECT_EQ(channel.signals(), i);
        EXPECT_EQ(completed().size(), kMaxBurst);
    }
}

/* --- Completions ----------------------------------------------------------
 */

TEST_F(RxQueueTest, ACompletionGivesTheSectionBack)
{
    ASSERT_EQ(send_off(&sections), 1u);
    ASSERT_EQ(send_off(&sections), 2u);
    complete(data_id(1));
    EXPECT_THAT(poll(), IsEmpty());
    EXPECT_EQ(sections.in_use(), 1u);
    EXPECT_EQ(send_off(&sections), 1u);
    EXPECT_EQ(all_malformed(), 0u);
    EXPECT_EQ(out.used(), 0u);
}

TEST_F(RxQueueTest, ADuplicateCompletionIsRefused)
{
    ASSERT_EQ(send_off(&sections), 1u);
    complete(data_id(1));
    complete(data_id(1));
    poll();
    EXPECT_EQ(malformed(Malformed::kTransactionId), 1u);
    EXPECT_EQ(sections.in_use(), 0u);
}

TEST_F(RxQueueTest, IdsThatAreNotOutstandingAreRefused)
{
    ASSERT_EQ(send_off(&sections), 1u);
    std::vector<uint64_t> ids = {0,
                                 1,
                                 UINT64_MAX,
                                 data_id(2),
                                 data_id(sections.first() + sections.count()),
                                 data_id(UINT32_MAX),
                                 data_id(1, kGeneration - 1),
                                 data_id(1, kGeneration + 1),
                                 data_id(1, 0),
                                 data_id(0),
                                 control_id(0),
                                 control_id(1),
                                 data_id(1) | 4ull << 32,
                                 data_id(1) | 0x100ull << 32};
    for (uint64_t id : ids) {
        complete(id);
    }
    poll();
    EXPECT_EQ(malformed(Malformed::kTransactionId), ids.size());
    EXPECT_EQ(sections.in_use(), 1u);
    EXPECT_EQ(fault.reason(), nullptr);
}

TEST_F(RxQueueTest, TheControlSectionComesBackUnderItsOwnKindOnly)
{
    ASSERT_TRUE(control_section.acquire());
    complete(data_id(0));
    poll();
    EXPECT_FALSE(control_section.is_free());
    EXPECT_EQ(malformed(Malformed::kTransactionId), 1u);
    unsigned wakes = uio.wakes();
    complete(control_id());
    poll();
    EXPECT_TRUE(control_section.is_free());
    EXPECT_EQ(uio.wakes(), wakes + 1);
}

/* The queue is quicker with completions in the form that hosts use; the
 * others, and those that the ring cuts, must mean the same. */
TEST_F(RxQueueTest, ACompletionOfAnyGoodFormGivesItsSectionBackOnce)
{
    Bytes usual = completion_packet(data_id(1), nvsp_message({108, 1}));
    std::vector<Bytes> forms = {usual};
    for (uint16_t flags : {1, 2, 0xffff}) {
        forms.push_back(usual);
        put16(forms.back(), 6, flags);
    }
    for (size_t size : {24, 32, 48}) {
        forms.push_back(usual);
        forms.back().resize(size);
        put16(forms.back(), 4, static_cast<uint16_t>(size / 8));
    }
    /* A word between descriptor and message. */
    forms.push_back(usual);
    forms.back().insert(forms.back().begin() + 16, 8, uint8_t{0xee});
    put16(forms.back(), 2, 3);
    put16(forms.back(), 4, static_cast<uint16_t>(forms.back().size() / 8));

    uint64_t refused = 0;
    for (const Bytes &form : forms) {
        for (uint32_t cut = 8; cut <= form.size() + 8; cut += 8) {
            approach_end(cut);
            ASSERT_EQ(send_off(&sections), 1u);
            in.write(form);
            EXPECT_THAT(poll(), IsEmpty());
            EXPECT_EQ(sections.in_use(), 0u);
            in.write(form);
            EXPECT_THAT(poll(), IsEmpty());
            EXPECT_EQ(malformed(Malformed::kTransactionId), ++refused);
        }
    }
    EXPECT_EQ(all_malformed(), refused);
    EXPECT_EQ(statistics()[Count::kTxFailed], 0u);
}

TEST_F(RxQueueTest, CompletionsAndFramesInTurnAreAllTaken)
{
    for (unsigned i = 0; i < 10; i++) {
        ASSERT_TRUE(send_off(&sections));
    }
    for (uint32_t i = 1; i <= 10; i++) {
        send_frame(i);
        complete(data_id(i), i % 3 ? 1 : 2);
        in.write(inband_packet(nvsp_message({128, 0, 0})));
    }
    EXPECT_EQ(poll().size(), 10u);
    EXPECT_EQ(completed().size(), 10u);
    EXPECT_EQ(sections.in_use(), 0u);
    EXPECT_EQ(statistics()[Count::kTxFailed], 3u);
    EXPECT_EQ(statistics()[Count::kRxRingPackets], 30u);
    EXPECT_EQ(all_malformed(), 0u);
}

TEST_F(RxQueueTest, AFailedSendIsCountedAndItsSectionFreed)
{
    ASSERT_EQ(send_off(&sections), 1u);
    complete(data_id(1), 2);
    poll();
    EXPECT_EQ(statistics()[Count::kTxFailed], 1u);
    EXPECT_EQ(sections.in_use(), 0u);
    EXPECT_EQ(all_malformed(), 0u);
}

TEST_F(RxQueueTest, ACompletionOfTheWrongTypeFreesTheSectionAllTheSame)
{
    ASSERT_EQ(send_off(&sections), 1u);
    ASSERT_EQ(send_off(&sections), 2u);
    in.write(completion_packet(data_id(1), nvsp_message({107, 1})));
    in.write(completion_packet(data_id(2), {})); /* Empty. */
    poll();
    EXPECT_EQ(malformed(Malformed::kNvspType), 1u);
    EXPECT_EQ(malformed(Malformed::kPacketHeader), 1u);
    EXPECT_EQ(sections.in_use(), 0u);
}

TEST_F(RxQueueTest, AnNvspReplyGoesToTheMailbox)
{
    mailbox.expect_nvsp(4);
    Bytes reply = nvsp_message({2, 0xffffffff, 34, 1});
    in.write(completion_packet(nvsp_id(4), reply));
    poll();
    auto taken = mailbox.collect_nvsp();
    ASSERT_TRUE(taken);
    EXPECT_EQ(Bytes(taken->begin(), taken->end()), reply);
    EXPECT_EQ(uio.wakes(), 1u);
    EXPECT_EQ(all_malformed(), 0u);
}

TEST_F(RxQueueTest, AnNvspReplyMayBeShorterOrLongerThanItsMessage)
{
    Bytes reply = nvsp_message({105, 1, 6144});
    mailbox.expect_nvsp(1);
    in.write(completion_packet(nvsp_id(1), std::span(reply).first(16)));
    poll();
    auto taken = mailbox.collect_nvsp();
    ASSERT_TRUE(taken);
    EXPECT_EQ(Bytes(taken->begin(), taken->end()), reply);

    Bytes longer = reply;
    longer.resize(400, 0xee);
    mailbox.expect_nvsp(2);
    in.write(completion_packet(nvsp_id(2), longer));
    poll();
    taken = mailbox.collect_nvsp();
    ASSERT_TRUE(taken);
    EXPECT_EQ(Bytes(taken->begin(), taken->end()), reply);
}

TEST_F(RxQueueTest, LateAndRepeatedAndForeignNvspRepliesAreRefused)
{
    mailbox.expect_nvsp(4);
    Bytes reply = nvsp_message({2, 0, 0, 1});
    in.write(completion_packet(nvsp_id(3), reply));
    in.write(completion_packet(nvsp_id(5), reply));
    poll();
    EXPECT_EQ(malformed(Malformed::kReply), 2u);
    EXPECT_FALSE(mailbox.collect_nvsp());
    in.write(completion_packet(nvsp_id(4, kGeneration - 1), reply));
    poll();
    EXPECT_EQ(malformed(Malformed::kTransactionId), 1u);
    in.write(completion_packet(nvsp_id(4), reply));
    in.write(completion_packet(nvsp_id(4), reply));
    poll();
    EXPECT_EQ(malformed(Malformed::kReply), 3u);
    EXPECT_TRUE(mailbox.collect_nvsp());
    EXPECT_FALSE(mailbox.collect_nvsp());
}

/* --- Control messages -----------------------------------------------------
 */

TEST_F(RxQueueTest, AControlMessageGoesToTheMailboxAndItsSectionBack)
{
    mailbox.expect_rndis(0x80000005, 9);
    Bytes reply = rndis_message({0x80000005, 0, 9, 0});
    in.write(transfer_packet(8, {store(0, reply)}, kControl));
    EXPECT_THAT(poll(), IsEmpty());
    EXPECT_EQ(mailbox.collect_rndis(), reply);
    EXPECT_THAT(completed(), ElementsAre(8u));
    EXPECT_EQ(statistics()[Count::kRxControl], 1u);
    EXPECT_EQ(statistics().rx.packets(), 0u);
}

TEST_F(RxQueueTest, AControlMessageThatNobodyAskedForIsGivenBackAsFailed)
{
    Bytes reply = rndis_message({0x80000005, 0, 9, 0});
    in.write(transfer_packet(8, {store(0, reply)}, kControl));
    EXPECT_THAT(poll(), IsEmpty());
    EXPECT_EQ(malformed(Malformed::kReply), 1u);
    EXPECT_THAT(completed(2), ElementsAre(8u));
}

TEST_F(RxQueueTest, AFrameOnTheControlChannelIsNoFrame)
{
    in.write(
        transfer_packet(8, {store(0, rndis_frame(make_frame(60)))}, kControl));
    EXPECT_THAT(poll(), IsEmpty());
    EXPECT_EQ(malformed(Malformed::kReply), 1u);
}

TEST_F(RxQueueTest, AControlMessageOnTheDataChannelIsNoReply)
{
    mailbox.expect_rndis(0x80000005, 9);
    in.write(transfer_packet(
        8, {store(0, rndis_message({0x80000005, 0, 9, 0}))}, kData));
    EXPECT_THAT(poll(), IsEmpty());
    EXPECT_FALSE(mailbox.collect_rndis());
    EXPECT_EQ(malformed(Malformed::kRndisHeader), 1u);
}

TEST_F(RxQueueTest, AControlRangeOutsideTheBufferIsRefused)
{
    mailbox.expect_rndis(0x80000005, 9);
    in.write(
        transfer_packet(8, {{16, kBuffer - 8}, {16, 0xfffffff8}}, kControl));
    EXPECT_THAT(poll(), IsEmpty());
    EXPECT_EQ(malformed(Malformed::kRange), 2u);
    EXPECT_THAT(completed(2), ElementsAre(8u));
}

TEST_F(RxQueueTest, IndicationsGoToTheMailbox)
{
    in.write(transfer_packet(
        8, {store(0, rndis_message({7, 0, 0x4001000c, 0, 0}))}, kControl));
    poll();
    auto event = mailbox.collect_event();
    ASSERT_TRUE(event);
    EXPECT_EQ(std::get<Indication>(*event).status, 0x4001000cu);
}

TEST_F(RxQueueTest, VfAssociationAndIndirectionTableReachTheControlThread)
{
    Bytes table = nvsp_message({134, 16, 12});
    table.resize(76);
    for (uint32_t i = 0; i < 16; i++) {
        put32(table, 12 + 4 * i, i % 3);
    }
    /* With the completion flag, as openvmm sends it: no answer is due. */
    in.write(inband_packet(nvsp_message({128, 1, 5}), 1ull << 63, 1));
    in.write(inband_packet(table));
    send_frame(1);
    EXPECT_EQ(poll().size(), 1u);
    EXPECT_THAT(completed(), ElementsAre(1u));
    EXPECT_EQ(all_malformed(), 0u);

    auto event = mailbox.collect_event();
    ASSERT_TRUE(event);
    const auto *vf = std::get_if<VfAssociation>(&*event);
    ASSERT_TRUE(vf);
    EXPECT_TRUE(vf->allocated);
    EXPECT_EQ(vf->serial, 5u);
    event = mailbox.collect_event();
    ASSERT_TRUE(event);
    const auto *sent = std::get_if<IndirectionTable>(&*event);
    ASSERT_TRUE(sent);
    for (uint32_t i = 0; i < 16; i++) {
        EXPECT_EQ(sent->channels[i], i % 3);
    }
    EXPECT_FALSE(mailbox.collect_event());
    /* One wake for both. */
    EXPECT_EQ(uio.wakes(), 1u);
}

TEST_F(RxQueueTest, OtherInbandMessagesAreCounted)
{
    for (uint32_t type : {0u, 1u, 2u, 102u, 105u, 107u, 108u, 133u, ~0u}) {
        in.write(inband_packet(nvsp_message({type, 1, 1})));
    }
    in.write(inband_packet({}));
    EXPECT_THAT(poll(), IsEmpty());
    /* And those that are too short for what they say they are. */
    Bytes word(8);
    for (uint32_t type : {128u, 134u}) {
        put32(word, 0, type);
        in.write(inband_packet(word));
    }
    EXPECT_THAT(poll(), IsEmpty());
    EXPECT_EQ(malformed(Malformed::kNvspType), 11u);
    EXPECT_EQ(malformed(Malformed::kPacketHeader), 1u);
    EXPECT_EQ(out.used(), 0u);
    EXPECT_FALSE(mailbox.collect_event());
}

/* --- Readers that are not the user ----------------------------------------
 */

TEST_F(RxQueueTest, DiscardGivesFramesBackAndCountsThem)
{
    send_frames(3);
    EXPECT_TRUE(consumer.discard());
    EXPECT_THAT(completed(), ElementsAre(1u, 2u, 3u));
    EXPECT_EQ(statistics()[Count::kRxDiscarded], 3u);
    EXPECT_EQ(statistics().rx.packets(), 0u);
    EXPECT_EQ(rxq.polls(), 0u);
    EXPECT_FALSE(consumer.discard());
}

TEST_F(RxQueueTest, DiscardGoesOnWhereThePollerStopped)
{
    std::vector<Range> ranges(40, store(0, rndis_frame(make_frame(60))));
    in.write(transfer_packet(1, ranges));
    EXPECT_EQ(poll().size(), 32u);
    EXPECT_TRUE(consumer.discard());
    EXPECT_THAT(completed(), ElementsAre(1u));
    EXPECT_EQ(statistics()[Count::kRxDiscarded], 8u);
}

TEST_F(RxQueueTest, HarvestTakesCompletionsUpToTheFirstTransfer)
{
    for (uint32_t i = 1; i <= 3; i++) {
        ASSERT_EQ(send_off(&sections), i);
    }
    complete(data_id(1));
    in.write(inband_packet(nvsp_message({128, 0, 0})));
    complete(data_id(2));
    uint32_t here = in.get(kWriteIndex);
    send_frame(9);
    complete(data_id(3));
    consumer.harvest();
    EXPECT_EQ(sections.in_use(), 1u);
    EXPECT_EQ(in.get(kReadIndex), here);
    EXPECT_EQ(out.used(), 0u);
    consumer.harvest();
    EXPECT_EQ(in.get(kReadIndex), here);
    EXPECT_EQ(poll().size(), 1u);
    EXPECT_EQ(sections.in_use(), 0u);
}

TEST_F(RxQueueTest, HarvestStopsAtAMalformedTransferToo)
{
    ASSERT_EQ(send_off(&sections), 1u);
    in.write(transfer_packet(9, {}));
    complete(data_id(1));
    consumer.harvest();
    EXPECT_EQ(in.get(kReadIndex), 0u);
    EXPECT_EQ(sections.in_use(), 1u);
    EXPECT_EQ(all_malformed(), 0u);
}

TEST_F(RxQueueTest, HarvestLeavesATransferThatIsHalfTaken)
{
    std::vector<Range> ranges(40, store(0, rndis_frame(make_frame(60))));
    in.write(transfer_packet(1, ranges));
    EXPECT_EQ(poll().size(), 32u);
    consumer.harvest();
    EXPECT_EQ(in.get(kReadIndex), 0u);
    EXPECT_EQ(poll().size(), 8u);
}

TEST_F(RxQueueTest, HarvestHandlesABoundedNumberOfPackets)
{
    for (unsigned i = 0; i < 100; i++) {
        in.write(inband_packet(nvsp_message({128, 0, 0})));
    }
    consumer.harvest();
    EXPECT_EQ(statistics()[Count::kRxRingPackets], kMaxPacketsPerPoll);
}

TEST_F(RxQueueTest, ReadControlTakesEverythingUpToTheFirstFrame)
{
    ASSERT_EQ(send_off(&sections), 1u);
    ASSERT_EQ(send_off(&sections), 2u);
    mailbox.expect_rndis(0x80000005, 9);
    Bytes reply = rndis_message({0x80000005, 0, 9, 0});
    complete(data_id(1));
    in.write(transfer_packet(4, {store(0, reply)}, kControl));
    in.write(transfer_packet(5, {}, kControl)); /* Malformed. */
    uint32_t here = in.get(kWriteIndex);
    in.write(transfer_packet(6, {store(1, rndis_frame(make_frame(60)))}));
    complete(data_id(2));
    consumer.read_control();
    EXPECT_EQ(mailbox.collect_rndis(), reply);
    EXPECT_EQ(sections.in_use(), 1u);
    EXPECT_EQ(in.get(kReadIndex), here);
    auto sent = out.read_all();
    ASSERT_EQ(sent.size(), 2u);
    EXPECT_EQ(get64(sent[0], 8), 4u);
    EXPECT_EQ(get32(sent[0], 20), 1u);
    EXPECT_EQ(get64(sent[1], 8), 5u);
    EXPECT_EQ(get32(sent[1], 20), 2u);
    /* The frame waited for its reader. */
    consumer.read_control();
    EXPECT_EQ(in.get(kReadIndex), here);
    EXPECT_EQ(poll().size(), 1u);
    EXPECT_EQ(statistics()[Count::kRxDiscarded], 0u);
    EXPECT_EQ(sections.in_use(), 0u);
}

TEST_F(RxQueueTest, ReadControlWaitsForRoomAndForHalfTakenTransfers)
{
    mailbox.expect_rndis(0x80000005, 9);
    Bytes reply = rndis_message({0x80000005, 0, 9, 0});
    in.write(transfer_packet(4, {store(0, reply)}, kControl));
    fill_out(32);
    consumer.read_control();
    EXPECT_FALSE(mailbox.collect_rndis());
    EXPECT_EQ(in.get(kReadIndex), 0u);
    drain_out();
    consumer.read_control();
    EXPECT_TRUE(mailbox.collect_rndis());

    std::vector<Range> ranges(40, store(0, rndis_frame(make_frame(60))));
    in.write(transfer_packet(1, ranges));
    EXPECT_EQ(poll().size(), 32u);
    uint32_t here = in.get(kReadIndex);
    consumer.read_control();
    EXPECT_EQ(in.get(kReadIndex), here);
    EXPECT_EQ(poll().size(), 8u);
}

/* No real control packet has more than one range; a host that sends the
 * longest possible must not keep the control thread. */
TEST_F(RxQueueTest, ReadControlTakesABoundedNumberOfRanges)
{
    mailbox.expect_rndis(0x80000005, 9);
    std::vector<Range> ranges(kMaxRangesPerPoll, Range{8, 0});
    Bytes reply = rndis_message({0x80000005, 0, 9, 0});
    ranges.push_back(store(1, reply));
    in.write(transfer_packet(4, ranges, kControl));
    consumer.read_control();
    EXPECT_EQ(malformed(Malformed::kReply), kMaxRangesPerPoll);
    EXPECT_FALSE(mailbox.collect_rndis());
    EXPECT_EQ(completed(2), std::vector<uint64_t>{});
    consumer.read_control();
    EXPECT_EQ(mailbox.collect_rndis(), reply);
    EXPECT_EQ(completed(2), std::vector<uint64_t>{4});
}

TEST_F(RxQueueTest, UnmaskTellsThatPacketsWait)
{
    consumer.mask();
    EXPECT_EQ(in.get(kInterruptMask), 1u);
    EXPECT_FALSE(consumer.unmask());
    EXPECT_EQ(in.get(kInterruptMask), 0u);
    send_frame(1);
    EXPECT_TRUE(consumer.unmask());
    poll();
    EXPECT_FALSE(consumer.unmask());
}

} // namespace
} // namespace netvsc
