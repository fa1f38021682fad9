/* Small owners of state: send sections, transaction ids, size bins, GUIDs,
 * statistics. */

#include <array>
#include <atomic>
#include <barrier>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "driver/cache_line.h"
#include "driver/kernel/guid.h"
#include "driver/send_sections.h"
#include "driver/statistics.h"
#include "driver/transaction_id.h"

namespace netvsc {
namespace {

/* --- Send sections --------------------------------------------------------
 */

class SendSectionsTest : public testing::Test {
protected:
    static constexpr uint32_t kSize = 256;

    /* Takes a section and gives it to the host. */
    std::optional<uint32_t>
    send_off(unsigned q)
    {
        auto &share = sections.share(q);
        share.refill();
        auto index = share.pop();
        if (index) {
            sections.give(*index);
        }
        return index;
    }
    std::vector<uint32_t>
    take_all(unsigned q)
    {
        std::vector<uint32_t> taken;
        while (auto index = send_off(q)) {
            taken.push_back(*index);
        }
        return taken;
    }

    /* Ten sections and a rest that is too short for another one. */
    std::vector<uint8_t> buffer = std::vector<uint8_t>(10 * kSize + 100);
    SectionBuffer send_buffer{buffer, kSize};
    SendSections sections{send_buffer,
                          channel_sections(send_buffer.count(), 0, 1)};
};

TEST_F(SendSectionsTest, CountsWholeSectionsOnly)
{
    EXPECT_EQ(send_buffer.count(), 10u);
    EXPECT_EQ(send_buffer.section_size(), kSize);
    EXPECT_EQ(sections.first(), kControlSection + 1);
    EXPECT_EQ(sections.count(), 9u);
    EXPECT_EQ(sections.section(9).data(), buffer.data() + 9 * kSize);
    EXPECT_EQ(sections.section(9).size(), kSize);
}

TEST_F(SendSectionsTest, GivesEachSectionOnceAndNeverTheControlSection)
{
    auto taken = take_all(0);
    EXPECT_EQ(std::set<uint32_t>(taken.begin(), taken.end()),
              (std::set<uint32_t>{1, 2, 3, 4, 5, 6, 7, 8, 9}));
    EXPECT_EQ(taken.size(), 9u);
    EXPECT_EQ(sections.in_use(), 9u);
    EXPECT_FALSE(send_off(0));
}

TEST_F(SendSectionsTest, GivesTheLowestSectionsFirst)
{
    EXPECT_EQ(send_off(0), 1u);
    EXPECT_EQ(send_off(0), 2u);
}

TEST_F(SendSectionsTest, GivesTheMostRecentlyUsedSectionFirst)
{
    ASSERT_EQ(send_off(0), 1u);
    ASSERT_EQ(send_off(0), 2u);
    ASSERT_EQ(send_off(0), 3u);
    EXPECT_TRUE(sections.complete(1));
    EXPECT_TRUE(sections.complete(3));
    EXPECT_EQ(send_off(0), 3u);
    EXPECT_EQ(send_off(0), 1u);
    EXPECT_EQ(send_off(0), 4u);
}

TEST_F(SendSectionsTest, ASectionComesBackByItsCompletionOnly)
{
    auto taken = take_all(0);
    EXPECT_TRUE(sections.complete(5));
    EXPECT_EQ(sections.in_use(), 8u);
    EXPECT_EQ(send_off(0), 5u);
    EXPECT_FALSE(send_off(0));
}

TEST_F(SendSectionsTest, RefusesToCompleteWhatIsNotWithTheHost)
{
    EXPECT_FALSE(sections.complete(1));
    ASSERT_EQ(send_off(0), 1u);
    EXPECT_TRUE(sections.complete(1));
    EXPECT_FALSE(sections.complete(1));
    EXPECT_FALSE(sections.complete(kControlSection));
    EXPECT_FALSE(sections.complete(10));
    EXPECT_FALSE(sections.complete(UINT32_MAX));
    EXPECT_FALSE(sections.complete(UINT64_MAX));
    EXPECT_FALSE(sections.complete((uint64_t{1} << 32) + 1));
    EXPECT_EQ(take_all(0).size(), 9u);
}

TEST_F(SendSectionsTest, ASectionThatWasNotPublishedIsFreeAtOnce)
{
    ASSERT_EQ(sections.share(0).pop(), 1u);
    ASSERT_EQ(sections.share(0).pop(), 2u);
    EXPECT_EQ(sections.in_use(), 0u);
    sections.share(0).put_back(2);
    sections.share(0).put_back(1);
    EXPECT_FALSE(sections.complete(1));
    EXPECT_EQ(send_off(0), 1u);
    EXPECT_EQ(take_all(0).size(), 8u);
}

TEST_F(SendSectionsTest, ACompletionOfAnUnpublishedSectionIsNotBelieved)
{
    ASSERT_EQ(sections.share(0).pop(), 1u);
    /* The host guesses the id before the packet is out. */
    EXPECT_FALSE(sections.complete(1));
    sections.share(0).put_back(1);
    EXPECT_EQ(take_all(0).size(), 9u);
}

TEST(ControlSectionTest, IsLentToOneMessageAtATime)
{
    ControlSection control;
    EXPECT_TRUE(control.is_free());
    EXPECT_FALSE(control.complete());
    EXPECT_TRUE(control.acquire());
    EXPECT_FALSE(control.is_free());
    EXPECT_FALSE(control.acquire());
    EXPECT_TRUE(control.complete());
    EXPECT_TRUE(control.is_free());
    EXPECT_FALSE(control.complete());
    EXPECT_TRUE(control.acquire());
}

TEST_F(SendSectionsTest, PartitionDealsEverySectionToExactlyOneQueue)
{
    for (unsigned queues : {1u, 2u, 3u, 9u}) {
        sections.partition(queues);
        std::set<uint32_t> all;
        size_t n = 0, smallest = SIZE_MAX, largest = 0;
        for (unsigned q = 0; q < queues; q++) {
            auto taken = take_all(q);
            n += taken.size();
            smallest = std::min(smallest, taken.size());
            largest = std::max(largest, taken.size());
            all.insert(taken.begin(), taken.end());
        }
        EXPECT_EQ(n, 9u);
        EXPECT_EQ(all.size(), 9u);
        EXPECT_FALSE(all.contains(kControlSection));
        EXPECT_LE(largest - smallest, 1u);
        for (uint32_t index : all) {
            EXPECT_TRUE(sections.complete(index));
        }
    }
}

TEST_F(SendSectionsTest, MoreQueuesThanSectionsLeaveSomeWithoutAny)
{
    sections.partition(20);
    size_t n = 0;
    for (unsigned q = 0; q < 20; q++) {
        n += take_all(q).size();
    }
    EXPECT_EQ(n, 9u);
}

TEST_F(SendSectionsTest, SectionsInFlightGoToTheirNewOwner)
{
    sections.partition(2);
    auto first = take_all(0);
    ASSERT_FALSE(first.empty());
    sections.partition(3);
    /* What is away is nobody's. */
    std::set<uint32_t> free;
    for (unsigned q = 0; q < 3; q++) {
        for (uint32_t index : take_all(q)) {
            free.insert(index);
        }
    }
    EXPECT_EQ(free.size() + first.size(), 9u);
    for (uint32_t index : first) {
        EXPECT_FALSE(free.contains(index));
        EXPECT_TRUE(sections.complete(index));
    }
    std::set<uint32_t> back;
    for (unsigned q = 0; q < 3; q++) {
        for (uint32_t index : take_all(q)) {
            back.insert(index);
        }
    }
    EXPECT_EQ(back, std::set<uint32_t>(first.begin(), first.end()));
}

TEST_F(SendSectionsTest, SectionsThatCameBackUnseenAreDealtOutAnew)
{
    auto taken = take_all(0);
    for (uint32_t index : taken) {
        ASSERT_TRUE(sections.complete(index));
    }
    sections.partition(2);
    EXPECT_EQ(take_all(0).size() + take_all(1).size(), 9u);
}

TEST_F(SendSectionsTest, ManyRoundsLoseNothing)
{
    uint32_t held[4] = {};
    for (unsigned round = 0; round < 10000; round++) {
        uint32_t &slot = held[round % 4];
        if (slot) {
            ASSERT_TRUE(sections.complete(slot));
        }
        auto index = send_off(0);
        ASSERT_TRUE(index);
        slot = *index;
    }
    EXPECT_EQ(sections.in_use(), 4u);
    EXPECT_EQ(take_all(0).size(), 5u);
}

/* --- Sections of several channels -----------------------------------------
 */

TEST(ChannelSectionsTest, EveryDataSectionIsOfExactlyOneChannel)
{
    for (uint32_t count : {2u, 3u, 10u, 171u, 2730u}) {
        for (unsigned channels : {1u, 2u, 3u, 8u, 64u}) {
            uint32_t next = kControlSection + 1;
            uint32_t smallest = UINT32_MAX, largest = 0;
            for (unsigned c = 0; c < channels; c++) {
                SectionRange range = channel_sections(count, c, channels);
                EXPECT_EQ(range.first, next);
                next += range.count;
                smallest = std::min(smallest, range.count);
                largest = std::max(largest, range.count);
            }
            EXPECT_EQ(next, count);
            EXPECT_LE(largest - smallest, 1u);
        }
    }
}

TEST(ChannelSectionsTest, ASectionOfAnotherChannelIsRefused)
{
    std::vector<uint8_t> memory(10 * 256);
    SectionBuffer buffer(memory, 256);
    SendSections first(buffer, channel_sections(10, 0, 2));
    SendSections second(buffer, channel_sections(10, 1, 2));
    ASSERT_EQ(first.count() + second.count(), 9u);
    auto index = second.share(0).pop();
    ASSERT_EQ(index, second.first());
    second.give(*index);
    EXPECT_FALSE(first.complete(*index));
    EXPECT_FALSE(second.complete(second.first() - 1));
    EXPECT_TRUE(second.complete(*index));
}

TEST(ChannelSectionsTest, AChannelWithoutQueuesGetsItsSectionsBackAllTheSame)
{
    std::vector<uint8_t> memory(10 * 256);
    SectionBuffer buffer(memory, 256);
    SendSections sections(buffer, channel_sections(10, 0, 1));
    auto index = sections.share(0).pop();
    ASSERT_TRUE(index);
    sections.give(*index);
    sections.partition(0);
    EXPECT_TRUE(sections.complete(*index));
    EXPECT_EQ(sections.in_use(), 0u);
    sections.partition(1);
    unsigned n = 0;
    while (sections.share(0).pop()) {
        n++;
    }
    EXPECT_EQ(n, 9u);
}

/* Two channels, each with a reader on a thread of its own.  Transmit queue q
 * uses channel q mod 2, as in a session. */
class TwoChannels : public testing::Test {
protected:
    static constexpr unsigned kChannels = 2;
    static constexpr uint32_t kSections = 1001, kSize = 8;

