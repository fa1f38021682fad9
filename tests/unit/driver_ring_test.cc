/* Ring buffers: reader and writer alone, against memory made by hand
 * (A). */

#include <memory>
#include <numeric>
#include <tuple>

#include <gtest/gtest.h>

#include "driver/ring.h"
#include "tests/unit/far_ring.h"

namespace netvsc {
namespace {

using namespace test;
using Next = RingReader::Next;

/* A ring of `data` bytes and its far end. */
class Memory {
public:
    explicit Memory(uint32_t data)
        : words_(std::make_unique<uint64_t[]>((4096 + data) / 8)),
          ring_(reinterpret_cast<uint8_t *>(words_.get()), 4096 + data),
          far(ring_)
    {
    }

    std::span<uint8_t>
    span()
    {
        return ring_;
    }

private:
    std::unique_ptr<uint64_t[]> words_;
    std::span<uint8_t> ring_;

public:
    FarRing far;
};

/* Small enough to try every place, with room for several packets. */
constexpr uint32_t kSmall = 256;

/* The words of a completion packet with `n` words in all. */
std::vector<uint64_t>
packet_words(uint32_t n, uint64_t id)
{
    Bytes bytes(n * 8);
    for (size_t i = 16; i < bytes.size(); i++) {
        bytes[i] = static_cast<uint8_t>(i * 3 + id);
    }
    put16(bytes, 0, 11);
    put16(bytes, 2, 2);
    put16(bytes, 4, static_cast<uint16_t>(n));
    put64(bytes, 8, id);
    std::vector<uint64_t> words(n);
    std::memcpy(words.data(), bytes.data(), bytes.size());
    return words;
}

void
put_packet(RingWriter *writer, const std::vector<uint64_t> &words)
{
    writer->put(words);
}

Bytes
packet_bytes(uint32_t n, uint64_t id)
{
    auto words = packet_words(n, id);
    Bytes bytes(n * 8);
    std::memcpy(bytes.data(), words.data(), bytes.size());
    return bytes;
}

/* --- Wrap (A.7) ---------------------------------------------------------- */

TEST(RingWriterTest, PacketsWrapAtEveryPlaceAndKeepTheirBytesAndTrailer)
{
    for (uint32_t start = 0; start < kSmall; start += 8) {
        for (uint32_t words = 2; words <= 30; words++) {
            Memory memory(kSmall);
            memory.far.start_at(start);
            RingWriter writer(memory.span());
            ASSERT_TRUE(writer.fits(words * 8 + 8, 0));
            put_packet(&writer, packet_words(words, start));
            (void) writer.publish();

            uint32_t index = memory.far.get(kWriteIndex);
            ASSERT_LT(index, kSmall);
            ASSERT_EQ(index, (start + words * 8 + 8) % kSmall);
            auto packet = memory.far.read();
            ASSERT_TRUE(packet) << "trailer at " << start;
            ASSERT_EQ(*packet, packet_bytes(words, start));
        }
    }
}

template <size_t Words>
void
put_array_everywhere()
{
    auto words = packet_words(Words, 5);
    std::array<uint64_t, Words> packet;
    std::copy(words.begin(), words.end(), packet.begin());
    for (uint32_t start = 0; start < kSmall; start += 8) {
        Memory memory(kSmall);
        memory.far.start_at(start);
        RingWriter writer(memory.span());
        auto batch = writer.begin(0);
        ASSERT_TRUE(batch.put(packet));
        ASSERT_TRUE(batch.put(packet));
        batch.end();
        (void) writer.publish();
        ASSERT_EQ(memory.far.get(kWriteIndex),
                  (start + 2 * (sizeof packet + 8)) % kSmall);
        ASSERT_EQ(memory.far.read(), packet_bytes(Words, 5)) << start;
        ASSERT_EQ(memory.far.read(), packet_bytes(Words, 5)) << start;
        ASSERT_TRUE(writer.fits(kSmall - 8, 0));
        ASSERT_FALSE(writer.fits(kSmall, 0));
    }
}

TEST(RingWriterTest, PacketsOfAKnownLengthWrapAtEveryPlace)
{
    put_array_everywhere<3>();
    put_array_everywhere<7>();
}

TEST(RingWriterTest, AsManyPacketsAreGrantedAsFit)
{
    Memory memory(kSmall);
    RingWriter writer(memory.span());
    auto granted = [&](uint32_t keep_free) {
        auto batch = writer.begin(keep_free);
        unsigned n = 0;
        while (batch.put(std::array<uint64_t, 3>{descriptor_word(11, 3, 0)})) {
            n++;
        }
        batch.end();
        (void) writer.publish();
        EXPECT_EQ(memory.far.read_all().size(), n);
        return n;
    };
    /* 256 bytes, of which one word must stay free. */
    EXPECT_EQ(granted(0), 7u);
    EXPECT_EQ(granted(31), 7u);
    EXPECT_EQ(granted(32), 6u);
    EXPECT_EQ(granted(128), 3u);
    EXPECT_EQ(granted(224), 0u);
    EXPECT_EQ(granted(300), 0u);
}

TEST(RingWriterTest, PacketsOfDifferentSizesKeepTheirOrderAtEveryPlace)
{
    for (uint32_t start = 0; start < kSmall; start += 8) {
        Memory memory(kSmall);
        memory.far.start_at(start);
        RingWriter writer(memory.span());
        auto batch = writer.begin(0);
        auto put = [&]<size_t Words>(std::array<uint64_t, Words> packet,
                                     uint64_t id) {
            auto words = packet_words(Words, id);
            std::copy(words.begin(), words.end(), packet.begin());
            return batch.put(packet);
        };
        /* 32, 64, 104 and 32 bytes with their trailers. */
        EXPECT_TRUE(put(std::array<uint64_t, 3>{}, 1));
        EXPECT_TRUE(put(std::array<uint64_t, 7>{}, 2));
        EXPECT_TRUE(put(std::array<uint64_t, 12>{}, 3));
        EXPECT_TRUE(put(std::array<uint64_t, 3>{}, 4));
        EXPECT_FALSE(put(std::array<uint64_t, 3>{}, 5));
        batch.end();
        /* Nothing is seen before the publication, all of it after. */
        EXPECT_EQ(memory.far.used(), 0u);
        EXPECT_TRUE(writer.publish());
        EXPECT_EQ(memory.far.read(), packet_bytes(3, 1)) << start;
        EXPECT_EQ(memory.far.read(), packet_bytes(7, 2)) << start;
        EXPECT_EQ(memory.far.read(), packet_bytes(12, 3)) << start;
        EXPECT_EQ(memory.far.read(), packet_bytes(3, 4)) << start;
    }
}

/* --- Runs ---------------------------------------------------------------- */

TEST(RingReaderTest, ARunEndsWhereTheRingOrThePacketsDo)
{
    for (uint32_t start = 0; start < kSmall; start += 8) {
        Memory memory(kSmall);
        memory.far.start_at(start);
        RingReader reader(memory.span());
        EXPECT_EQ(reader.run().words(), 0u);
        memory.far.write(packet_bytes(3, 1));
        memory.far.write(packet_bytes(4, 2));
        uint32_t to_end = (kSmall - start) / 8;
        auto run = reader.run();
        ASSERT_EQ(run.words(), std::min(to_end, 9u));
        for (uint32_t i = 0; i < std::min(run.words(), 3u); i++) {
            ASSERT_EQ(run[i], packet_words(3, 1)[i]);
        }
        /* Nothing is consumed that was not gone past. */
        reader.consume(run);
        ASSERT_EQ(reader.run().words(), std::min(to_end, 9u));
        if (run.words() < 4) {
            continue;
        }
        run.skip(3);
        reader.consume(run);
        run = reader.run();
        ASSERT_EQ(run.words(), to_end == 4 ? 5 : std::min(to_end - 4, 5u));
        ASSERT_EQ(run[0], packet_words(4, 2)[0]);
        if (run.words() == 5) {
            run.skip(4);
            ASSERT_EQ(run.words(), 0u);
            reader.consume(run);
            (void) reader.publish();
            ASSERT_EQ(memory.far.used(), 0u);
        }
    }
}

TEST(RingReaderTest, ABrokenRingHasNoRun)
{
    Memory memory(kSmall);
    RingReader reader(memory.span());
    memory.far.set(kWriteIndex, kSmall);
    EXPECT_EQ(reader.run().words(), 0u);
    RingPacket packet;
    EXPECT_EQ(reader.next(&packet), Next::kBroken);
    memory.far.set(kWriteIndex, 64);
    EXPECT_EQ(reader.run().words(), 0u);
}

TEST(RingReaderTest, PacketsWrapAtEveryPlaceAlsoInsideTheDescriptor)
{
    for (uint32_t start = 0; start < kSmall; start += 8) {
        for (uint32_t words = 2; words <= 30; words++) {
            Memory memory(kSmall);
            memory.far.start_at(start);
            memory.far.write(packet_bytes(words, 1000 + start));
            RingReader reader(memory.span());
            RingPacket packet;
            ASSERT_EQ(reader.next(&packet), Next::kPacket);
            ASSERT_EQ(packet.desc.type, 11);
            ASSERT_EQ(packet.desc.trans_id, 1000 + start);
            ASSERT_EQ(packet.words(), words);
            ASSERT_EQ(packet.payload_size(), words * 8 - 16);

            auto wanted = packet_words(words, 1000 + start);
            std::vector<uint64_t> copy(words);
            reader.copy(packet, 0, copy);
            ASSERT_EQ(copy, wanted);
            for (uint32_t i = 0; i < words; i++) {
                ASSERT_EQ(reader.words(packet)[i], wanted[i]);
                std::vector<uint64_t> room(words - i);
                uint64_t *rest = reader.words(packet).from(i, room);
                ASSERT_TRUE(
                    std::equal(wanted.begin() + i, wanted.end(), rest));
            }

            reader.consume(packet);
            (void) reader.publish();
            ASSERT_LT(memory.far.get(kReadIndex), kSmall);
            ASSERT_EQ(memory.far.used(), 0u);
            ASSERT_EQ(reader.next(&packet), Next::kEmpty);
        }
    }
}

TEST(RingTest, ManyPacketsOfChangingLengthPassThroughASmallRing)
{
    Memory memory(kSmall);
    RingWriter writer(memory.span());
    RingReader reader(memory.span());
    uint64_t sent = 0, received = 0;
    while (received < 5000) {
        while (sent < 5000) {
            uint32_t words = 2 + sent * 7 % 13;
            if (!writer.fits(words * 8 + 8, 0)) {
                break;
            }
            put_packet(&writer, packet_words(words, sent++));
        }
        (void) writer.publish();
        RingPacket packet;
        ASSERT_EQ(reader.next(&packet), Next::kPacket);
        do {
            uint32_t words = 2 + received * 7 % 13;
            std::vector<uint64_t> copy(packet.words());
            reader.copy(packet, 0, copy);
            ASSERT_EQ(copy, packet_words(words, received));
            received++;
            reader.consume(packet);
        } while (reader.next(&packet) == Next::kPacket);
        (void) reader.publish();
    }
    EXPECT_EQ(sent, received);
    EXPECT_EQ(memory.far.used(), 0u);
}

/* --- Full and empty (A.3, J.5) --------------------------------------------
 */

struct Arithmetic {
    uint32_t write, read, to_read, free;
    bool fits;
};

class RingArithmetic : public testing::TestWithParam<Arithmetic> {};

TEST_P(RingArithmetic, FollowsTheTableOfTheReference)
{
    const Arithmetic &row = GetParam();
    Memory memory(520192);
    memory.far.set(kWriteIndex, row.write);
    memory.far.set(kReadIndex, row.read);
    RingWriter writer(memory.span());
    EXPECT_EQ(writer.free_bytes(), row.free);
    EXPECT_EQ(writer.fits(64 + 8, 0), row.fits);
    EXPECT_EQ(bytes_between(row.read, row.write, 520192), row.to_read);
}

INSTANTIATE_TEST_SUITE_P(J5, RingArithmetic,
                         testing::Values(Arithmetic{0, 0, 0, 520192, true},
                                         Arithmetic{64, 0, 64, 520128, true},
                                         Arithmetic{0, 80, 520112, 80, true},
                                         Arithmetic{0, 72, 520120, 72, false},
                                         Arithmetic{520184, 520160, 24, 520168,
                                                    true}));

TEST(RingWriterTest, NeverFillsTheRingCompletely)
{
    for (uint32_t start = 0; start < kSmall; start += 8) {
        Memory memory(kSmall);
        memory.far.start_at(start);
        RingWriter writer(memory.span());
        /* 256 bytes take seven packets of 32, the eighth would make the
         * ring look empty. */
        for (int i = 0; i < 7; i++) {
            ASSERT_TRUE(writer.fits(32, 0));
            put_packet(&writer, packet_words(3, 1));
        }
        EXPECT_FALSE(writer.fits(32, 0));
        EXPECT_TRUE(writer.fits(24, 0));
        (void) writer.publish();
        EXPECT_EQ(memory.far.used(), 224u);
    }
}

TEST(RingWriterTest, KeepsTheReserveFree)
{
    Memory memory(kSmall);
    RingWriter writer(memory.span());
    EXPECT_TRUE(writer.fits(32, 223));
    EXPECT_FALSE(writer.fits(32, 224));
    put_packet(&writer, packet_words(3, 1));
    EXPECT_TRUE(writer.fits(32, 191));
    EXPECT_FALSE(writer.fits(32, 192));
}

TEST(RingWriterTest, SeesRoomThatTheHostMade)
{
    Memory memory(kSmall);
    RingWriter writer(memory.span());
    for (int i = 0; i < 7; i++) {
        ASSERT_TRUE(writer.fits(32, 0));
        put_packet(&writer, packet_words(3, 1));
    }
    (void) writer.publish();
    ASSERT_FALSE(writer.fits(32, 0));
    ASSERT_TRUE(memory.far.read());
    EXPECT_TRUE(writer.fits(32, 0));
    EXPECT_EQ(writer.free_bytes(), 64u);
}

TEST(RingReaderTest, PacketsThatAreNotPublishedAreNotSeen)
{
    Memory memory(kSmall);
    RingWriter writer(memory.span());
    RingReader reader(memory.span());
    ASSERT_TRUE(writer.fits(32, 0));
    put_packet(&writer, packet_words(3, 1));
    RingPacket packet;
    EXPECT_EQ(reader.next(&packet), Next::kEmpty);
    EXPECT_EQ(memory.far.get(kWriteIndex), 0u);
    (void) writer.publish();
    EXPECT_EQ(reader.next(&packet), Next::kPacket);
}

TEST(RingReaderTest, ConsumedPacketsStayTheReadersUntilPublished)
{
    Memory memory(kSmall);
    memory.far.write(packet_bytes(3, 1));
    memory.far.write(packet_bytes(4, 2));
    RingReader reader(memory.span());
    RingPacket packet;
    ASSERT_EQ(reader.next(&packet), Next::kPacket);
    reader.consume(packet);
    ASSERT_EQ(reader.next(&packet), Next::kPacket);
    EXPECT_EQ(packet.desc.trans_id, 2u);
    EXPECT_EQ(memory.far.get(kReadIndex), 0u);
    reader.consume(packet);
    EXPECT_EQ(memory.far.get(kReadIndex), 0u);
    (void) reader.publish();
    EXPECT_EQ(memory.far.get(kReadIndex), 72u);
}

TEST(RingReaderTest, LookingTwiceAtAPacketDoesNotConsumeIt)
{
    Memory memory(kSmall);
    memory.far.write(packet_bytes(3, 7));
    RingReader reader(memory.span());
    RingPacket first, second;
    ASSERT_EQ(reader.next(&first), Next::kPacket);
    ASSERT_EQ(reader.next(&second), Next::kPacket);
    EXPECT_EQ(first.desc.trans_id, second.desc.trans_id);
    EXPECT_EQ(first.start, second.start);
}

/* --- Start (C.8) ----------------------------------------------------------
 */

TEST(RingTest, BothEndsStartAtTheSharedIndices)
{
    Memory memory(kSmall);
    memory.far.start_at(248);
    memory.far.write(packet_bytes(3, 5));
    RingReader reader(memory.span());
    RingPacket packet;
    ASSERT_EQ(reader.next(&packet), Next::kPacket);
    EXPECT_EQ(packet.start, 248u);
    EXPECT_EQ(packet.desc.trans_id, 5u);

    RingWriter writer(memory.span());
    EXPECT_EQ(writer.free_bytes(), kSmall - 32);
    put_packet(&writer, packet_words(2, 6));
    (void) writer.publish();
    EXPECT_EQ(memory.far.get(kWriteIndex), (248u + 32 + 24) % kSmall);
}

TEST(RingWriterTest, ClearsThePendingSizeThatADeadProcessLeft)
{
    Memory memory(kSmall);
    memory.far.set(kPendingSendSz, 4096);
    RingWriter writer(memory.span());
    EXPECT_EQ(memory.far.get(kPendingSendSz), 0u);
}

/* --- Broken rings (A.13) --------------------------------------------------
 */

class BadIndex : public testing::TestWithParam<uint32_t> {};

TEST_P(BadIndex, AsWriteIndexBreaksTheReaderForGood)
{
    Memory memory(kSmall);
    RingReader reader(memory.span());
    memory.far.set(kWriteIndex, GetParam());
    RingPacket packet;
    EXPECT_EQ(reader.next(&packet), Next::kBroken);
    /* What the host does afterwards does not help. */
    memory.far.start_at(0);
    memory.far.write(packet_bytes(3, 1));
    EXPECT_EQ(reader.next(&packet), Next::kBroken);
    EXPECT_FALSE(reader.publish());
}

TEST_P(BadIndex, AsReadIndexAtTheStartBreaksTheReader)
{
    Memory memory(kSmall);
    memory.far.set(kReadIndex, GetParam());
    RingReader reader(memory.span());
    RingPacket packet;
    EXPECT_EQ(reader.next(&packet), Next::kBroken);
    memory.far.set(kReadIndex, 0);
    EXPECT_EQ(reader.next(&packet), Next::kBroken);
}

TEST_P(BadIndex, AsReadIndexBreaksTheWriterForGood)
{
    Memory memory(kSmall);
    RingWriter writer(memory.span());
    memory.far.set(kReadIndex, GetParam());
    EXPECT_FALSE(writer.fits(24, 0));
    EXPECT_TRUE(writer.broken());
    EXPECT_EQ(writer.free_bytes(), 0u);
    memory.far.set(kReadIndex, 0);
    EXPECT_FALSE(writer.fits(24, 0));
    EXPECT_TRUE(writer.broken());
}

TEST_P(BadIndex, AsWriteIndexAtTheStartBreaksTheWriter)
{
    Memory memory(kSmall);
    memory.far.set(kWriteIndex, GetParam());
    RingWriter writer(memory.span());
    EXPECT_FALSE(writer.fits(24, 0));
    EXPECT_TRUE(writer.broken());
}

INSTANTIATE_TEST_SUITE_P(A3, BadIndex,
                         testing::Values(kSmall, kSmall + 8, 4, 1, 0x80000000,
                                         0xffffffff, 0xfffffff8));

class BadLength : public testing::TestWithParam<uint16_t> {};

TEST_P(BadLength, BreaksTheReaderForGood)
{
    Memory memory(kSmall);
    memory.far.start_at(240);
    Bytes bytes = packet_bytes(3, 1);
    memory.far.write(bytes);
    put16(memory.far.data(), 240 + 4, GetParam());
    RingReader reader(memory.span());
    RingPacket packet;
    EXPECT_EQ(reader.next(&packet), Next::kBroken);
    put16(memory.far.data(), 240 + 4, 3);
    EXPECT_EQ(reader.next(&packet), Next::kBroken);
    EXPECT_EQ(memory.far.get(kReadIndex), 240u);
}

/* Shorter than a descriptor, longer than what is there by one word (its
 * trailer would be missing), longer than the ring, and the longest. */
INSTANTIATE_TEST_SUITE_P(A4, BadLength,
                         testing::Values(0, 1, 4, 5, 31, 32, 33, 0xffff));

TEST(RingReaderTest, AHostThatMovesItsIndexBackIsNotFollowedOutOfTheRing)
{
    Memory memory(kSmall);
    for (uint64_t i = 0; i < 5; i++) {
        memory.far.write(packet_bytes(3, i));
    }
    RingReader reader(memory.span());
    RingPacket packet;
    for (int i = 0; i < 5; i++) {
        ASSERT_EQ(reader.next(&packet), Next::kPacket);
        reader.consume(packet);
    }
    (void) reader.publish();
    memory.far.set(kWriteIndex, 64);
    /* Now 256 - 96 bytes claim to be new.  The words behind 160 are zeros:
     * a length of 0. */
    EXPECT_EQ(reader.next(&packet), Next::kBroken);
}

TEST(RingPacketTest, HeaderIsRightOnlyBetweenDescriptorAndLength)
{
    RingPacket packet = {};
    for (uint16_t length : {uint16_t{2}, uint16_t{7}, uint16_t{0xffff}}) {
        packet.desc.len8 = length;
        for (uint32_t offset = 0; offset <= 0xffff; offset++) {
            packet.desc.offset8 = static_cast<uint16_t>(offset);
            ASSERT_EQ(packet.header_ok(), offset >= 2 && offset <= length);
        }
    }
}

/* --- Signals for new packets (A.9) ----------------------------------------
 */

class RingSignal : public testing::Test {
protected:
    void
    put(unsigned packets)
    {
        for (unsigned i = 0; i < packets; i++) {
            ASSERT_TRUE(writer.fits(32, 0));
            put_packet(&writer, packet_words(3, i));
        }
    }

