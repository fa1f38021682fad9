/* The ledgers of a session: sub-allocations and owed completions. */

#include <set>

#include <gtest/gtest.h>

#include "host/netvsp/completion_queue.h"
#include "host/netvsp/sub_allocations.h"

namespace netvsc::host::test {

namespace {

TEST(HostSubAllocations, KeepsTheFirstForControl)
{
    SubAllocations ledger(5, 2);
    EXPECT_EQ(ledger.take_data(), 2u);
    EXPECT_EQ(ledger.take_data(), 3u);
    EXPECT_EQ(ledger.take_data(), 4u);
    EXPECT_EQ(ledger.take_data(), std::nullopt);
    EXPECT_EQ(ledger.take_control(), 0u);
    EXPECT_EQ(ledger.take_control(), 1u);
    EXPECT_EQ(ledger.take_control(), std::nullopt);
    EXPECT_EQ(ledger.outstanding(), 5u);
}

TEST(HostSubAllocations, ComeBackWithTheirTransfer)
{
    SubAllocations ledger(8, 1);
    uint32_t id = *ledger.take_data();
    ledger.join(id, *ledger.take_data());
    ledger.join(id, *ledger.take_data());
    uint32_t other = *ledger.take_data();
    EXPECT_EQ(ledger.give_back(id), 3u);
    EXPECT_EQ(ledger.outstanding(), 1u);
    EXPECT_EQ(ledger.give_back(other), 1u);
    EXPECT_EQ(ledger.issued(), 4u);
    EXPECT_EQ(ledger.returned(), 4u);

    /* All of them can be taken again, each once. */
    std::set<uint32_t> seen;
    for (int i = 0; i < 7; i++) {
        seen.insert(ledger.take_data().value());
    }
    EXPECT_EQ(seen.size(), 7u);
}

TEST(HostSubAllocations, AreNotTakenBackTwice)
{
    SubAllocations ledger(4, 1);
    uint32_t id = *ledger.take_data();
    EXPECT_EQ(ledger.give_back(id), 1u);
    EXPECT_EQ(ledger.give_back(id), 0u);
}

TEST(HostSubAllocations, AreNotTakenBackByIdsOfOthers)
{
    SubAllocations ledger(4, 1);
    uint32_t id = *ledger.take_data();
    uint32_t joined = *ledger.take_data();
    ledger.join(id, joined);
    EXPECT_EQ(ledger.give_back(joined), 0u);
    EXPECT_EQ(ledger.give_back(3), 0u);
    EXPECT_EQ(ledger.give_back(4), 0u);
    EXPECT_EQ(ledger.give_back(uint64_t{id} | 1ull << 32), 0u);
    EXPECT_EQ(ledger.outstanding(), 2u);
}

TEST(HostSubAllocations, EachChannelHasARangeOfItsOwn)
{
    SubAllocations ledger(2 + 11, 2);
    ledger.divide(3);
    EXPECT_EQ(ledger.first(0), 2u);
    EXPECT_EQ(ledger.first(1), 5u);
    EXPECT_EQ(ledger.first(2), 8u);
    EXPECT_EQ(ledger.share(0), 3u);
    EXPECT_EQ(ledger.share(1), 3u);
    EXPECT_EQ(ledger.share(2), 5u);

    for (uint32_t index : {5u, 6u, 7u}) {
        EXPECT_EQ(ledger.take_data(1), index);
    }
    EXPECT_EQ(ledger.take_data(1), std::nullopt);
    EXPECT_EQ(ledger.data_outstanding(1), 3u);
    EXPECT_EQ(ledger.take_data(2), 8u);
    EXPECT_EQ(ledger.take_data(), 2u);
    EXPECT_EQ(ledger.take_control(), 0u);

    /* A transfer is completed on the channel that carries it. */
    EXPECT_EQ(ledger.give_back(6, 0), 0u);
    EXPECT_EQ(ledger.give_back(6, 2), 0u);
    EXPECT_EQ(ledger.give_back(6, 1), 1u);
    EXPECT_EQ(ledger.take_data(1), 6u);
}

TEST(HostSubAllocations, MoveToTheirNewRangeWhenTheyComeBack)
{
    for (auto reuse :
         {SubAllocations::Reuse::kHottest, SubAllocations::Reuse::kInTurn}) {
        SubAllocations ledger(1 + 8, 1, reuse);
        for (uint32_t index = 1; index <= 6; index++) {
            EXPECT_EQ(ledger.take_data(), index);
        }
        ledger.join(1, 6);
        ledger.divide(2);
        EXPECT_EQ(ledger.data_free(0), 0u);
        EXPECT_EQ(ledger.data_free(1), 2u);
        EXPECT_EQ(ledger.take_data(), std::nullopt);
        EXPECT_EQ(ledger.take_data(1), 7u);

        /* One of the transfer is in either range now. */
        EXPECT_EQ(ledger.give_back(1), 2u);
        EXPECT_EQ(ledger.data_free(0), 1u);
        EXPECT_EQ(ledger.data_free(1), 2u);
        EXPECT_EQ(ledger.give_back(5), 1u);
        EXPECT_EQ(ledger.data_free(1), 3u);
        EXPECT_EQ(ledger.take_data(), 1u);
        EXPECT_EQ(ledger.outstanding(), 5u);
    }
}

TEST(HostCompletionQueue, KeepsTheOrderWithoutDelay)
{
    CompletionQueue queue(0);
    for (uint64_t id = 0; id < 100; id++) {
        queue.push(id, 1, 1000 - id);
    }
    for (uint64_t id = 0; id < 100; id++) {
        ASSERT_EQ(queue.front().trans_id, id);
        ASSERT_EQ(queue.front().due, 0u);
        queue.pop();
    }
    EXPECT_TRUE(queue.empty());
}

TEST(HostCompletionQueue, IsLateAndOutOfOrderWithADelay)
{
    constexpr uint64_t kDelay = 1000;
    constexpr uint64_t kNow = 50'000;
    CompletionQueue queue(kDelay);
    for (uint64_t id = 0; id < CompletionQueue::kCapacity; id++) {
        queue.push(id, 1, kNow);
    }
    EXPECT_TRUE(queue.full());

    std::set<uint64_t> seen;
    uint64_t last_due = 0;
    uint64_t last_id = 0;
    bool swapped = false;
    while (!queue.empty()) {
        EXPECT_GE(queue.front().due, std::max(kNow, last_due));
        EXPECT_LE(queue.front().due, kNow + 2 * kDelay);
        last_due = queue.front().due;
        swapped = swapped || queue.front().trans_id < last_id;
        last_id = queue.front().trans_id;
        seen.insert(last_id);
        queue.pop();
    }
    EXPECT_TRUE(swapped);
    EXPECT_EQ(seen.size(), CompletionQueue::kCapacity);
}

} // namespace

} // namespace netvsc::host::test
