/* Transmit queue: aggregation (E.9), back-pressure, partial
 * publication; and the channel underneath. */

#include <memory>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "driver/tx_queue.h"
#include "tests/unit/data_path.h"

namespace netvsc {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::IsEmpty;

/* A message as it went to the host. */
struct Sent {
    uint64_t id;
    uint32_t section;
    Bytes bytes;
};

class TxQueueTest : public DataPath {
protected:
    explicit TxQueueTest(const MapSizes &sizes = {}) : DataPath(sizes) {}

    TxQueue
    make_queue(unsigned index = 0)
    {
        return TxQueue(context, &net, index, limits);
    }

    static std::vector<netvsc_tx_frame>
    views(const std::vector<Bytes> &frames)
    {
        std::vector<netvsc_tx_frame> result;
        for (const Bytes &frame : frames) {
            result.push_back(
                {frame.data(), static_cast<uint32_t>(frame.size())});
        }
        return result;
    }
    static std::vector<Bytes>
    frames(size_t n, size_t size)
    {
        std::vector<Bytes> result;
        for (unsigned i = 0; i < n; i++) {
            result.push_back(make_frame(size, i));
        }
        return result;
    }

    /* Everything the host finds in the ring; the form of each packet is
     * checked. */
    std::vector<Sent>
    sent()
    {
        std::vector<Sent> result;
        for (const Bytes &packet : out.read_all()) {
            EXPECT_EQ(packet.size(), 56u);
            EXPECT_EQ(get16(packet, 0), 6);
            EXPECT_EQ(get16(packet, 2), 2);
            EXPECT_EQ(get16(packet, 6), 1);
            EXPECT_EQ(get32(packet, 16), 107u);
            EXPECT_EQ(get32(packet, 20), 0u);
            for (size_t at = 32; at < 56; at += 4) {
                EXPECT_EQ(get32(packet, at), 0u);
            }
            uint32_t section = get32(packet, 24), size = get32(packet, 28);
            EXPECT_EQ(get64(packet, 8), data_id(section));
            EXPECT_LE(size, kSection);
            auto at = uio.map(wire::kUioMapSendBuffer)
                          .subspan(size_t{section} * kSection, size);
            result.push_back(
                {get64(packet, 8), section, Bytes(at.begin(), at.end())});
        }
        return result;
    }
    /* The sizes of a section's messages: what their length fields say. */
    static std::vector<uint32_t>
    lengths(const Bytes &section)
    {
        std::vector<uint32_t> result;
        size_t at = 0;
        while (at + 8 <= section.size()) {
            uint32_t length = get32(section, at + 4);
            EXPECT_GE(length, 44u);
            if (length < 44) {
                break;
            }
            result.push_back(length);
            at += length;
        }
        EXPECT_EQ(at, section.size());
        return result;
    }

    Statistics
    tx_statistics(const TxQueue &txq)
    {
        Statistics s;
        txq.add_to(&s);
        return s;
    }