    SendSections &
    channel(unsigned queue)
    {
        return queue % kChannels ? second : first;
    }
    SendSections::Share &
    share(unsigned queue)
    {
        return channel(queue).share(queue / kChannels);
    }
    void
    partition(unsigned queues)
    {
        for (unsigned c = 0; c < kChannels; c++) {
            channel(c).partition((queues + kChannels - 1 - c) / kChannels);
        }
    }
    /* All that the queues of a channel have goes to the host. */
    std::vector<uint32_t>
    send_off_all(unsigned c, unsigned queues)
    {
        std::vector<uint32_t> sent;
        for (unsigned q = c; q < queues; q += kChannels) {
            share(q).refill();
            while (auto index = share(q).pop()) {
                channel(q).give(*index);
                sent.push_back(*index);
            }
        }
        return sent;
    }

    std::vector<uint8_t> memory = std::vector<uint8_t>(kSections * kSize);
    SectionBuffer buffer{memory, kSize};
    SendSections first{buffer, channel_sections(kSections, 0, kChannels)};
    SendSections second{buffer, channel_sections(kSections, 1, kChannels)};
};

/* The queues change in number while every section is with the host; then both
 * readers complete what went out on their channel, at the same time. */
TEST_F(TwoChannels, SectionsInFlightSurviveARepartition)
{
    constexpr unsigned kRounds = 300;
    std::array<std::vector<uint32_t>, kChannels> sent;
    std::barrier start(kChannels + 1), done(kChannels + 1);
    std::atomic<unsigned> refused = 0;
    auto read = [&](unsigned c) {
        for (unsigned round = 0; round < kRounds; round++) {
            start.arrive_and_wait();
            for (uint32_t index : sent[c]) {
                refused += !channel(c).complete(index);
            }
            done.arrive_and_wait();
        }
    };
    std::thread readers[] = {std::thread(read, 0), std::thread(read, 1)};
    unsigned queues = 2, lost = 0, doubled = 0;
    partition(queues);
    for (unsigned round = 0; round < kRounds; round++) {
        std::set<uint32_t> all;
        for (unsigned c = 0; c < kChannels; c++) {
            sent[c] = send_off_all(c, queues);
            for (uint32_t index : sent[c]) {
                doubled += !all.insert(index).second;
            }
        }
        lost += kSections - 1 - static_cast<unsigned>(all.size());
        queues = 2 + round % 7;
        partition(queues);
        start.arrive_and_wait();
        done.arrive_and_wait();
    }
    for (std::thread &reader : readers) {
        reader.join();
    }
    EXPECT_EQ(lost, 0u);
    EXPECT_EQ(doubled, 0u);
    EXPECT_EQ(refused, 0u);
    EXPECT_EQ(first.in_use() + second.in_use(), 0u);
}

/* --- Cache lines ----------------------------------------------------------
 */

TEST(LineVectorTest, SharesNoLineWithItsNeighbours)
{
    std::vector<LineVector<uint32_t>> arrays;
    for (size_t n : {1, 3, 16, 17, 2730}) {
        arrays.emplace_back(n);
    }
    std::set<uintptr_t> lines;
    size_t wanted = 0;
    for (const auto &array : arrays) {
        auto at = reinterpret_cast<uintptr_t>(array.data());
        EXPECT_EQ(at % kCacheLine, 0u);
        for (size_t i = 0; i < array.size() * 4; i += kCacheLine) {
            lines.insert(at + i);
            wanted++;
        }
    }
    EXPECT_EQ(lines.size(), wanted);
}

/* --- Transaction ids ------------------------------------------------------
 */

TEST(TransactionIdTest, EveryKindSurvivesTheRoundTrip)
{
    using Kind = TransactionId::Kind;
    for (Kind kind : {Kind::kData, Kind::kControl, Kind::kNvsp}) {
        for (uint32_t index : {0u, 1u, 2729u, UINT32_MAX}) {
            for (uint16_t generation : {1, 2, 0x8000, 0xffff}) {
                TransactionId id = {generation, kind, index};
                auto back = TransactionId::decode(id.encode());
                ASSERT_TRUE(back);
                EXPECT_EQ(back->generation, generation);
                EXPECT_EQ(back->kind, kind);
                EXPECT_EQ(back->index, index);
            }
        }
    }
}

TEST(TransactionIdTest, DistinctRequestsHaveDistinctIds)
{
    using Kind = TransactionId::Kind;
    std::set<uint64_t> ids;
    for (uint16_t generation : {1, 2}) {
        for (Kind kind : {Kind::kData, Kind::kControl, Kind::kNvsp}) {
            for (uint32_t index : {0u, 1u, 2u}) {
                ids.insert(TransactionId{generation, kind, index}.encode());
            }
        }
    }
    EXPECT_EQ(ids.size(), 18u);
    EXPECT_FALSE(ids.contains(0));
}

TEST(TransactionIdTest, IdsThatWereNeverSentAreRefused)
{
    EXPECT_FALSE(TransactionId::decode(0));
    EXPECT_FALSE(TransactionId::decode(5));
    EXPECT_FALSE(TransactionId::decode(UINT64_MAX));
    EXPECT_FALSE(TransactionId::decode(0x0001'0004'0000'0001));
    EXPECT_FALSE(TransactionId::decode(0x0001'0101'0000'0001));
    EXPECT_FALSE(TransactionId::decode(0xffff'fffd'0000'0000));
}

/* --- Size bins ------------------------------------------------------------
 */

TEST(SizeBinTest, EveryBoundaryBelongsToItsOwnBin)
{
    EXPECT_EQ(size_bin(1), 0u);
    for (unsigned bin = 0; bin < kSizeBinLimits.size(); bin++) {
        EXPECT_EQ(size_bin(kSizeBinLimits[bin]), bin);
        if (bin + 1 < kSizeBinLimits.size()) {
            EXPECT_EQ(size_bin(kSizeBinLimits[bin] + 1), bin + 1);
        }
    }
}

TEST(SizeBinTest, AgreesWithTheLimitsForEverySize)
{
    for (uint32_t size = 0; size < 70000; size++) {
        unsigned bin = 0;
        while (size > kSizeBinLimits[bin]) {
            bin++;
        }
        ASSERT_EQ(size_bin(size), bin) << size;
    }
}

/* --- GUIDs ----------------------------------------------------------------
 */

constexpr char kGuid[] = "f8615163-df3e-46c5-913f-f2d2f965ed0e";

TEST(GuidTest, AcceptsCapitalsAndBracesAndSpellsThemAsSysfsDoes)
{
    for (const char *text : {"f8615163-df3e-46c5-913f-f2d2f965ed0e",
                             "F8615163-DF3E-46C5-913F-F2D2F965ED0E",
                             "{f8615163-df3e-46c5-913f-f2d2f965ed0e}",
                             "{F8615163-Df3e-46c5-913F-f2d2f965ed0E}"}) {
        auto guid = Guid::parse(text);
        ASSERT_TRUE(guid) << text;
        EXPECT_EQ(guid->str(), kGuid);
    }
}

TEST(GuidTest, RefusesEverythingElse)
{
    for (const char *text :
         {"", "{}", "eth1", "f8615163", "f8615163-df3e-46c5-913f-f2d2f965ed0",
          "f8615163-df3e-46c5-913f-f2d2f965ed0e0",
          "f8615163df3e46c5913ff2d2f965ed0e",
          "{f8615163-df3e-46c5-913f-f2d2f965ed0e",
          "f8615163-df3e-46c5-913f-f2d2f965ed0e}",
          "g8615163-df3e-46c5-913f-f2d2f965ed0e",
          "f8615163-df3e-46c5-913f+f2d2f965ed0e",
          "f86151-63df3e-46c5-913f-f2d2f965ed0e",
          "f8615163-df3e-46c5-913f-f2d2f965ed0\xe9",
          " f8615163-df3e-46c5-913f-f2d2f965ed0e ",
          "../../../../../../../../etc/passwd/x"}) {
        EXPECT_FALSE(Guid::parse(text)) << text;
    }
    EXPECT_FALSE(Guid::parse(std::string_view(kGuid, 37))); /* With its NUL */
}

TEST(GuidTest, ComparesByItsText)
{
    auto a = Guid::parse(kGuid),
         b = Guid::parse(std::string("{") + kGuid + "}");
    auto c = Guid::parse("f8615163-df3e-46c5-913f-f2d2f965ed0f");
    EXPECT_EQ(*a, *b);
    EXPECT_LT(*a, *c);
}

/* --- Statistics -----------------------------------------------------------
 */

TEST(StatisticsTest, EveryMalformedCauseHasANameOfItsOwn)
{
    std::set<std::string> names;
    for (unsigned i = 0; i < kMalformedCauses; i++) {
        std::string name = kMalformedNames[i];
        EXPECT_TRUE(name.starts_with("rx_malformed_")) << name;
        names.insert(name);
    }
    EXPECT_EQ(names.size(), kMalformedCauses);
}

TEST(StatisticsTest, EveryCountHasANameOfItsOwn)
{
    std::set<std::string> names(kCountNames.begin(), kCountNames.end());
    EXPECT_EQ(names.size(), kCounts);
    EXPECT_EQ(kCountNames[static_cast<unsigned>(Count::kTxRingFull)],
              std::string("tx_ring_full"));
}

TEST(StatisticsTest, AddsEveryMember)
{
    /* Nothing but 64-bit numbers: each one counts, also new ones. */
    constexpr size_t kMembers = sizeof(Statistics) / sizeof(uint64_t);
    std::array<uint64_t, kMembers> a, b;
    for (size_t i = 0; i < kMembers; i++) {
        a[i] = i + 1;
        b[i] = 1000 * (i + 1);
    }
    auto sum = std::bit_cast<Statistics>(a);
    sum += std::bit_cast<Statistics>(b);
    /* Of the biggest there is no sum. */
    EXPECT_EQ(sum.tx_biggest_refused, 1000 * kMembers);
    sum.tx_biggest_refused += kMembers;
    auto result = std::bit_cast<std::array<uint64_t, kMembers>>(sum);
    for (size_t i = 0; i < kMembers; i++) {
        EXPECT_EQ(result[i], 1001 * (i + 1)) << "member " << i;
    }
}

} // namespace
} // namespace netvsc
