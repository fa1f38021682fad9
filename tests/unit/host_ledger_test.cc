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