    Memory memory{kSmall};
    RingWriter writer{memory.span()};
};

TEST_F(RingSignal, GoesOutWhenTheRingWasEmpty)
{
    put(1);
    EXPECT_TRUE(writer.publish());
}

TEST_F(RingSignal, GoesOutForTheFirstPacketOfABatch)
{
    put(3);
    EXPECT_TRUE(writer.publish());
}

TEST_F(RingSignal, DoesNotGoOutWhenTheRingWasNotEmpty)
{
    put(1);
    EXPECT_TRUE(writer.publish());
    put(1);
    EXPECT_FALSE(writer.publish());
    put(2);
    EXPECT_FALSE(writer.publish());
}

TEST_F(RingSignal, GoesOutAgainOnceTheHostHasReadAll)
{
    put(2);
    EXPECT_TRUE(writer.publish());
    ASSERT_EQ(memory.far.read_all().size(), 2u);
    put(1);
    EXPECT_TRUE(writer.publish());
}

TEST_F(RingSignal, DoesNotGoOutWhenTheHostHasReadOnlyAPart)
{
    put(2);
    EXPECT_TRUE(writer.publish());
    ASSERT_TRUE(memory.far.read());
    put(1);
    EXPECT_FALSE(writer.publish());
}

TEST_F(RingSignal, DoesNotGoOutWhileTheHostMasksIt)
{
    memory.far.set(kInterruptMask, 1);
    put(1);
    EXPECT_FALSE(writer.publish());
    EXPECT_EQ(memory.far.used(), 32u);
    ASSERT_TRUE(memory.far.read());
    memory.far.set(kInterruptMask, 0);
    put(1);
    EXPECT_TRUE(writer.publish());
}

TEST_F(RingSignal, DoesNotGoOutWithoutAPacket)
{
    EXPECT_FALSE(writer.publish());
    put(1);
    EXPECT_TRUE(writer.publish());
    ASSERT_TRUE(memory.far.read());
    EXPECT_FALSE(writer.publish());
}

TEST_F(RingSignal, IsJudgedWhereTheBatchBeganAlsoAcrossTheWrap)
{
    Memory wrapped(kSmall);
    wrapped.far.start_at(232);
    RingWriter there(wrapped.span());
    ASSERT_TRUE(there.fits(96, 0));
    for (int i = 0; i < 3; i++) {
        put_packet(&there, packet_words(3, 1));
    }
    EXPECT_TRUE(there.publish());
}

/* --- Signals for room (A.10) ----------------------------------------------
 */

class RoomSignal : public testing::Test {
protected:
    /* Seven packets of 32 bytes: 32 bytes are free. */
    RoomSignal()
    {
        memory.far.set(kFeatureBits, 1);
        for (uint64_t i = 0; i < 7; i++) {
            memory.far.write(packet_bytes(3, i));
        }
    }
    bool
    read(unsigned packets)
    {
        for (unsigned i = 0; i < packets; i++) {
            RingPacket packet;
            EXPECT_EQ(reader.next(&packet), Next::kPacket);
            reader.consume(packet);
        }
        return reader.publish();
    }