    TxLimits limits = {.max_frame = 514,
                       .max_message = kSection,
                       .max_packets = 8,
                       .alignment = 8};
};

/* --- One frame ------------------------------------------------------------
 */

TEST_F(TxQueueTest, AFrameGoesOutInASectionWithItsHeader)
{
    TxQueue txq = make_queue();
    auto burst = frames(1, 60);
    EXPECT_EQ(txq.send(views(burst)), 1u);
    auto messages = sent();
    ASSERT_EQ(messages.size(), 1u);
    EXPECT_EQ(messages[0].bytes, rndis_frame(burst[0]));
    EXPECT_NE(messages[0].section, kControlSection);
    EXPECT_EQ(sections.in_use(), 1u);
    EXPECT_TRUE(uio.take_signal());
}

TEST_F(TxQueueTest, ATagLeavesTheFrame)
{
    TxQueue txq = make_queue();
    EXPECT_EQ(txq.send(views({make_tagged_frame(60, 0xa064)})), 1u);
    auto messages = sent();
    ASSERT_EQ(messages.size(), 1u);
    EXPECT_EQ(messages[0].bytes, rndis_frame(make_frame(60), {{6, 0x645}}));
}

TEST_F(TxQueueTest, NothingToSendIsNothingSent)
{
    TxQueue txq = make_queue();
    EXPECT_EQ(txq.send({}), 0u);
    EXPECT_THAT(sent(), IsEmpty());
    EXPECT_EQ(sections.in_use(), 0u);
    EXPECT_FALSE(uio.take_signal());
}

/* --- Aggregation (E.9) ----------------------------------------------------
 */

TEST_F(TxQueueTest, FramesShareASectionUpToTheHostsPacketLimit)
{
    limits.max_packets = 3;
    TxQueue txq = make_queue();
    auto burst = frames(7, 60);
    EXPECT_EQ(txq.send(views(burst)), 7u);
    auto messages = sent();
    ASSERT_EQ(messages.size(), 3u);
    EXPECT_EQ(lengths(messages[0].bytes).size(), 3u);
    EXPECT_EQ(lengths(messages[1].bytes).size(), 3u);
    EXPECT_EQ(lengths(messages[2].bytes).size(), 1u);
    EXPECT_EQ(tx_statistics(txq)[Count::kTxRingPackets], 3u);
    /* A burst is published at once: one signal. */
    EXPECT_EQ(channel.signals(), 1u);
}

TEST_F(TxQueueTest, OneFrameForEachMessageWhenTheHostAllowsNoMore)
{
    limits.max_packets = 1;
    TxQueue txq = make_queue();
    auto burst = frames(3, 60);
    EXPECT_EQ(txq.send(views(burst)), 3u);
    auto messages = sent();
    ASSERT_EQ(messages.size(), 3u);
    for (size_t i = 0; i < 3; i++) {
        EXPECT_EQ(messages[i].bytes, rndis_frame(burst[i]));
    }
}

TEST_F(TxQueueTest, PaddingBelongsToTheEarlierMessageAndNotToTheLast)
{
    TxQueue txq = make_queue();
    /* 44 + 61 = 105, padded to 112; 44 + 63 = 107 to 112; 44 + 62 = 106. */
    std::vector<Bytes> burst = {make_frame(61, 1), make_frame(63, 2),
                                make_frame(62, 3)};
    EXPECT_EQ(txq.send(views(burst)), 3u);
    auto messages = sent();
    ASSERT_EQ(messages.size(), 1u);
    Bytes wanted;
    uint32_t padded[] = {112, 112, 106};
    for (size_t i = 0; i < 3; i++) {
        Bytes message = rndis_frame(burst[i]);
        message.resize(padded[i]);
        put32(message, 4, padded[i]);
        wanted.insert(wanted.end(), message.begin(), message.end());
    }
    EXPECT_EQ(messages[0].bytes, wanted);
}

TEST_F(TxQueueTest, PaddingIsZeroAlsoInAUsedSection)
{
    auto section = sections.section(1);
    std::fill(section.begin(), section.end(), uint8_t{0xee});
    TxQueue txq = make_queue();
    EXPECT_EQ(txq.send(views(frames(2, 61))), 2u);
    auto messages = sent();
    ASSERT_EQ(messages.size(), 1u);
    ASSERT_EQ(messages[0].section, 1u);
    for (size_t at = 105; at < 112; at++) {
        EXPECT_EQ(messages[0].bytes[at], 0);
    }
}

TEST_F(TxQueueTest, EveryAlignmentOfTheHostIsKept)
{
    for (uint32_t alignment : {1, 2, 4, 8, 64, 256}) {
        limits.alignment = alignment;
        TxQueue txq = make_queue();
        EXPECT_EQ(txq.send(views(frames(3, 61))), 3u);
        auto messages = sent();
        ASSERT_EQ(messages.size(), 1u);
        auto sizes = lengths(messages[0].bytes);
        ASSERT_EQ(sizes.size(), 3u);
        EXPECT_EQ(sizes[0], (105 + alignment - 1) / alignment * alignment);
        EXPECT_EQ(sizes[1], sizes[0]);
        EXPECT_EQ(sizes[2], 105u);
        ASSERT_TRUE(sections.complete(messages[0].section));
    }
}

TEST_F(TxQueueTest, MessagesFillASectionToTheLastByteAndNotBeyond)
{
    /* 512 + 512 is the section; 8 bytes more are another one. */
    TxQueue txq = make_queue();
    EXPECT_EQ(txq.send(views(frames(2, 512 - 44))), 2u);
    auto messages = sent();
    ASSERT_EQ(messages.size(), 1u);
    EXPECT_EQ(messages[0].bytes.size(), kSection);

    EXPECT_EQ(txq.send(views({make_frame(468), make_frame(469)})), 2u);
    messages = sent();
    ASSERT_EQ(messages.size(), 2u);
    EXPECT_EQ(messages[0].bytes.size(), 512u);
    EXPECT_EQ(messages[1].bytes.size(), 513u);
    EXPECT_THAT(lengths(messages[0].bytes), ElementsAre(512u));
}

TEST_F(TxQueueTest, PaddingCountsAgainstTheSection)
{
    /* 513 is padded to 520: 504 are left. */
    TxQueue txq = make_queue();
    EXPECT_EQ(txq.send(views({make_frame(469), make_frame(504 - 44)})), 2u);
    EXPECT_EQ(sent().size(), 1u);
    EXPECT_EQ(txq.send(views({make_frame(469), make_frame(505 - 44)})), 2u);
    EXPECT_EQ(sent().size(), 2u);
}

TEST_F(TxQueueTest, TheHostsTransferSizeIsALimitToo)
{
    limits.max_message = 300;
    limits.max_frame = 200;
    TxQueue txq = make_queue();
    /* 104 each: two are 208, three would be 312. */
    EXPECT_EQ(txq.send(views(frames(3, 60))), 3u);
    auto messages = sent();
    ASSERT_EQ(messages.size(), 2u);
    EXPECT_EQ(messages[0].bytes.size(), 208u);
}

TEST_F(TxQueueTest, FramesStayInOrderOverManyBursts)
{
    TxQueue txq = make_queue();
    auto burst = frames(100, 100);
    auto all = views(burst);
    /* A burst for each call, and what is left. */
    for (size_t at = 0; at < all.size(); at += kMaxBurst) {
        size_t n = std::min<size_t>(all.size() - at, kMaxBurst);
        EXPECT_EQ(txq.send(std::span(all).subspan(at)), n);
    }
    size_t next = 0;
    for (const Sent &message : sent()) {
        size_t at = 0;
        for (uint32_t length : lengths(message.bytes)) {
            ASSERT_LT(next, burst.size());
            Bytes frame(message.bytes.begin() + static_cast<long>(at + 44),
                        message.bytes.begin() + static_cast<long>(at + 144));
            EXPECT_EQ(frame, burst[next++]);
            at += length;
        }
    }
    EXPECT_EQ(next, 100u);
}

/* Frames of every kind in turn: most go one way through the queue, and what
 * is out of the ordinary another. */
TEST_F(TxQueueTest, FramesOfAllKindsAreSentAsEachWouldBeAlone)
{
    for (uint32_t alignment : {1, 8, 64}) {
        for (uint32_t packets : {1, 3, 8, 100}) {
            limits.alignment = alignment;
            limits.max_packets = packets;
            TxQueue txq = make_queue();
            std::vector<Bytes> burst, wanted;
            for (unsigned i = 0; i < 30; i++) {
                unsigned kind = i * 7 % 11;
                size_t size = kind == 3 ? 14 : 40 + i;
                if (kind == 1) {
                    burst.push_back(Bytes(i % 14)); /* Too small. */
                } else if (kind == 2) {
                    burst.push_back(make_frame(515, i)); /* Too big. */
                } else if (kind == 4 || kind == 5) {
                    burst.push_back(make_tagged_frame(size, 0xa064, i));
                    wanted.push_back(
                        rndis_frame(make_frame(size, i), {{6, 0x645}}));
                } else {
                    burst.push_back(make_frame(size, i));
                    wanted.push_back(rndis_frame(burst.back()));
                }
            }
            ASSERT_EQ(txq.send(views(burst)), burst.size());
            size_t next = 0;
            for (const Sent &message : sent()) {
                size_t at = 0;
                auto all = lengths(message.bytes);
                EXPECT_LE(all.size(), packets);
                for (uint32_t length : all) {
                    ASSERT_LT(next, wanted.size());
                    Bytes one(message.bytes.begin() + static_cast<long>(at),
                              message.bytes.begin() +
                                  static_cast<long>(at + length));
                    Bytes alone = wanted[next++];
                    EXPECT_LT(length - alone.size(), alignment);
                    alone.resize(length);
                    put32(alone, 4, length);
                    EXPECT_EQ(one, alone);
                    at += length;
                    EXPECT_EQ(at % alignment == 0 ||
                                  at == message.bytes.size(),
                              true);
                }
                ASSERT_TRUE(sections.complete(message.section));
            }
            EXPECT_EQ(next, wanted.size());
            Statistics s = tx_statistics(txq);
            EXPECT_EQ(s.tx.packets(), wanted.size());
            EXPECT_EQ(s.tx.packets() + s[Count::kTxTooBig] +
                          s[Count::kTxTooSmall],
                      burst.size());
        }
    }
}

TEST_F(TxQueueTest, TwoBurstsNeverShareASection)
{
    TxQueue txq = make_queue();
    EXPECT_EQ(txq.send(views(frames(1, 60))), 1u);
    EXPECT_EQ(txq.send(views(frames(1, 60))), 1u);
    auto messages = sent();
    ASSERT_EQ(messages.size(), 2u);
    EXPECT_NE(messages[0].section, messages[1].section);
}

/* --- Frames that cannot be sent -------------------------------------------
 */

TEST_F(TxQueueTest, FramesTooBigOrTooSmallAreTakenAndCounted)
{
    TxQueue txq = make_queue();
    std::vector<Bytes> burst = {make_frame(515), make_frame(60, 1),
                                Bytes(13),       make_frame(60, 2),
                                Bytes(0),        make_frame(514, 3)};
    EXPECT_EQ(txq.send(views(burst)), 6u);
    auto messages = sent();
    ASSERT_EQ(messages.size(), 1u);
    EXPECT_EQ(lengths(messages[0].bytes).size(), 3u);
    Statistics s = tx_statistics(txq);
    EXPECT_EQ(s.tx.packets(), 3u);
    EXPECT_EQ(s.tx.bytes, 60u + 60 + 514);
    EXPECT_EQ(s[Count::kTxTooBig], 1u);
    EXPECT_EQ(s[Count::kTxTooSmall], 2u);
}

TEST_F(TxQueueTest, NothingButUnsendableFramesTakesNoSection)
{
    TxQueue txq = make_queue();
    EXPECT_EQ(txq.send(views({Bytes(13), make_frame(2000)})), 2u);
    EXPECT_THAT(sent(), IsEmpty());
    EXPECT_EQ(sections.in_use(), 0u);
    Statistics s = tx_statistics(txq);
    EXPECT_EQ(s.tx.packets(), 0u);
    EXPECT_EQ(s[Count::kTxRingPackets], 0u);
    EXPECT_EQ(s[Count::kTxNoSection], 0u);
}

/* A frame with these tags (type, TCI) in front of its own type. */
Bytes
with_tags(Bytes frame, const std::vector<std::pair<uint16_t, uint16_t>> &tags)
{
    Bytes bytes;
    for (auto [type, tci] : tags) {
        for (int half : {type >> 8, type & 0xff, tci >> 8, tci & 0xff}) {
            bytes.push_back(static_cast<uint8_t>(half));
        }
    }
    frame.insert(frame.begin() + 12, bytes.begin(), bytes.end());
    return frame;
}

TEST_F(TxQueueTest, TwoTagsOfAnyTypeDoNotCountAgainstTheMtu)
{
    using Tags = std::vector<std::pair<uint16_t, uint16_t>>;
    for (const Tags &tags : {Tags{},
                             {{0x8100, 0xa064}},
                             {{0x88a8, 7}},
                             {{0x8100, 0xa064}, {0x8100, 9}},
                             {{0x8100, 0xa064}, {0x88a8, 9}},
                             {{0x88a8, 7}, {0x8100, 9}},
                             {{0x88a8, 7}, {0x88a8, 9}}}) {
        TxQueue txq = make_queue();
        /* An outer 802.1Q tag leaves the frame for the element. */
        bool moved = !tags.empty() && tags[0].first == 0x8100;
        Bytes frame = with_tags(make_frame(514), tags);
        ASSERT_EQ(txq.send(views({frame})), 1u);
        auto messages = sent();
        ASSERT_EQ(messages.size(), 1u) << tags.size();
        Bytes wanted = rndis_frame(frame);
        if (moved) {
            wanted = rndis_frame(
                with_tags(make_frame(514), Tags(tags.begin() + 1, tags.end())),
                {{6, 0x645}});
        }
        EXPECT_EQ(messages[0].bytes, wanted);
        ASSERT_TRUE(sections.complete(messages[0].section));

        frame = with_tags(make_frame(515), tags);
        ASSERT_EQ(txq.send(views({frame})), 1u);
        EXPECT_THAT(sent(), IsEmpty());
        EXPECT_EQ(tx_statistics(txq)[Count::kTxTooBig], 1u);
    }
}

TEST_F(TxQueueTest, AThirdTagCountsAgainstTheMtu)
{
    TxQueue txq = make_queue();
    Bytes frame =
        with_tags(make_frame(511), {{0x8100, 1}, {0x8100, 2}, {0x8100, 3}});
    ASSERT_EQ(txq.send(views({frame})), 1u);
    EXPECT_EQ(tx_statistics(txq)[Count::kTxTooBig], 1u);
    frame =
        with_tags(make_frame(510), {{0x8100, 1}, {0x8100, 2}, {0x8100, 3}});
    ASSERT_EQ(txq.send(views({frame})), 1u);
    EXPECT_EQ(sent().size(), 1u);
}

/* Whatever the MTU, every frame that is let through has room in a section. */
TEST_F(TxQueueTest, ASectionHoldsTheLargestFrameWithBothTags)
{
    limits.max_frame = 5000;
    TxQueue txq = make_queue();
    constexpr uint32_t kLargest = kSection - 64;
    for (uint16_t type : {0x8100, 0x88a8}) {
        Bytes frame = with_tags(make_frame(kLargest), {{type, 1}, {type, 2}});
        ASSERT_EQ(txq.send(views({frame})), 1u);
        auto messages = sent();
        ASSERT_EQ(messages.size(), 1u);
        EXPECT_EQ(messages[0].bytes.size(),
                  type == 0x8100 ? kSection : kSection - 12);
        frame = with_tags(make_frame(kLargest + 1), {{type, 1}, {type, 2}});
        ASSERT_EQ(txq.send(views({frame})), 1u);
        EXPECT_THAT(sent(), IsEmpty());
    }
    EXPECT_EQ(tx_statistics(txq)[Count::kTxTooBig], 2u);
}

TEST_F(TxQueueTest, TheShortestFramesAreSent)
{
    TxQueue txq = make_queue();
    EXPECT_EQ(txq.send(views({make_frame(14), make_tagged_frame(14, 1)})), 2u);
    auto messages = sent();
    ASSERT_EQ(messages.size(), 1u);
    EXPECT_THAT(lengths(messages[0].bytes), ElementsAre(64u, 74u));
}

TEST_F(TxQueueTest, CountsPacketsBytesAndSizes)
{
    limits.max_frame = 900;
    TxQueue txq = make_queue();
    EXPECT_EQ(txq.send(views({make_frame(60), make_frame(65), make_frame(128),
                              make_frame(255), make_frame(256),
                              make_frame(512), make_frame(900)})),
              7u);
    Statistics s = tx_statistics(txq);
    EXPECT_EQ(s.tx.packets(), 7u);
    EXPECT_EQ(s.tx.bytes, 60u + 65 + 128 + 255 + 256 + 512 + 900);
    EXPECT_THAT(s.tx.size_bins, ElementsAre(1, 1, 2, 1, 2, 0, 0));
    EXPECT_EQ(s[Count::kTxRingPackets], sent().size());
}

/* --- Sections exhausted ---------------------------------------------------
 */

/* Four sections: control and three for data. */
class FewSections : public TxQueueTest {
protected:
    FewSections() : TxQueueTest({.send = 4096}) { limits.max_packets = 2; }
};

TEST_F(FewSections, TakesWhatHasASectionAndCountsTheRest)
{
    TxQueue txq = make_queue();
    EXPECT_EQ(txq.send(views(frames(9, 60))), 6u);
    Statistics s = tx_statistics(txq);
    EXPECT_EQ(s.tx.packets(), 6u);
    EXPECT_EQ(s[Count::kTxNoSection], 3u);
    EXPECT_EQ(s[Count::kTxRingFull], 0u);
    EXPECT_EQ(sent().size(), 3u);
    EXPECT_EQ(txq.send(views(frames(2, 60))), 0u);
    EXPECT_EQ(tx_statistics(txq)[Count::kTxNoSection], 5u);
    EXPECT_EQ(tx_statistics(txq).tx.packets(), 6u);
}

TEST_F(FewSections, HarvestsCompletionsWhenShort)
{
    TxQueue txq = make_queue();
    EXPECT_EQ(txq.send(views(frames(6, 60))), 6u);
    for (const Sent &message : sent()) {
        complete(message.id);
    }
    /* Nobody polls: the transmitter finds them by itself. */
    EXPECT_EQ(txq.send(views(frames(4, 60))), 4u);
    EXPECT_EQ(sent().size(), 2u);
    EXPECT_EQ(tx_statistics(txq)[Count::kTxNoSection], 0u);
    EXPECT_EQ(in.used(), 0u);
}

TEST_F(FewSections, DoesNotReadTheRingWhileSectionsAreThere)
{
    TxQueue txq = make_queue();
    EXPECT_EQ(txq.send(views(frames(2, 60))), 2u);
    complete(sent().at(0).id);
    EXPECT_EQ(txq.send(views(frames(2, 60))), 2u);
    EXPECT_GT(in.used(), 0u);
}

TEST_F(FewSections, CompletionsBehindAFrameWaitForTheReader)
{
    TxQueue txq = make_queue();
    EXPECT_EQ(txq.send(views(frames(6, 60))), 6u);
    auto messages = sent();
    send_frame(1);
    complete(messages[0].id);
    EXPECT_EQ(txq.send(views(frames(1, 60))), 0u);
    EXPECT_EQ(poll().size(), 1u);
    EXPECT_EQ(txq.send(views(frames(1, 60))), 1u);
}

TEST_F(FewSections, UnsendableFramesBeforeTheLackAreTaken)
{
    TxQueue txq = make_queue();
    EXPECT_EQ(txq.send(views(frames(6, 60))), 6u);
    EXPECT_EQ(txq.send(views({Bytes(3), make_frame(60), Bytes(3)})), 1u);
    EXPECT_EQ(tx_statistics(txq)[Count::kTxTooSmall], 1u);
    EXPECT_EQ(tx_statistics(txq)[Count::kTxNoSection], 2u);
}

TEST_F(FewSections, UnsendableFramesCostNoSection)
{
    TxQueue txq = make_queue();
    for (unsigned round = 0; round < 10; round++) {
        EXPECT_EQ(txq.send(views({Bytes(3), make_frame(2000)})), 2u);
    }
    /* A section may have been opened for those behind the second frame. */
    EXPECT_EQ(txq.send(views({make_frame(60), make_frame(60), Bytes(3)})), 3u);
    EXPECT_EQ(sent().size(), 1u);
    EXPECT_EQ(txq.send(views(frames(4, 60))), 4u);
    EXPECT_EQ(sent().size(), 2u);
    EXPECT_EQ(tx_statistics(txq)[Count::kTxNoSection], 0u);
}

TEST_F(FewSections, ASectionIsReusedOnlyAfterItsCompletion)
{
    TxQueue txq = make_queue();
    for (unsigned round = 0; round < 200; round++) {
        ASSERT_EQ(txq.send(views({make_frame(60, round)})), 1u);
        auto messages = sent();
        ASSERT_EQ(messages.size(), 1u);
        EXPECT_EQ(messages[0].bytes, rndis_frame(make_frame(60, round)));
        complete(messages[0].id);
        poll();
    }
    EXPECT_EQ(sections.in_use(), 0u);
    EXPECT_EQ(all_malformed(), 0u);
}

TEST_F(FewSections, QueuesUseTheirOwnShareOnly)
{
    sections.partition(3);
    std::set<uint32_t> used;
    for (unsigned q = 0; q < 3; q++) {
        TxQueue txq = make_queue(q);
        EXPECT_EQ(txq.send(views(frames(4, 60))), 2u);
        for (const Sent &message : sent()) {
            used.insert(message.section);
        }
    }
    EXPECT_EQ(used, (std::set<uint32_t>{1, 2, 3}));
}

TEST_F(FewSections, SectionsInFlightServeTheNewPartition)
{
    std::vector<uint64_t> ids;
    {
        TxQueue txq = make_queue();
        EXPECT_EQ(txq.send(views(frames(6, 60))), 6u);
        for (const Sent &message : sent()) {
            ids.push_back(message.id);
        }
    }
    sections.partition(3);
    std::vector<std::unique_ptr<TxQueue>> queues;
    for (unsigned q = 0; q < 3; q++) {
        queues.emplace_back(new TxQueue(make_queue(q)));
        EXPECT_EQ(queues[q]->send(views(frames(1, 60))), 0u);
    }
    for (uint64_t id : ids) {
        complete(id);
    }
    for (auto &queue : queues) {
        EXPECT_EQ(queue->send(views(frames(3, 60))), 2u);
    }
}

/* --- Ring full ------------------------------------------------------------
 */

/* What a packet of 40 bytes of payload takes. */
constexpr uint32_t kPacket = 64;

TEST_F(TxQueueTest, TheRoomOfReceiveCompletionsIsNotTouched)
{
    TxQueue txq = make_queue();
    fill_out(kCompletionReserve + kPacket);
    EXPECT_EQ(txq.send(views(frames(1, 60))), 0u);
    EXPECT_EQ(tx_statistics(txq)[Count::kTxRingFull], 1u);
    fill_out(kCompletionReserve + kPacket + 8);
    EXPECT_EQ(txq.send(views(frames(1, 60))), 1u);
    EXPECT_EQ(txq.send(views(frames(1, 60))), 0u);

    /* All completions of a poll fit in what is left. */
    for (unsigned i = 1; i <= kMaxPacketsPerPoll; i++) {
        in.write(transfer_packet(i, {}));
    }
    poll();
    EXPECT_EQ(malformed(Malformed::kPacketHeader), kMaxPacketsPerPoll);
    EXPECT_EQ(in.used(), 0u);
    EXPECT_EQ(fault.reason(), nullptr);
}

TEST_F(TxQueueTest, APartOfABurstGoesOutAndTheOtherSectionsComeBack)
{
    limits.max_packets = 2;
    TxQueue txq = make_queue();
    /* Room for two packets of the four that the burst needs. */
    uint32_t start = out.get(kWriteIndex);
    fill_out(kCompletionReserve + 2 * kPacket + 8);
    EXPECT_EQ(txq.send(views(frames(7, 60))), 4u);
    Statistics s = tx_statistics(txq);
    EXPECT_EQ(s.tx.packets(), 4u);
    EXPECT_EQ(s.tx.bytes, 240u);
    EXPECT_EQ(s[Count::kTxRingPackets], 2u);
    EXPECT_EQ(s[Count::kTxRingFull], 3u);
    EXPECT_EQ(sections.in_use(), 2u);

    out.set(kReadIndex, start);
    auto messages = sent();
    ASSERT_EQ(messages.size(), 2u);
    /* The caller sends the rest again; nothing is lost or doubled. */
    auto rest = frames(7, 60);
    rest.erase(rest.begin(), rest.begin() + 4);
    EXPECT_EQ(txq.send(views(rest)), 3u);
    for (const Sent &message : sent()) {
        messages.push_back(message);
    }
    ASSERT_EQ(messages.size(), 4u);
    std::set<uint32_t> used;
    for (const Sent &message : messages) {
        used.insert(message.section);
    }
    EXPECT_EQ(used.size(), 4u);
    EXPECT_EQ(sections.in_use(), 4u);
}

TEST_F(TxQueueTest, AFullRingTakesEverySectionBack)
{
    TxQueue txq = make_queue();
    fill_out(8);
    EXPECT_EQ(txq.send(views(frames(32, 60))), 0u);
    EXPECT_EQ(sections.in_use(), 0u);
    EXPECT_EQ(tx_statistics(txq)[Count::kTxRingFull], 32u);
    EXPECT_EQ(tx_statistics(txq).tx.packets(), 0u);
    EXPECT_FALSE(uio.take_signal());
}

TEST_F(FewSections, FramesWithoutSectionAndWithoutRoomAreCountedOnceEach)
{
    TxQueue txq = make_queue();
    fill_out(kCompletionReserve + kPacket + 8);
    /* Three sections for six of nine frames; room for one section. */
    EXPECT_EQ(txq.send(views(frames(9, 60))), 2u);
    Statistics s = tx_statistics(txq);
    EXPECT_EQ(s.tx.packets(), 2u);
    EXPECT_EQ(s[Count::kTxNoSection], 3u);
    EXPECT_EQ(s[Count::kTxRingFull], 4u);
}

TEST_F(TxQueueTest, AfterAFaultNothingIsSent)
{
    TxQueue txq = make_queue();
    fault.raise("did something");
    EXPECT_EQ(txq.send(views(frames(3, 60))), 0u);
    EXPECT_THAT(sent(), IsEmpty());
    EXPECT_EQ(sections.in_use(), 0u);
}

TEST_F(TxQueueTest, ABrokenSendRingTakesNothing)
{
    out.set(kReadIndex, 5);
    TxQueue txq = make_queue();
    EXPECT_EQ(txq.send(views(frames(3, 60))), 0u);
    EXPECT_EQ(sections.in_use(), 0u);
    EXPECT_EQ(out.get(kWriteIndex), 0u);
}

/* --- Signals of the channel (C.5, H.2) ------------------------------------
 */

TEST(HostSignalTest, SetsTheBitOfItsMonitorIdAndNoOther)
{
    for (uint32_t id = 0; id < 128; id++) {
        FakeUio uio;
        auto page = uio.map(wire::kUioMapMonitorPage);
        HostSignal signal(&uio, 15, id);
        signal.signal();
        /* Groups of 8 bytes from byte 8 on, the pending word first. */
        size_t at = 8 + id / 32 * 8;
        EXPECT_EQ(get32(page, at), 1u << (id % 32));
        put32(page, at, 0);
        EXPECT_EQ(std::count(page.begin(), page.end(), 0),
                  static_cast<long>(page.size()));
        EXPECT_TRUE(uio.irq_controls().empty());
    }
}

TEST(HostSignalTest, LeavesTheBitsOfOtherChannelsAlone)
{
    FakeUio uio;
    auto page = uio.map(wire::kUioMapMonitorPage);
    put32(page, 8, 0x80000001);
    HostSignal(&uio, 15, 4).signal();
    EXPECT_EQ(get32(page, 8), 0x80000011u);
}

TEST(HostSignalTest, WithoutAMonitorIdItAsksTheKernel)
{
    for (uint32_t relid : {1u, 15u, 31u, 32u, 2047u}) {
        FakeUio uio;
        auto page = uio.map(wire::kUioMapInterruptPage);
        HostSignal(&uio, relid, std::nullopt).signal();
        /* The second half of the page, one bit for each channel. */
        EXPECT_EQ(page[2048 + relid / 8], 1u << (relid % 8));
        EXPECT_EQ(uio.irq_controls(), std::vector<bool>{true});
    }
}

/* The host has read everything before each burst and does not mask. */
TEST_F(TxQueueTest, ABurstOfManyMessagesIsOneSignal)
{
    limits.max_packets = 1;
    TxQueue txq = make_queue();
    auto burst = frames(kMaxBurst, 60);
    for (unsigned i = 1; i <= 100; i++) {
        EXPECT_EQ(txq.send(views(burst)), kMaxBurst);
        EXPECT_EQ(channel.signals(), i);
        auto messages = sent();
        EXPECT_EQ(messages.size(), kMaxBurst);
        for (const Sent &message : messages) {
            complete(message.id);
        }
        EXPECT_TRUE(poll().empty());
        EXPECT_EQ(channel.signals(), i);
    }
}

/* As when some frames of a burst are in sections and others in pages of their
 * own: the host sees the packets in the order of the frames. */
TEST_F(TxQueueTest, ABatchOfDifferentPacketsKeepsOrderAndReserve)
{
    fill_out(kCompletionReserve + 2 * kPacket + 32 + 8);
    {
        Channel::SendBatch batch(&channel);
        EXPECT_TRUE(batch.put(make_section_packet(1, 100, 11)));
        EXPECT_TRUE(batch.put(
            std::array{descriptor_word(6, 3, 1), uint64_t{12}, uint64_t{0}}));
        EXPECT_TRUE(batch.put(make_section_packet(2, 200, 13)));
        EXPECT_FALSE(batch.put(
            std::array{descriptor_word(6, 3, 1), uint64_t{14}, uint64_t{0}}));
        EXPECT_EQ(out.get(kWriteIndex), 0u);
    }
    EXPECT_EQ(out.get(kWriteIndex), 2 * kPacket + 32);
    out.set(kReadIndex, 0);
    std::vector<uint64_t> ids;
    for (const Bytes &packet : out.read_all()) {
        ids.push_back(get64(packet, 8));
    }
    EXPECT_THAT(ids, ElementsAre(11u, 12u, 13u));
}

TEST_F(TxQueueTest, TheHostIsSignalledOnlyWhenItMaySleep)
{
    TxQueue txq = make_queue();
    EXPECT_EQ(txq.send(views(frames(1, 60))), 1u);
    EXPECT_EQ(txq.send(views(frames(1, 60))), 1u);
    EXPECT_EQ(channel.signals(), 1u);
    sent();
    out.set(kInterruptMask, 1);
    EXPECT_EQ(txq.send(views(frames(1, 60))), 1u);
    EXPECT_EQ(channel.signals(), 1u);
    out.set(kInterruptMask, 0);
    sent();
    EXPECT_EQ(txq.send(views(frames(1, 60))), 1u);
    EXPECT_EQ(channel.signals(), 2u);
}

} // namespace
} // namespace netvsc
