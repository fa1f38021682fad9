/* Frames in both directions: what the host puts into the receive buffer, and
 * what it takes or refuses from a guest (E and G.4). */

#include <gtest/gtest.h>

#include "tests/unit/host_guest.h"

namespace netvsc::host::test {

namespace {

constexpr uint32_t kSuccess = 1;
constexpr uint32_t kFailure = 2;

Buffer
tagged(const Buffer &frame, const std::string &tag)
{
    Buffer bytes = frame;
    Buffer inserted = from_hex(tag);
    bytes.insert(bytes.begin() + 12, inserted.begin(), inserted.end());
    return bytes;
}

/* An IPv4 UDP frame whose checksums are still zero. */
Buffer
udp_frame()
{
    return from_hex("00155d000001 020000000002 0800"
                    "4500 0020 1234 0000 4011 0000 c0000201 c0000202"
                    "03e8 03e9 000c 0000 deadbeef");
}

class HostData : public testing::Test {
protected:
    void
    SetUp() override
    {
        guest.attach();
    }
    Guest guest;
};

/* --- Host to guest ----------------------------------------------------- */

TEST_F(HostData, ArrivesAtPlus256WithItsHeaderInFront)
{
    Buffer frame = plain_frame(66);
    guest.backend.waiting.push_back(frame);
    guest.serve();
    std::vector<Buffer> messages = guest.receive();
    ASSERT_EQ(messages.size(), 1u);
    EXPECT_EQ(to_hex(Bytes(messages[0]).first(44)),
              to_hex(from_hex("0100000042010000f800000042000000"
                              "00000000000000000000000000000000"
                              "000000000000000000000000")));
    EXPECT_EQ(to_hex(Bytes(messages[0]).subspan(256)), to_hex(frame));
    EXPECT_EQ(guest.counters.rx.frames, 1u);
    EXPECT_EQ(guest.counters.rx.bytes, 66u);
}

TEST_F(HostData, LosesItsTagToTheVlanElement)
{
    Buffer frame = plain_frame(66);
    /* Priority 5, id 100. */
    guest.backend.waiting.push_back(tagged(frame, "8100a064"));
    guest.serve();
    std::vector<Buffer> messages = guest.receive();
    ASSERT_EQ(messages.size(), 1u);
    EXPECT_EQ(load<uint32_t>(messages[0], 28), 36u);
    EXPECT_EQ(load<uint32_t>(messages[0], 32), 16u);
    EXPECT_EQ(to_hex(Bytes(messages[0]).subspan(44, 16)),
              to_hex(from_hex("10000000060000000c00000045060000")));
    EXPECT_EQ(to_hex(Bytes(messages[0]).subspan(256)), to_hex(frame));
}

TEST_F(HostData, SaysThatAGoodChecksumIsGood)
{
    Buffer frame = udp_frame();
    /* The IPv4 header's own sum is right, too. */
    frame[24] = std::byte{0xe4};
    frame[25] = std::byte{0x95};
    guest.backend.waiting_are_good = true;
    guest.backend.waiting.push_back(frame);
    guest.serve();
    std::vector<Buffer> messages = guest.receive();
    ASSERT_EQ(messages.size(), 1u);
    EXPECT_EQ(to_hex(Bytes(messages[0]).subspan(44, 16)),
              to_hex(from_hex("10000000000000000c00000030000000")));
}

TEST_F(HostData, SaysNothingAboutAChecksumThatNobodyChecked)
{
    guest.backend.waiting.push_back(udp_frame());
    guest.serve();
    std::vector<Buffer> messages = guest.receive();
    ASSERT_EQ(messages.size(), 1u);
    EXPECT_EQ(load<uint32_t>(messages[0], 32), 0u);
}

TEST_F(HostData, SharesATransferPacketAndItsCompletion)
{
    for (int i = 0; i < 5; i++) {
        guest.backend.waiting.push_back(plain_frame(60));
    }
    unsigned interrupts = guest.front_end.interrupts;
    guest.serve();
    EXPECT_EQ(guest.front_end.interrupts, interrupts + 1);
    std::optional<HostPacket> packet = guest.read();
    ASSERT_TRUE(packet);
    EXPECT_EQ(load<uint32_t>(packet->bytes, 20), 5u);
    EXPECT_EQ(load<uint16_t>(packet->bytes, 2), 3u + 5);
    EXPECT_EQ(load<uint16_t>(packet->bytes, 16), 0xcafeu);
    EXPECT_LT(packet->trans_id,
              guest.session->receive_buffer().ledger()->count());
    EXPECT_FALSE(guest.read());
    EXPECT_EQ(guest.session->receive_buffer().ledger()->outstanding(), 5u);
    guest.complete_transfer(packet->trans_id);
    guest.serve();
    EXPECT_EQ(guest.session->receive_buffer().ledger()->outstanding(), 0u);
}

TEST(HostDataRanges, AreAsManyAsConfigured)
{
    Guest guest("ranges=2");
    guest.attach();
    for (int i = 0; i < 5; i++) {
        guest.backend.waiting.push_back(plain_frame(60));
    }
    guest.serve();
    std::vector<uint32_t> ranges;
    while (std::optional<HostPacket> packet = guest.read()) {
        ranges.push_back(load<uint32_t>(packet->bytes, 20));
    }
    EXPECT_EQ(ranges, (std::vector<uint32_t>{2, 2, 1}));
}

TEST_F(HostData, IsDroppedWhenTheGuestKeepsTheBuffer)
{
    uint32_t count = guest.session->receive_buffer().ledger()->count();
    for (uint32_t i = 0; i < count; i++) {
        guest.backend.waiting.push_back(plain_frame(60));
    }
    guest.serve();
    /* All but those for control messages. */
    EXPECT_EQ(guest.counters.rx.frames, count - 16);
    EXPECT_EQ(guest.counters.rx.dropped_no_suballoc, 16u);
    /* Answers still arrive. */
    EXPECT_EQ(guest.control(rndis_query(7, 0x00010106)).size(), 28u);
}

TEST_F(HostData, WaitsWhileTheGuestDoesNotReadItsRing)
{
    constexpr uint64_t kNow = 1'000'000'000;
    Guest guest("ranges=1", 8192);
    guest.front_end.receive.resize(1u << 20);
    guest.attach();
    guest.now_ns = kNow;
    auto flood = [&] {
        for (int i = 0; i < 100; i++) {
            guest.backend.waiting.push_back(plain_frame(60));
        }
    };
    flood();
    guest.serve();
    EXPECT_FALSE(guest.backend.waiting.empty());
    EXPECT_FALSE(guest.session->wants_frames(kNow));
    EXPECT_TRUE(guest.session->prepare_sleep());
    EXPECT_NE(guest.to_guest_word(12), 0u);
    EXPECT_EQ(guest.session->next_due_ns(kNow), kNow + 100'000'000);

    /* It reads: all of them come. */
    size_t got = 0;
    while (!guest.backend.waiting.empty()) {
        got += guest.receive().size();
    }
    got += guest.receive().size();
    EXPECT_EQ(got, 100u);

    /* It does not for 100 ms: they are dropped and counted. */
    flood();
    guest.serve();
    size_t left = guest.backend.waiting.size();
    ASSERT_GT(left, 0u);
    guest.now_ns += 100'000'000;
    guest.serve();
    EXPECT_EQ(guest.counters.rx.dropped_ring_full, left);
}

TEST_F(HostData, StopsWithFilterZeroAndWithTheRevoke)
{
    guest.control(rndis_set(5, 0x0001010e, Message().u32(0)));
    guest.backend.waiting.push_back(plain_frame(60));
    guest.serve();
    EXPECT_FALSE(guest.read());
    EXPECT_EQ(guest.counters.rx.dropped_filter, 1u);

    guest.control(rndis_set(6, 0x0001010e, Message().u32(0x20)));
    guest.inband(0, Message().u32(103).u16(0xcafe).zeros(34), false);
    guest.backend.waiting.push_back(plain_frame(60));
    guest.serve();
    EXPECT_FALSE(guest.read());
    EXPECT_EQ(guest.counters.rx.dropped_no_session, 1u);
}

TEST_F(HostData, IsDroppedWhenLongerThanTheMtu)
{
    guest.backend.waiting.push_back(plain_frame(1514));
    guest.backend.waiting.push_back(plain_frame(1515));
    guest.backend.waiting.push_back(tagged(plain_frame(1514), "81000001"));
    guest.backend.waiting.push_back(tagged(plain_frame(1515), "81000001"));
    guest.serve();
    EXPECT_EQ(guest.receive().size(), 2u);
    EXPECT_EQ(guest.counters.rx.dropped_oversize, 2u);
}

TEST(HostDataFilter, LetsThroughWhatItsBitsSay)
{
    constexpr char kOwn[] = "00155d000001";
    constexpr char kOther[] = "00155d000009";
    constexpr char kGroup[] = "01005e000001";
    constexpr char kAll[] = "ffffffffffff";
    struct {
        uint32_t filter;
        std::vector<const char *> wanted;
    } rows[] = {{0x20, {kOwn, kOther, kGroup, kAll}},
                {0x01, {kOwn}},
                {0x04, {kGroup}},
                {0x08, {kAll}},
                {0x0d, {kOwn, kGroup, kAll}}};
    for (const auto &row : rows) {
        Guest guest;
        guest.attach(row.filter);
        for (const char *to : {kOwn, kOther, kGroup, kAll}) {
            Buffer frame = plain_frame(60);
            Buffer address = from_hex(to);
            std::copy(address.begin(), address.end(), frame.begin());
            guest.backend.waiting.push_back(frame);
        }
        guest.serve();
        std::vector<std::string> got;
        for (const Buffer &message : guest.receive()) {
            got.push_back(to_hex(Bytes(message).subspan(256, 6)));
        }
        std::vector<std::string> wanted;
        for (const char *to : row.wanted) {
            wanted.push_back(to_hex(from_hex(to)));
        }
        EXPECT_EQ(got, wanted) << "filter " << row.filter;
        EXPECT_EQ(guest.counters.rx.dropped_filter, 4 - wanted.size());
    }
}

/* --- Guest to host: what is taken -------------------------------------- */

TEST_F(HostData, LeavesAsItLiesInItsSection)
{
    Buffer frame = plain_frame(60);
    EXPECT_EQ(guest.data(rndis_packet(frame), 3), kSuccess);
    ASSERT_EQ(guest.backend.sent.size(), 1u);
    EXPECT_EQ(to_hex(guest.backend.sent[0]), to_hex(frame));
}

TEST_F(HostData, LeavesInOrderFromOneMessage)
{
    Message message;
    for (uint8_t i = 0; i < 8; i++) {
        /* 44 + 61 + 7 is a multiple of 8. */
        message.bytes(rndis_packet(plain_frame(61, i), {}, 7));
    }
    EXPECT_EQ(guest.data(message), kSuccess);
    ASSERT_EQ(guest.backend.sent.size(), 8u);
    for (uint8_t i = 0; i < 8; i++) {
        EXPECT_EQ(guest.backend.sent[i].back(), std::byte{i});
    }
    EXPECT_EQ(guest.counters.tx.frames, 8u);
    EXPECT_EQ(guest.counters.tx.messages, guest.counters.tx.completed);
}

TEST_F(HostData, GetsItsTagBack)
{
    /* The message of vector J.2: priority 5, id 100, TCP over IPv4 at 34. */
    Buffer frame = from_hex("00155d000002 00155d000001 0800"
                            "45000034000040004006 0000 0a000001 0a000002"
                            "04d2 0050 00000001 00000002 8010 0200 0000 0000"
                            "0101080a 00000001 00000002");
    ASSERT_EQ(frame.size(), 66u);
    Buffer head = from_hex("010000008e0000004400000042000000"
                           "00000000000000000000000024000000"
                           "20000000000000000000000010000000"
                           "060000000c0000004506000010000000"
                           "000000000c00000005002200");
    Message message = Message().bytes(head).bytes(frame);
    EXPECT_EQ(guest.data(message), kSuccess);
    ASSERT_EQ(guest.backend.sent.size(), 1u);
    const Buffer &sent = guest.backend.sent[0];
    EXPECT_EQ(sent.size(), 70u);
    EXPECT_EQ(to_hex(Bytes(sent).subspan(12, 6)),
              to_hex(from_hex("8100a0640800")));
    EXPECT_TRUE(guest.backend.sent_good[0]);
    /* The checksum that the guest asked for (computed by hand elsewhere: the
     * sum over pseudo header and segment is all ones). */
    uint32_t sum = 6 + 32;
    for (size_t i = 18 + 12; i < sent.size(); i += 2) {
        sum += std::to_integer<uint32_t>(sent[i]) << 8 |
               std::to_integer<uint32_t>(sent[i + 1]);
    }
    EXPECT_EQ((sum & 0xffff) + (sum >> 16), 0xffffu);
}

TEST_F(HostData, LeavesFromGuestMemory)
{
    Buffer frame = plain_frame(1200);
    Buffer message = rndis_packet(frame).buffer();
    /* Two pages that do not follow each other, then a range of its own. */
    Buffer &memory = guest.front_end.gpa.bytes;
    std::memcpy(memory.data() + 3 * 4096 + 4000, message.data(), 96);
    std::memcpy(memory.data() + 7 * 4096, message.data() + 96, 904);
    std::memcpy(memory.data() + 5 * 4096 + 8, message.data() + 1000, 244);
    Message ranges = Message().u32(0).u32(2);
    ranges.u32(1000).u32(4000).u64(3).u64(7);
    ranges.u32(244).u32(8).u64(5);
    guest.write(9, 42, 1, ranges,
                Message().u32(107).u32(0).u32(0xffffffff).u32(0).zeros(24));
    guest.serve();
    ASSERT_EQ(guest.backend.sent.size(), 1u);
    EXPECT_EQ(to_hex(guest.backend.sent[0]), to_hex(frame));
}

TEST_F(HostData, LeavesFromRangesOfSeveralPages)
{
    /* Eight frames in one message: pages 3, 9 and 5 from byte 4,090 on, of
     * which the last is filled to its end; then pages 12 and 13. */
    Message message;
    std::vector<Buffer> frames;
    for (uint8_t i = 0; i < 8; i++) {
        frames.push_back(plain_frame(1508, i));
        message.bytes(rndis_packet(frames.back()));
    }
    Bytes left = message;
    constexpr struct {
        uint32_t page, offset, size;
    } kPieces[] = {{3, 4090, 6},
                   {9, 0, 4096},
                   {5, 0, 4096},
                   {12, 100, 3996},
                   {13, 0, 222}};
    for (const auto &piece : kPieces) {
        std::memcpy(guest.front_end.gpa.bytes.data() + piece.page * 4096 +
                        piece.offset,
                    left.data(), piece.size);
        left = left.subspan(piece.size);
    }
    ASSERT_TRUE(left.empty());
    Message ranges = Message().u32(0).u32(2);
    ranges.u32(8198).u32(4090).u64(3).u64(9).u64(5);
    ranges.u32(4218).u32(100).u64(12).u64(13);
    guest.write(9, 42, 1, ranges,
                Message().u32(107).u32(0).u32(0xffffffff).u32(0).zeros(24));
    guest.serve();
    ASSERT_EQ(guest.backend.sent.size(), frames.size());
    for (size_t i = 0; i < frames.size(); i++) {
        EXPECT_EQ(to_hex(guest.backend.sent[i]), to_hex(frames[i])) << i;
    }
}

TEST_F(HostData, LeavesFromSectionAndMemoryTogether)
{
    Buffer first = plain_frame(60, 1);
    Buffer second = plain_frame(500, 2);
    Message message = rndis_packet(first).bytes(rndis_packet(second));
    /* The frame of the last message is in guest memory. */
    constexpr size_t kInSection = 104 + 44;
    std::memcpy(guest.front_end.send.data(), message.buffer().data(),
                kInSection);
    std::memcpy(guest.front_end.gpa.bytes.data() + 4096,
                message.buffer().data() + kInSection, 500);
    guest.write(9, 42, 1, Message().u32(0).u32(1).u32(500).u32(0).u64(1),
                Message().u32(107).u32(0).u32(0).u32(kInSection).zeros(24));
    guest.serve();
    ASSERT_EQ(guest.backend.sent.size(), 2u);
    EXPECT_EQ(to_hex(guest.backend.sent[1]), to_hex(second));
}

TEST_F(HostData, IsRefusedInABufferThatWasRevoked)
{
    guest.inband(0, Message().u32(106).u16(0).zeros(34), false);
    EXPECT_EQ(guest.data(rndis_packet(plain_frame(60))), kFailure);
    EXPECT_EQ(guest.data({}, 0), kFailure);
    EXPECT_TRUE(guest.backend.sent.empty());
}

TEST_F(HostData, IsCountedWhenTheWireDoesNotTakeIt)
{
    guest.backend.refuses = true;
    EXPECT_EQ(guest.data(rndis_packet(plain_frame(60))), kSuccess);
    EXPECT_EQ(guest.counters.tx.frames, 1u);
    EXPECT_EQ(guest.counters.tx.dropped_backend, 1u);
}

/* --- Guest to host: what is refused ------------------------------------ */

struct BadMessage {
    const char *name;
    Buffer bytes;
};

Buffer
patched(Message message, size_t at, uint32_t value)
{
    Buffer bytes = message.buffer();
    store(MutableBytes(bytes), at, value);
    return bytes;
}

Message
good()
{
    return rndis_packet(plain_frame(60));
}

Message
with_info(uint32_t type = 6, uint32_t value = 0)
{
    return rndis_packet(plain_frame(60), info_element(type, value));
}

class Malformed : public testing::TestWithParam<BadMessage> {};

TEST_P(Malformed, CostsTheMessageAndNothingElse)
{
    Guest guest;
    guest.attach();
    EXPECT_EQ(guest.data(GetParam().bytes), kFailure);
    EXPECT_TRUE(guest.backend.sent.empty());
    EXPECT_EQ(guest.counters.tx.malformed, 1u);
    EXPECT_FALSE(guest.session->failed());
    EXPECT_EQ(guest.data(good()), kSuccess);
    EXPECT_EQ(guest.backend.sent.size(), 1u);
}

INSTANTIATE_TEST_SUITE_P(
    HostData, Malformed,
    testing::Values(
        BadMessage{"Empty", {}},
        BadMessage{"ShorterThanItsHeader", Buffer(40)},
        BadMessage{"LengthZero", patched(good(), 4, 0)},
        BadMessage{"LengthBelowTheHeader", patched(good(), 4, 40)},
        BadMessage{"LengthBeyondTheMessage", patched(good(), 4, 105)},
        BadMessage{"LengthAlmostInfinite", patched(good(), 4, 0xfffffff8)},
        BadMessage{"NotAPacket", patched(good(), 0, 4)},
        BadMessage{"DataBeforeTheHeaderEnds", patched(good(), 8, 32)},
        BadMessage{"DataBeyondTheMessage", patched(good(), 8, 100)},
        BadMessage{"DataOffsetOverflows", patched(good(), 8, 0xffffffff)},
        BadMessage{"DataLengthZero", patched(good(), 12, 0)},
        BadMessage{"DataShorterThanEthernet", patched(good(), 12, 13)},
        BadMessage{"DataLengthBeyondTheMessage", patched(good(), 12, 61)},
        BadMessage{"DataLengthOverflows", patched(good(), 12, 0xffffffff)},
        BadMessage{"OutOfBandOffset", patched(good(), 16, 1)},
        BadMessage{"OutOfBandLength", patched(good(), 20, 1)},
        BadMessage{"OutOfBandElements", patched(good(), 24, 1)},
        BadMessage{"VirtualCircuit", patched(good(), 36, 1)},
        BadMessage{"InfoInsideTheHeader", patched(with_info(), 28, 35)},
        BadMessage{"InfoBeyondTheMessage", patched(with_info(), 28, 112)},
        BadMessage{"InfoOffsetOverflows",
                   patched(with_info(), 28, 0xfffffff8)},
        BadMessage{"InfoLengthBeyondTheMessage", patched(with_info(), 32, 77)},
        BadMessage{"InfoLengthShorterThanAnElement",
                   patched(with_info(), 32, 8)},
        BadMessage{"ElementSizeZero", patched(with_info(), 44, 0)},
        BadMessage{"ElementSizeBelowItsHeader", patched(with_info(), 44, 8)},
        BadMessage{"ElementSizeBeyondTheInfo", patched(with_info(), 44, 20)},
        BadMessage{"ElementSizeNotAMultipleOf4", patched(with_info(), 44, 15)},
        BadMessage{"ElementOffsetInsideItsHeader",
                   patched(with_info(), 52, 8)},
        BadMessage{"ElementOffsetBeyondItsEnd", patched(with_info(), 52, 20)},
        BadMessage{"ElementWithoutItsValue", patched(with_info(), 52, 16)},
        BadMessage{"LargeSendThatNobodyAnnounced", with_info(2, 1).buffer()},
        BadMessage{"ChecksumOffsetBeyondTheFrame",
                   with_info(0, 60u << 16 | 5).buffer()},
        BadMessage{"FrameLongerThanTheMtu",
                   rndis_packet(plain_frame(1519)).buffer()},
        BadMessage{"MorePacketsThanAllowed",
                   [] {
                       Message message;
                       for (int i = 0; i < 9; i++) {
                           message.bytes(good());
                       }
                       return message.buffer();
                   }()},
        BadMessage{"NextPacketNotAligned",
                   rndis_packet(plain_frame(61)).bytes(good()).buffer()},
        BadMessage{"SecondPacketMalformed",
                   good().bytes(patched(good(), 12, 0)).buffer()},
        BadMessage{"RestTooShortForAPacket", good().zeros(40).buffer()}),
    [](const auto &info) { return std::string(info.param.name); });

struct BadPlace {
    const char *name;
    uint16_t type;
    Buffer ranges;
    uint32_t section;
    uint32_t size;
};

class Misplaced : public testing::TestWithParam<BadPlace> {};

TEST_P(Misplaced, CostsTheMessageAndNothingElse)
{
    Guest guest;
    guest.attach();
    Buffer message = good().buffer();
    std::memcpy(guest.front_end.gpa.bytes.data(), message.data(),
                message.size());
    const BadPlace &bad = GetParam();
    guest.write(
        bad.type, 42, 1, bad.ranges,
        Message().u32(107).u32(0).u32(bad.section).u32(bad.size).zeros(24));
    guest.serve();
    std::optional<HostPacket> reply = guest.read();
    ASSERT_TRUE(reply);
    EXPECT_EQ(load<uint32_t>(reply->payload, 4), kFailure);
    EXPECT_TRUE(guest.backend.sent.empty());
    EXPECT_FALSE(guest.session->failed());
}

constexpr uint32_t kNone = 0xffffffff;

INSTANTIATE_TEST_SUITE_P(
    HostData, Misplaced,
    testing::Values(
        BadPlace{"SectionBeyondTheBuffer", 6, {}, 8, 104},
        BadPlace{"SectionNumberOverflows", 6, {}, 0xfffffffe, 104},
        BadPlace{"SizeBeyondTheBuffer", 6, {}, 7, 6145},
        BadPlace{"NeitherSectionNorRanges", 6, {}, kNone, 104},
        BadPlace{"NoRangeList", 9, {}, kNone, 0},
        BadPlace{"RangeCountZero", 9, Message().u32(0).u32(0).buffer(), kNone,
                 0},
        BadPlace{"RangeCountBeyondTheList", 9,
                 Message().u32(0).u32(2).u32(104).u32(0).u64(0).buffer(),
                 kNone, 0},
        BadPlace{"RangeCountAlmostInfinite", 9,
                 Message().u32(0).u32(kNone).u32(0).u32(0).buffer(), kNone, 0},
        BadPlace{"PagesMissing", 9,
                 Message().u32(0).u32(1).u32(4097).u32(0).u64(0).buffer(),
                 kNone, 0},
        BadPlace{"PageMissingBecauseOfTheOffset", 9,
                 Message().u32(0).u32(1).u32(104).u32(4000).u64(0).buffer(),
                 kNone, 0},
        BadPlace{"OffsetBeyondThePage", 9,
                 Message().u32(0).u32(1).u32(104).u32(4096).u64(0).buffer(),
                 kNone, 0},
        BadPlace{"PageThatDoesNotExist", 9,
                 Message().u32(0).u32(1).u32(104).u32(0).u64(16).buffer(),
                 kNone, 0},
        BadPlace{
            "PageNumberOverflows", 9,
            Message().u32(0).u32(1).u32(104).u32(0).u64(1ull << 52).buffer(),
            kNone, 0},
        BadPlace{"ByteCountAlmostInfinite", 9,
                 Message().u32(0).u32(1).u32(kNone).u32(0).u64(0).buffer(),
                 kNone, 0}),
    [](const auto &info) { return std::string(info.param.name); });

} // namespace

} // namespace netvsc::host::test
