/* The host's ends of a ring (A, vectors J.5). */

#include <gtest/gtest.h>

#include "host/netvsp/ring.h"
#include "tests/unit/host_guest.h"

namespace netvsc::host::test {

namespace {

constexpr size_t kPage = 4096;

/* A ring and literal access to its words. */
struct Ring {
    explicit Ring(size_t data) : memory(kPage + data)
    {
        RingMemory(memory).format();
    }
    uint32_t &
    word(size_t at)
    {
        return *reinterpret_cast<uint32_t *>(memory.data() + at);
    }
    uint32_t &
    write_index()
    {
        return word(0);
    }
    uint32_t &
    read_index()
    {
        return word(4);
    }
    uint32_t &
    mask()
    {
        return word(8);
    }
    uint32_t &
    pending()
    {
        return word(12);
    }
    void
    put(uint32_t at, Bytes bytes)
    {
        size_t size = memory.size() - kPage;
        for (size_t i = 0; i < bytes.size(); i++) {
            memory[kPage + (at + i) % size] = bytes[i];
        }
    }

    Buffer memory;
};

/* A packet of `length` bytes and its trailer. */
Buffer
packet(uint16_t length, uint64_t id = 7, uint16_t type = 6,
       uint16_t offset = 16, uint16_t flags = 0)
{
    return Message()
        .u16(type)
        .u16(static_cast<uint16_t>(offset / 8))
        .u16(static_cast<uint16_t>(length / 8))
        .u16(flags)
        .u64(id)
        .zeros(length < 16 ? 0 : length - 16u)
        .zeros(8)
        .buffer();
}

TEST(HostRing, CountsTheTableOfTheReference)
{
    Ring ring(520192);
    RingMemory memory(ring.memory);
    struct {
        uint32_t write, read, to_read, free;
    } rows[] = {{0, 0, 0, 520192},
                {64, 0, 64, 520128},
                {0, 80, 520112, 80},
                {0, 72, 520120, 72},
                {520184, 520160, 24, 520168}};
    for (const auto &row : rows) {
        EXPECT_EQ(memory.bytes_to_read(row.write, row.read), row.to_read);
        EXPECT_EQ(memory.bytes_free(row.write, row.read), row.free);
    }
}

TEST(HostRing, HasRoomOnlyWhenTheRingCannotLookEmptyAfterwards)
{
    Ring ring(520192);
    ring.read_index() = 80;
    OutgoingRing fits(ring.memory);
    EXPECT_TRUE(fits.has_room(72));
    ring.read_index() = 72;
    OutgoingRing full(ring.memory);
    EXPECT_FALSE(full.has_room(72));
}

TEST(HostRing, SplitsADescriptorAtTheEndOfTheData)
{
    Ring ring(520192);
    ring.write_index() = 520184;
    ring.read_index() = 520160;
    OutgoingRing out(ring.memory);
    Buffer bytes = packet(64);
    ASSERT_TRUE(out.has_room(72));
    out.write(Bytes(bytes).first(64));
    (void) out.publish();
    EXPECT_EQ(ring.write_index(), 64u);
    EXPECT_EQ(load<uint64_t>(ring.memory, kPage + 520184),
              load<uint64_t>(bytes));
    EXPECT_EQ(load<uint64_t>(ring.memory, kPage), load<uint64_t>(bytes, 8));
    /* The trailer: zero, then where the packet began. */
    EXPECT_EQ(load<uint64_t>(ring.memory, kPage + 56), 520184ull << 32);
}

TEST(HostRing, ReadsAPacketThatWraps)
{
    Ring ring(256);
    ring.read_index() = ring.write_index() = 248;
    IncomingRing in(ring.memory);
    Buffer bytes = packet(32, 99);
    bytes[16] = std::byte{0xab};
    ring.put(248, bytes);
    ring.write_index() = (248 + 40) % 256;

    RingPacket got;
    ASSERT_EQ(in.read(got), IncomingRing::Result::kPacket);
    EXPECT_EQ(got.desc.trans_id, 99u);
    EXPECT_EQ(got.position, 248u);
    ASSERT_EQ(got.payload.size(), 16u);
    EXPECT_EQ(got.payload[0], std::byte{0xab});
    EXPECT_EQ(got.with_trailer.size(), 40u);
    EXPECT_EQ(in.read(got), IncomingRing::Result::kEmpty);
}

TEST(HostRing, PublishesTheReadIndexOncePerBatch)
{
    Ring ring(4096);
    IncomingRing in(ring.memory);
    ring.put(0, packet(24));
    ring.put(32, packet(24));
    ring.write_index() = 64;
    RingPacket got;
    ASSERT_EQ(in.read(got), IncomingRing::Result::kPacket);
    ASSERT_EQ(in.read(got), IncomingRing::Result::kPacket);
    EXPECT_EQ(ring.read_index(), 0u);
    EXPECT_FALSE(in.publish());
    EXPECT_EQ(ring.read_index(), 64u);
}

TEST(HostRing, TrustsItsOwnReadIndexOnly)
{
    Ring ring(4096);
    IncomingRing in(ring.memory);
    ring.put(0, packet(24, 5));
    ring.write_index() = 32;
    ring.read_index() = 3333;
    RingPacket got;
    ASSERT_EQ(in.read(got), IncomingRing::Result::kPacket);
    EXPECT_EQ(got.desc.trans_id, 5u);
}

struct BadPacket {
    const char *name;
    Buffer bytes;
    uint32_t write_index;
};

class BrokenRing : public testing::TestWithParam<BadPacket> {};

TEST_P(BrokenRing, IsFinal)
{
    Ring ring(4096);
    IncomingRing in(ring.memory);
    ring.put(0, GetParam().bytes);
    ring.write_index() = GetParam().write_index;
    RingPacket got;
    EXPECT_EQ(in.read(got), IncomingRing::Result::kBroken);
    EXPECT_NE(in.fault(), nullptr);
    /* What the guest repairs afterwards does not count. */
    ring.put(0, packet(24));
    ring.write_index() = 32;
    EXPECT_EQ(in.read(got), IncomingRing::Result::kBroken);
}

INSTANTIATE_TEST_SUITE_P(
    HostRing, BrokenRing,
    testing::Values(
        BadPacket{"WriteIndexBeyondTheData", packet(24), 4096},
        BadPacket{"WriteIndexNotAMultipleOf8", packet(24), 33},
        BadPacket{"LessThanADescriptor", packet(24), 16},
        BadPacket{"PacketLongerThanTheContents", packet(48), 32},
        BadPacket{"OffsetInsideTheDescriptor", packet(24, 1, 6, 8), 32},
        BadPacket{"OffsetBeyondThePacket", packet(24, 1, 6, 32), 32},
        BadPacket{"LengthZero", packet(0), 32},
        BadPacket{"UnknownFlag", packet(24, 1, 6, 16, 2), 32}),
    [](const auto &info) { return std::string(info.param.name); });

TEST(HostRing, NoticesAReadIndexThatNoGuestWrites)
{
    Ring ring(256);
    OutgoingRing out(ring.memory);
    Buffer bytes = packet(200);
    ASSERT_TRUE(out.has_room(208));
    out.write(Bytes(bytes).first(200));
    ring.read_index() = 12;
    EXPECT_FALSE(out.has_room(100));
    EXPECT_TRUE(out.broken());
}

/* --- Signals ----------------------------------------------------------- */

TEST(HostRing, SignalsOnlyFromEmptyToNonEmpty)
{
    Ring ring(4096);
    OutgoingRing out(ring.memory);
    Buffer bytes = packet(24);
    out.write(Bytes(bytes).first(24));
    out.write(Bytes(bytes).first(24));
    EXPECT_TRUE(out.publish());
    out.write(Bytes(bytes).first(24));
    EXPECT_FALSE(out.publish());
    /* Nothing new: no signal either. */
    ring.read_index() = ring.write_index();
    EXPECT_FALSE(out.publish());
    out.write(Bytes(bytes).first(24));
    EXPECT_TRUE(out.publish());
}

TEST(HostRing, DoesNotSignalWhileMasked)
{
    Ring ring(4096);
    OutgoingRing out(ring.memory);
    ring.mask() = 1;
    Buffer bytes = packet(24);
    out.write(Bytes(bytes).first(24));
    EXPECT_FALSE(out.publish());
}

TEST(HostRing, SignalsWhenSpaceCrossesWhatTheGuestWaitsFor)
{
    Ring ring(256);
    IncomingRing in(ring.memory);
    /* 200 bytes and the trailer: 48 are free. */
    ring.put(0, packet(200));
    ring.write_index() = 208;
    ring.pending() = 100;
    RingPacket got;
    ASSERT_EQ(in.read(got), IncomingRing::Result::kPacket);
    EXPECT_TRUE(in.publish());
    /* The next packet frees space that was enough before. */
    ring.put(208, packet(24));
    ring.write_index() = 240;
    ASSERT_EQ(in.read(got), IncomingRing::Result::kPacket);
    EXPECT_FALSE(in.publish());
}

TEST(HostRing, IgnoresPendingSizeWithoutTheFeatureBit)
{
    Ring ring(256);
    ring.word(64) = 0;
    IncomingRing in(ring.memory);
    ring.put(0, packet(200));
    ring.write_index() = 208;
    ring.pending() = 100;
    RingPacket got;
    ASSERT_EQ(in.read(got), IncomingRing::Result::kPacket);
    EXPECT_FALSE(in.publish());
}

TEST(HostRing, TellsAfterUnmaskingWhatCameMeanwhile)
{
    Ring ring(256);
    IncomingRing in(ring.memory);
    in.mask();
    EXPECT_EQ(ring.mask(), 1u);
    ring.put(0, packet(24));
    ring.write_index() = 32;
    EXPECT_TRUE(in.unmask());
    EXPECT_EQ(ring.mask(), 0u);
    RingPacket got;
    ASSERT_EQ(in.read(got), IncomingRing::Result::kPacket);
    EXPECT_FALSE(in.unmask());
}

TEST(HostRing, AsksForRoomAndTakesItBack)
{
    Ring ring(256);
    OutgoingRing out(ring.memory);
    Buffer bytes = packet(200);
    out.write(Bytes(bytes).first(200));
    EXPECT_TRUE(out.publish());
    ASSERT_FALSE(out.has_room(64));
    EXPECT_TRUE(out.wait_for_room(64));
    EXPECT_EQ(ring.pending(), 64u);
    ring.read_index() = 208;
    EXPECT_TRUE(out.has_room(64));
    EXPECT_EQ(ring.pending(), 0u);
}

TEST(HostRing, DoesNotWaitForRoomThatCameMeanwhile)
{
    Ring ring(256);
    OutgoingRing out(ring.memory);
    Buffer bytes = packet(200);
    out.write(Bytes(bytes).first(200));
    (void) out.publish();
    ASSERT_FALSE(out.has_room(64));
    ring.read_index() = 208;
    EXPECT_FALSE(out.wait_for_room(64));
    EXPECT_EQ(ring.pending(), 0u);
}

} // namespace

} // namespace netvsc::host::test
