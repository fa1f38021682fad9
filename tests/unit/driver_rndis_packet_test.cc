/* RNDIS PACKET messages: the parser against hostile ones, and the builder (E.3
 * to E.7). */

#include <gtest/gtest.h>

#include "driver/rndis_packet.h"
#include "tests/unit/far_ring.h"
#include "tests/unit/intruder.h"

namespace netvsc {
namespace {

using namespace test;

/* --- Parser ---------------------------------------------------------------
 */

struct Parsed {
    std::optional<Malformed> error;
    netvsc_rx_frame frame = {};
    netvsc_fragment fragment = {};
};

/* On the heap, exactly as long as the message: a read behind it is seen by
 * the address sanitizer. */
Parsed
parse(const Bytes &message)
{
    Parsed parsed;
    /* What an earlier frame left must not shine through. */
    parsed.frame.flags = 0xffff;
    RndisShape shape;
    std::span<const uint8_t> range(message.data(), message.size());
    parsed.error =
        parse_rndis_packet(range, &parsed.fragment, &parsed.frame, &shape);
    /* A message is its own form. */
    Parsed again;
    if (shape.parse(range, &again.fragment, &again.frame)) {
        EXPECT_FALSE(parsed.error);
        EXPECT_EQ(again.frame.size, parsed.frame.size);
        EXPECT_EQ(again.frame.flags, parsed.frame.flags);
        EXPECT_EQ(again.fragment.data, parsed.fragment.data);
    }
    return parsed;
}

constexpr size_t kLength = 4, kDataOffset = 8, kDataLength = 12,
                 kPpiOffset = 28, kPpiLength = 32;
/* Of the first element. */
constexpr size_t kElementSize = 44, kElementOffset = 52;

TEST(RndisPacketParserTest, FindsTheFrame)
{
    Bytes frame = make_frame(98, 3);
    Bytes message = rndis_frame(frame);
    Parsed parsed = parse(message);
    ASSERT_FALSE(parsed.error);
    EXPECT_EQ(parsed.frame.n_fragments, 1u);
    EXPECT_EQ(parsed.frame.fragments, &parsed.fragment);
    EXPECT_EQ(parsed.frame.size, 98u);
    EXPECT_EQ(parsed.frame.flags, 0);
    EXPECT_EQ(parsed.fragment.data, message.data() + 44);
    EXPECT_EQ(parsed.fragment.size, 98u);
}

TEST(RndisPacketParserTest, FindsTheFrameBehindAGapAndIgnoresPadding)
{
    /* openvmm puts the frame at 256 and lets the message be longer. */
    Bytes message = rndis_frame(make_frame(60));
    message.resize(400);
    put32(message, kLength, 390);
    put32(message, kDataOffset, 248);
    Parsed parsed = parse(message);
    ASSERT_FALSE(parsed.error);
    EXPECT_EQ(parsed.fragment.data, message.data() + 256);
    EXPECT_EQ(parsed.frame.size, 60u);
}

TEST(RndisPacketParserTest, AcceptsAFrameUpToTheLastByteOfTheMessage)
{
    Bytes message = rndis_frame(make_frame(60));
    EXPECT_FALSE(parse(message).error);
    put32(message, kDataLength, 61);
    EXPECT_EQ(parse(message).error, Malformed::kRndisData);
}

TEST(RndisPacketParserTest, RefusesARangeShorterThanTheHeader)
{
    Bytes message = rndis_frame(make_frame(60));
    for (size_t size = 0; size < 44; size++) {
        EXPECT_EQ(parse(Bytes(message.begin(),
                              message.begin() + static_cast<long>(size)))
                      .error,
                  Malformed::kRndisHeader);
    }
}

TEST(RndisPacketParserTest, RefusesOtherTypes)
{
    Bytes message = rndis_frame(make_frame(60));
    for (uint32_t type : {0u, 2u, 7u, 0x80000001u, 0x80000002u, ~0u}) {
        put32(message, 0, type);
        EXPECT_EQ(parse(message).error, Malformed::kRndisHeader);
    }
}

TEST(RndisPacketParserTest, RefusesALengthThatDoesNotFitTheRange)
{
    Bytes message = rndis_frame(make_frame(60));
    for (uint32_t length : {0u, 8u, 43u, 105u, 0x7fffffffu, ~0u}) {
        put32(message, kLength, length);
        EXPECT_EQ(parse(message).error, Malformed::kRndisHeader) << length;
    }
}

#ifdef NETVSC_HAS_INTRUDER
/* Whenever the host writes, what was checked is what is used: the frame lies
 * in the message, and a form that was learned is that of a good one. */
TEST(RndisPacketParserTest, ChecksWhatItUsesWhenTheHostWritesMeanwhile)
{
    const Bytes good = rndis_frame(make_frame(60), {{0, 5}, {8, 0x1234}});
    Intruder intruder;
    for (size_t at = 0; at < kElementOffset + 8; at += 4) {
        uint32_t value;
        std::memcpy(&value, &good[at], sizeof value);
        Bytes bad = good;
        put32(bad, at, 0x7ffffffc);
        const bool harmless = !parse(bad).error;

        unsigned accesses = 0;
        auto visited = [&](const Bytes &first, uint32_t then) {
            Parsed parsed;
            RndisShape shape;
            const uint8_t *end = nullptr;
            bool came =
                intruder.visit(first, accesses++, at, then, [&](auto range) {
                    end = &*range.end();
                    parsed.error = parse_rndis_packet(range, &parsed.fragment,
                                                      &parsed.frame, &shape);
                });
            if (!parsed.error) {
                EXPECT_EQ(parsed.fragment.data, end - 60);
                EXPECT_EQ(parsed.fragment.size, 60u);
            }
            Parsed again;
            EXPECT_TRUE(harmless ||
                        !shape.parse(bad, &again.fragment, &again.frame))
                << "learned the form of a bad message";
            return came;
        };
        SCOPED_TRACE(at);
        while (visited(good, 0x7ffffffc)) {
        }
        EXPECT_GT(accesses, 3u);
        accesses = 0;
        while (visited(bad, value)) {
        }
    }
}
#endif

TEST(RndisPacketParserTest, RefusesAFrameInsideTheHeader)
{
    Bytes message = rndis_frame(make_frame(60));
    for (uint32_t offset : {0u, 8u, 35u}) {
        put32(message, kDataOffset, offset);
        EXPECT_EQ(parse(message).error, Malformed::kRndisData);
    }
}

TEST(RndisPacketParserTest, RefusesAFrameLongerThanOvsCanPointInto)
{
    netvsc_fragment fragment;
    netvsc_rx_frame frame;
    RndisShape shape;
    for (auto [size, fits] : std::vector<std::pair<size_t, bool>>{
             {64507, true}, {64508, false}, {1 << 20, false}}) {
        auto cause = parse_rndis_packet(rndis_frame(make_frame(size)),
                                        &fragment, &frame, &shape);
        EXPECT_EQ(!cause, fits) << size;
        EXPECT_EQ(cause.value_or(Malformed::kRndisData),
                  Malformed::kRndisData);
    }
}

TEST(RndisPacketParserTest, RefusesAFrameOutsideTheMessage)
{
    /* The range goes on behind the message: its length decides. */
    Bytes message = rndis_frame(make_frame(60));
    message.resize(1000);
    for (auto [offset, length] : std::vector<std::pair<uint32_t, uint32_t>>{
             {37, 60},
             {36, 61},
             {96, 14},
             {97, 14},
             {36, 0xffffffff},
             {36, 0xffffffdc}, /* 36 + length is 0 in 32 bits. */
             {0xfffffff8, 60}, /* 8 + offset is 0. */
             {0xffffffff, 14},
             {0x80000000, 0x80000000},
             {0xffffffc4, 60}}) {
        put32(message, kDataOffset, offset);
        put32(message, kDataLength, length);
        EXPECT_EQ(parse(message).error, Malformed::kRndisData)
            << offset << " " << length;
    }
}

TEST(RndisPacketParserTest, RefusesAFrameShorterThanEthernet)
{
    for (size_t size = 0; size < 14; size++) {
        EXPECT_EQ(parse(rndis_frame(make_frame(14))).error, std::nullopt);
        Bytes message = rndis_frame(make_frame(14));
        put32(message, kDataLength, static_cast<uint32_t>(size));
        EXPECT_EQ(parse(message).error, Malformed::kRndisData);
    }
}

/* Per-packet info */

TEST(RndisPacketParserTest, ReadsEveryKnownElement)
{
    Parsed parsed = parse(rndis_frame(
        make_frame(60), {{8, 0x51ccc178}, {9, 0x201}, {6, 0x645}, {0, 0x28}}));
    ASSERT_FALSE(parsed.error);
    EXPECT_EQ(parsed.frame.flags, NETVSC_RX_HASH | NETVSC_RX_VLAN |
                                      NETVSC_RX_IP_GOOD | NETVSC_RX_L4_GOOD);
    EXPECT_EQ(parsed.frame.rss_hash, 0x51ccc178u);
    EXPECT_EQ(parsed.frame.vlan_tci, 5u << 13 | 100);
    EXPECT_EQ(parsed.frame.size, 60u);
}

TEST(RndisPacketParserTest, AHashOfZeroIsAHash)
{
    Parsed parsed = parse(rndis_frame(make_frame(60), {{8, 0}}));
    ASSERT_FALSE(parsed.error);
    EXPECT_EQ(parsed.frame.flags, NETVSC_RX_HASH);
    EXPECT_EQ(parsed.frame.rss_hash, 0u);
}

TEST(RndisPacketParserTest, HashInfoAloneIsNoHash)
{
    Parsed parsed = parse(rndis_frame(make_frame(60), {{9, 0x201}}));
    ASSERT_FALSE(parsed.error);
    EXPECT_EQ(parsed.frame.flags, 0);
}

TEST(RndisPacketParserTest, PutsTheBitsOfTheTagInTciOrder)
{
    /* E.7: priority in bits 0 to 2, CFI in 3, id in 4 to 15. */
    for (auto [value, tci] :
         std::vector<std::pair<uint32_t, uint16_t>>{{0x00000000, 0x0000},
                                                    {0x00000001, 0x2000},
                                                    {0x00000004, 0x8000},
                                                    {0x00000007, 0xe000},
                                                    {0x00000008, 0x1000},
                                                    {0x00000010, 0x0001},
                                                    {0x00008000, 0x0800},
                                                    {0x0000fff0, 0x0fff},
                                                    {0x0000ffff, 0xffff},
                                                    {0xffff0645, 0xa064}}) {
        Parsed parsed = parse(rndis_frame(make_frame(60), {{6, value}}));
        ASSERT_FALSE(parsed.error);
        EXPECT_EQ(parsed.frame.flags, NETVSC_RX_VLAN);
        EXPECT_EQ(parsed.frame.vlan_tci, tci) << std::hex << value;
    }
}

TEST(RndisPacketParserTest, TranslatesEveryChecksumVerdict)
{
    for (auto [value, flags] : std::vector<std::pair<uint32_t, unsigned>>{
             {0x00, 0},
             {0x01, NETVSC_RX_L4_BAD},
             {0x02, NETVSC_RX_L4_BAD},
             {0x04, NETVSC_RX_IP_BAD},
             {0x08, NETVSC_RX_L4_GOOD},
             {0x10, NETVSC_RX_L4_GOOD},
             {0x20, NETVSC_RX_IP_GOOD},
             {0x28, NETVSC_RX_IP_GOOD | NETVSC_RX_L4_GOOD},
             {0x30, NETVSC_RX_IP_GOOD | NETVSC_RX_L4_GOOD},
             {0x21, NETVSC_RX_IP_GOOD | NETVSC_RX_L4_BAD},
             {0x22, NETVSC_RX_IP_GOOD | NETVSC_RX_L4_BAD},
             {0x0c, NETVSC_RX_IP_BAD | NETVSC_RX_L4_GOOD},
             {0x05, NETVSC_RX_IP_BAD | NETVSC_RX_L4_BAD},
             {0xffffffc0, 0}}) {
        Parsed parsed = parse(rndis_frame(make_frame(60), {{0, value}}));
        ASSERT_FALSE(parsed.error);
        EXPECT_EQ(parsed.frame.flags, flags) << std::hex << value;
    }
}

TEST(RndisPacketParserTest, SkipsUnknownElementsOfAnyContent)
{
    /* RSC's internal element, one that nobody defined, and the smallest. */
    Parsed parsed = parse(
        rndis_frame(make_frame(60), {{0x80000001, 7}, {77, 1}, {6, 0x10}}));
    ASSERT_FALSE(parsed.error);
    EXPECT_EQ(parsed.frame.flags, NETVSC_RX_VLAN);

    Bytes bare = rndis_frame(make_frame(60), {{0x80000000, 0}});
    put32(bare, kElementSize, 12);
    put32(bare, kPpiLength, 12);
    EXPECT_FALSE(parse(bare).error);
    /* Where its data would be is nobody's business. */
    put32(bare, kElementOffset, 0xffffffff);
    EXPECT_FALSE(parse(bare).error);
}

TEST(RndisPacketParserTest, FollowsTheOffsetInsideAnElement)
{
    Bytes message = rndis_frame(make_frame(60), {{6, 0}, {0, 0x20}});
    /* One element of 32 bytes whose value is its last word. */
    put32(message, kElementSize, 32);
    put32(message, kElementOffset, 28);
    Parsed parsed = parse(message);
    ASSERT_FALSE(parsed.error);
    EXPECT_EQ(parsed.frame.flags, NETVSC_RX_VLAN);
    EXPECT_EQ(parsed.frame.vlan_tci, 2); /* 0x20 is id 2. */
}

TEST(RndisPacketParserTest, TheLastOfTwoEqualElementsCounts)
{
    Parsed parsed = parse(
        rndis_frame(make_frame(60), {{6, 0x10}, {6, 0x20}, {8, 1}, {8, 2}}));
    ASSERT_FALSE(parsed.error);
    EXPECT_EQ(parsed.frame.vlan_tci, 2);
    EXPECT_EQ(parsed.frame.rss_hash, 2u);
}

TEST(RndisPacketParserTest, RefusesAnElementOfAnImpossibleSize)
{
    for (uint32_t type : {0u, 6u, 8u, 77u, 0x80000001u}) {
        for (uint32_t size : {0u, 1u, 4u, 8u, 11u, 13u, 14u, 15u, 17u, 18u,
                              20u, 0x80000000u, 0xfffffffcu, 0xffffffffu}) {
            Bytes message = rndis_frame(make_frame(60), {{type, 1}});
            put32(message, kElementSize, size);
            EXPECT_EQ(parse(message).error, Malformed::kRndisPpi)
                << type << " " << size;
        }
    }
}

TEST(RndisPacketParserTest, RefusesAShortElementWhoseTailLooksLikeAnother)
{
    /* Eight bytes of unknown type; from there on an element of 12. */
    Bytes message = rndis_frame(make_frame(60), {{100, 77}, {0, 0}});
    put32(message, kElementSize, 8);
    put32(message, kPpiLength, 20);
    EXPECT_EQ(parse(message).error, Malformed::kRndisPpi);
    put32(message, kElementSize, 20);
    EXPECT_FALSE(parse(message).error);
}

TEST(RndisPacketParserTest, RefusesAKnownElementWithoutRoomForItsValue)
{
    for (uint32_t type : {0u, 6u, 8u}) {
        Bytes message = rndis_frame(make_frame(60), {{type, 1}});
        put32(message, kElementSize, 12);
        put32(message, kPpiLength, 12);
        EXPECT_EQ(parse(message).error, Malformed::kRndisPpi);
    }
}

TEST(RndisPacketParserTest, RefusesAValueOutsideItsElement)
{
    for (uint32_t type : {0u, 6u, 8u}) {
        for (uint32_t offset :
             {0u, 4u, 8u, 11u, 13u, 16u, 0x80000000u, 0xfffffffcu, ~0u}) {
            Bytes message = rndis_frame(make_frame(60), {{type, 1}});
            put32(message, kElementOffset, offset);
            EXPECT_EQ(parse(message).error, Malformed::kRndisPpi)
                << type << " " << offset;
        }
    }
}

TEST(RndisPacketParserTest, RefusesABadElementBehindGoodOnes)
{
    Bytes message = rndis_frame(make_frame(60), {{6, 1}, {0, 1}, {8, 1}});
    put32(message, kElementSize + 32, 0);
    EXPECT_EQ(parse(message).error, Malformed::kRndisPpi);
}

TEST(RndisPacketParserTest, RefusesARestThatIsNoElement)
{
    for (uint32_t rest : {1u, 4u, 8u, 11u}) {
        Bytes message = rndis_frame(make_frame(60), {{6, 1}});
        put32(message, kPpiLength, 16 + rest);
        /* Zeros, so that the rest is an element of size 0 at best. */
        std::fill(message.begin() + 60, message.end(), uint8_t{0});
        EXPECT_EQ(parse(message).error, Malformed::kRndisPpi) << rest;
    }
}

TEST(RndisPacketParserTest, RefusesElementsOutsideTheMessage)
{
    for (auto [offset, length] : std::vector<std::pair<uint32_t, uint32_t>>{
             {0, 16},
             {35, 16},
             {0xffffffff, 16},
             {0xfffffff8, 16},
             {36, 0xffffffff},
             {36, 0xffffffdc},
             {36, 77},
             {97, 16},
             {112, 1},
             {113, 16},
             {0x80000000, 0x80000000}}) {
        Bytes message = rndis_frame(make_frame(60), {{6, 1}});
        put32(message, kPpiOffset, offset);
        put32(message, kPpiLength, length);
        EXPECT_EQ(parse(message).error, Malformed::kRndisPpi)
            << offset << " " << length;
    }
}

TEST(RndisPacketParserTest, WithoutElementsTheirOffsetDoesNotMatter)
{
    /* Linux says 36 and DPDK 0 when there are none. */
    for (uint32_t offset : {0u, 36u, 1000000u}) {
        Bytes message = rndis_frame(make_frame(60));
        put32(message, kPpiOffset, offset);
        EXPECT_FALSE(parse(message).error);
    }
}

TEST(RndisPacketParserTest, EveryCorruptionOfOneWordIsRefusedOrHarmless)
{
    Bytes good = rndis_frame(make_frame(60), {{6, 1}, {0, 8}, {8, 1}});
    for (size_t at = 0; at + 4 <= 92; at += 4) {
        for (uint32_t value :
             {0u, 1u, 3u, 7u, 8u, 11u, 12u, 36u, 44u, 100u, 144u, 145u, 152u,
              0x7fffffffu, 0x80000000u, 0xffffffd4u, 0xfffffff8u, ~0u}) {
            Bytes message = good;
            put32(message, at, value);
            Parsed parsed = parse(message);
            if (!parsed.error) {
                ASSERT_GE(parsed.fragment.data, message.data() + 44);
                ASSERT_LE(parsed.fragment.data + parsed.fragment.size,
                          message.data() + message.size());
                ASSERT_GE(parsed.fragment.size, 14u);
            }
        }
    }
}

/* --- Builder --------------------------------------------------------------
 */

netvsc_tx_frame
view(const Bytes &frame)
{
    return {frame.data(), static_cast<uint32_t>(frame.size())};
}

/* What goes to the host, in a buffer of exactly the announced size. */
Bytes
build(const Bytes &frame)
{
    netvsc_tx_frame tx = view(frame);
    bool vlan = has_vlan_tag(tx);
    uint32_t length = rndis_packet_size(tx.size, vlan);
    Bytes message(length, 0xee);
    if (vlan) {
        build_tagged_rndis_packet(tx, length, message.data());
    } else {
        std::memcpy(put_rndis_header(tx.size, length, message.data()), tx.data,
                    tx.size);
    }
    return message;
}

TEST(RndisPacketBuilderTest, PutsAPlainFrameBehindTheHeader)
{
    for (size_t size : {14, 15, 17, 18, 60, 64, 1514, 4000}) {
        Bytes frame = make_frame(size, 9);
        EXPECT_EQ(build(frame), rndis_frame(frame)) << size;
    }
}

TEST(RndisPacketBuilderTest, MovesTheTagToTheElement)
{
    /* Priority 5, id 100: 0x645 (J.3). */
    Bytes frame = make_tagged_frame(66, 0xa064, 4);
    ASSERT_EQ(frame.size(), 70u);
    EXPECT_EQ(build(frame), rndis_frame(make_frame(66, 4), {{6, 0x645}}));
}

TEST(RndisPacketBuilderTest, TranslatesEveryBitOfTheTag)
{
    for (unsigned bit = 0; bit < 16; bit++) {
        auto tci = static_cast<uint16_t>(1u << bit);
        Bytes message = build(make_tagged_frame(60, tci));
        uint32_t wanted = bit >= 13   ? 1u << (bit - 13)
                          : bit == 12 ? 8u
                                      : 16u << bit;
        EXPECT_EQ(get32(message, 56), wanted) << bit;
        Parsed parsed = parse(message);
        ASSERT_FALSE(parsed.error);
        EXPECT_EQ(parsed.frame.vlan_tci, tci);
    }
}

TEST(RndisPacketBuilderTest, MovesOnlyTheOuterOfTwoTags)
{
    Bytes inner = make_tagged_frame(60, 200);
    Bytes frame = inner;
    const uint8_t tag[] = {0x81, 0x00, 0x00, 0x64};
    frame.insert(frame.begin() + 12, tag, tag + 4);
    EXPECT_EQ(build(frame), rndis_frame(inner, {{6, 100 << 4}}));
}

TEST(RndisPacketBuilderTest, LeavesAServiceTagInTheFrame)
{
    /* 802.1ad is not what the element carries. */
    Bytes frame = make_tagged_frame(60, 100);
    frame[12] = 0x88;
    frame[13] = 0xa8;
    EXPECT_EQ(build(frame), rndis_frame(frame));
}

TEST(RndisPacketBuilderTest, AFrameTooShortForATagHasNone)
{
    for (size_t size : {14, 15, 16, 17}) {
        Bytes frame = make_frame(size);
        frame[12] = 0x81;
        frame[13] = 0x00;
        EXPECT_FALSE(has_vlan_tag(view(frame))) << size;
        EXPECT_EQ(build(frame), rndis_frame(frame));
    }
}

TEST(RndisPacketBuilderTest, TheShortestTaggedFrameLeavesAWholeHeader)
{
    Bytes frame = make_tagged_frame(14, 100);
    ASSERT_EQ(frame.size(), 18u);
    EXPECT_TRUE(has_vlan_tag(view(frame)));
    EXPECT_EQ(build(frame), rndis_frame(make_frame(14), {{6, 100 << 4}}));
}

TEST(RndisPacketBuilderTest, ParserFindsWhatTheBuilderPutThere)
{
    for (size_t size = 14; size < 200; size++) {
        Bytes frame = make_frame(size, static_cast<unsigned>(size));
        Bytes message = build(frame);
        Parsed parsed = parse(message);
        ASSERT_FALSE(parsed.error);
        ASSERT_EQ(Bytes(parsed.fragment.data,
                        parsed.fragment.data + parsed.fragment.size),
                  frame);
        ASSERT_EQ(parsed.frame.flags, 0);
    }
}

} // namespace
} // namespace netvsc
