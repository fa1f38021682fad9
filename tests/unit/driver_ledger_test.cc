/* Small owners of state: send sections, transaction ids, size bins, GUIDs,
 * statistics. */

#include <optional>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "driver/cache_line.h"
#include "driver/kernel/guid.h"
#include "driver/send_sections.h"
#include "driver/size_bins.h"
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
        auto index = share.take();
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
    SendSections sections{buffer, kSize};
};

TEST_F(SendSectionsTest, CountsWholeSectionsOnly)
{
    EXPECT_EQ(sections.count(), 10u);
    EXPECT_EQ(sections.section_size(), kSize);
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
    EXPECT_EQ(take_all(0).size(), 9u);
}

TEST_F(SendSectionsTest, ASectionThatWasNotPublishedIsFreeAtOnce)
{
    ASSERT_EQ(sections.share(0).take(), 1u);
    ASSERT_EQ(sections.share(0).take(), 2u);
    EXPECT_EQ(sections.in_use(), 0u);
    sections.share(0).put_back(2);
    sections.share(0).put_back(1);
    EXPECT_FALSE(sections.complete(1));
    EXPECT_EQ(send_off(0), 1u);
    EXPECT_EQ(take_all(0).size(), 8u);
}

TEST_F(SendSectionsTest, ACompletionOfAnUnpublishedSectionIsNotBelieved)
{
    ASSERT_EQ(sections.share(0).take(), 1u);
    /* The host guesses the id before the packet is out. */
    EXPECT_FALSE(sections.complete(1));
    sections.share(0).put_back(1);
    EXPECT_EQ(take_all(0).size(), 9u);
}

TEST_F(SendSectionsTest, TheControlSectionIsLentToOneMessageAtATime)
{
    EXPECT_TRUE(sections.control_is_free());
    EXPECT_TRUE(sections.take_control());
    EXPECT_FALSE(sections.control_is_free());
    EXPECT_FALSE(sections.take_control());
    EXPECT_EQ(sections.in_use(), 1u);
    EXPECT_TRUE(sections.complete(kControlSection));
    EXPECT_TRUE(sections.control_is_free());
    EXPECT_TRUE(sections.take_control());
    EXPECT_TRUE(sections.complete(kControlSection));
    EXPECT_EQ(take_all(0).size(), 9u);
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
        std::string name = malformed_name(static_cast<Malformed>(i));
        EXPECT_TRUE(name.starts_with("rx_malformed_")) << name;
        names.insert(name);
    }
    EXPECT_EQ(names.size(), kMalformedCauses);
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
    auto result = std::bit_cast<std::array<uint64_t, kMembers>>(sum);
    for (size_t i = 0; i < kMembers; i++) {
        EXPECT_EQ(result[i], 1001 * (i + 1)) << "member " << i;
    }
}

} // namespace
} // namespace netvsc