    Memory memory{kSmall};
    RingReader reader{memory.span()};
};

TEST_F(RoomSignal, GoesOutExactlyOnceWhenTheThresholdIsCrossed)
{
    memory.far.set(kPendingSendSz, 64);
    EXPECT_FALSE(read(1)); /* 32 to 64 free: 64 is not more than 64. */
    EXPECT_TRUE(read(1));  /* 64 to 96. */
    EXPECT_FALSE(read(1));
    EXPECT_FALSE(read(1));
}

TEST_F(RoomSignal, GoesOutWhenABatchGoesFarBeyondTheThreshold)
{
    memory.far.set(kPendingSendSz, 64);
    EXPECT_TRUE(read(6));
}

TEST_F(RoomSignal, DoesNotGoOutWhenNobodyWaits)
{
    EXPECT_FALSE(read(7));
}

TEST_F(RoomSignal, DoesNotGoOutBelowTheThreshold)
{
    memory.far.set(kPendingSendSz, kSmall - 1);
    EXPECT_FALSE(read(6));
    EXPECT_TRUE(read(1));
}

TEST_F(RoomSignal, DoesNotGoOutWithoutTheFeatureBit)
{
    memory.far.set(kFeatureBits, 0);
    memory.far.set(kPendingSendSz, 64);
    EXPECT_FALSE(read(7));
}

TEST_F(RoomSignal, DoesNotGoOutWhenNothingWasRead)
{
    memory.far.set(kPendingSendSz, 8);
    EXPECT_FALSE(reader.publish());
}

TEST_F(RoomSignal, DoesNotAskTheReadersOwnMask)
{
    memory.far.set(kPendingSendSz, 64);
    reader.mask();
    EXPECT_TRUE(read(7));
}

/* --- Masking --------------------------------------------------------------
 */

TEST(RingReaderTest, MaskAndUnmaskWriteTheSharedWord)
{
    Memory memory(kSmall);
    RingReader reader(memory.span());
    reader.mask();
    EXPECT_EQ(memory.far.get(kInterruptMask), 1u);
    EXPECT_FALSE(reader.unmask());
    EXPECT_EQ(memory.far.get(kInterruptMask), 0u);
}

TEST(RingReaderTest, UnmaskReportsWhatCameMeanwhile)
{
    Memory memory(kSmall);
    RingReader reader(memory.span());
    reader.mask();
    memory.far.write(packet_bytes(3, 1));
    EXPECT_TRUE(reader.unmask());
    RingPacket packet;
    ASSERT_EQ(reader.next(&packet), Next::kPacket);
    reader.consume(packet);
    (void) reader.publish();
    EXPECT_FALSE(reader.unmask());
}

} // namespace
} // namespace netvsc
