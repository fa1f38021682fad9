/* Control mailbox: only what was asked for gets in. */

#include <gtest/gtest.h>

#include "driver/control_mailbox.h"
#include "tests/unit/fake_uio.h"
#include "tests/unit/far_ring.h"

namespace netvsc {
namespace {

using namespace test;

constexpr uint32_t kQueryComplete = 0x80000004, kSetComplete = 0x80000005;

class ControlMailboxTest : public testing::Test {
protected:
    Bytes
    taken_nvsp()
    {
        auto reply = mailbox.collect_nvsp();
        return reply ? Bytes(reply->begin(), reply->end()) : Bytes();
    }

    /* The next event, which has to be one. */
    std::optional<Indication>
    indication()
    {
        auto event = mailbox.collect_event();
        return event ? std::optional(std::get<Indication>(*event))
                     : std::nullopt;
    }

    FakeUio uio;
    ControlMailbox mailbox{&uio};
};

/* --- NVSP -----------------------------------------------------------------
 */

TEST_F(ControlMailboxTest, HandsOverTheNvspReplyThatWasAskedForOnce)
{
    Bytes reply = nvsp_message({102, 1, 1});
    mailbox.expect_nvsp(3);
    EXPECT_FALSE(mailbox.collect_nvsp());
    EXPECT_TRUE(mailbox.deliver_nvsp(3, reply));
    EXPECT_EQ(uio.wakes(), 1u);
    EXPECT_EQ(taken_nvsp(), reply);
    EXPECT_FALSE(mailbox.collect_nvsp());
}

TEST_F(ControlMailboxTest, ZeroExtendsAShortNvspReplyAndCutsALongOne)
{
    Bytes reply = nvsp_message({105, 1, 6144});
    mailbox.expect_nvsp(1);
    ASSERT_TRUE(mailbox.deliver_nvsp(1, nvsp_message({~0u, ~0u, ~0u, ~0u})));
    mailbox.expect_nvsp(2);
    ASSERT_TRUE(mailbox.deliver_nvsp(2, std::span(reply).first(12)));
    EXPECT_EQ(taken_nvsp(), reply);
    mailbox.expect_nvsp(3);
    ASSERT_TRUE(mailbox.deliver_nvsp(3, {}));
    EXPECT_EQ(taken_nvsp(), Bytes(40));
    Bytes longer = reply;
    longer.resize(100, 0xee);
    mailbox.expect_nvsp(4);
    ASSERT_TRUE(mailbox.deliver_nvsp(4, longer));
    EXPECT_EQ(taken_nvsp(), reply);
}

TEST_F(ControlMailboxTest, RefusesNvspRepliesThatWereNotAskedFor)
{
    Bytes reply = nvsp_message({2, 0, 0, 1});
    EXPECT_FALSE(mailbox.deliver_nvsp(0, reply));
    EXPECT_FALSE(mailbox.deliver_nvsp(1, reply));
    mailbox.expect_nvsp(2);
    EXPECT_FALSE(mailbox.deliver_nvsp(1, reply)); /* Late. */
    EXPECT_FALSE(mailbox.deliver_nvsp(3, reply)); /* Invented. */
    EXPECT_EQ(uio.wakes(), 0u);
    EXPECT_TRUE(mailbox.deliver_nvsp(2, reply));
    EXPECT_FALSE(mailbox.deliver_nvsp(2, nvsp_message({2, 0, 0, 2})));
    EXPECT_EQ(taken_nvsp(), reply);
    EXPECT_FALSE(mailbox.deliver_nvsp(2, reply)); /* Repeated. */
    EXPECT_FALSE(mailbox.collect_nvsp());
}

TEST_F(ControlMailboxTest, ANewRequestForgetsTheReplyOfTheLast)
{
    mailbox.expect_nvsp(1);
    ASSERT_TRUE(mailbox.deliver_nvsp(1, nvsp_message({2})));
    mailbox.expect_nvsp(2);
    EXPECT_FALSE(mailbox.collect_nvsp());
}

/* --- RNDIS ----------------------------------------------------------------
 */

TEST_F(ControlMailboxTest, HandsOverTheRndisReplyThatWasAskedForOnce)
{
    Bytes reply = rndis_message({kQueryComplete, 0, 9, 0, 4, 16, 1500});
    mailbox.expect_rndis(kQueryComplete, 9);
    EXPECT_FALSE(mailbox.collect_rndis());
    EXPECT_TRUE(mailbox.deliver_rndis(reply));
    EXPECT_EQ(uio.wakes(), 1u);
    EXPECT_EQ(mailbox.collect_rndis(), reply);
    EXPECT_FALSE(mailbox.collect_rndis());
}

TEST_F(ControlMailboxTest, TakesTheMessageWithoutWhatFollowsInItsRange)
{
    Bytes reply = rndis_message({kSetComplete, 0, 9, 0});
    Bytes range = reply;
    range.resize(300, 0xee);
    mailbox.expect_rndis(kSetComplete, 9);
    EXPECT_TRUE(mailbox.deliver_rndis(range));
    EXPECT_EQ(mailbox.collect_rndis(), reply);
}

TEST_F(ControlMailboxTest, RefusesRndisRepliesThatWereNotAskedFor)
{
    Bytes reply = rndis_message({kSetComplete, 0, 9, 0});
    EXPECT_FALSE(mailbox.deliver_rndis(reply));
    mailbox.expect_rndis(kSetComplete, 10);
    EXPECT_FALSE(mailbox.deliver_rndis(reply)); /* Late. */
    put32(reply, 8, 11);
    EXPECT_FALSE(mailbox.deliver_rndis(reply)); /* Invented. */
    put32(reply, 8, 10);
    put32(reply, 0, kQueryComplete);
    EXPECT_FALSE(mailbox.deliver_rndis(reply)); /* Of another type. */
    EXPECT_EQ(uio.wakes(), 0u);
    put32(reply, 0, kSetComplete);
    EXPECT_TRUE(mailbox.deliver_rndis(reply));
    EXPECT_FALSE(mailbox.deliver_rndis(reply)); /* Repeated. */
    EXPECT_TRUE(mailbox.collect_rndis());
    EXPECT_FALSE(mailbox.deliver_rndis(reply));
    EXPECT_FALSE(mailbox.collect_rndis());
}

TEST_F(ControlMailboxTest, RefusesTheGuestsOwnMessages)
{
    mailbox.expect_rndis(kSetComplete, 9);
    for (uint32_t type : {0u, 1u, 2u, 3u, 4u, 5u, 6u, 8u, 0x80000006u,
                          0x80000008u, 0xff000001u, ~0u}) {
        EXPECT_FALSE(mailbox.deliver_rndis(rndis_message({type, 0, 9, 0})));
    }
    EXPECT_FALSE(mailbox.collect_rndis());
}

TEST_F(ControlMailboxTest, RefusesMessagesOfAnImpossibleLength)
{
    mailbox.expect_rndis(kSetComplete, 9);
    Bytes reply = rndis_message({kSetComplete, 0, 9, 0});
    for (size_t size = 0; size < reply.size(); size++) {
        EXPECT_FALSE(mailbox.deliver_rndis(std::span(reply).first(size)));
    }
    for (uint32_t length : {0u, 4u, 7u, 8u, 11u, 17u, 0x80000000u, ~0u}) {
        Bytes bad = reply;
        put32(bad, 4, length);
        EXPECT_FALSE(mailbox.deliver_rndis(bad)) << length;
    }
    EXPECT_TRUE(mailbox.deliver_rndis(reply));
}

TEST_F(ControlMailboxTest, AcceptsTheLongestReplyAndRefusesALongerOne)
{
    Bytes reply = rndis_message({kQueryComplete, 0, 9, 0, 1000, 16},
                                Bytes(kMaxControlReply - 24, 5));
    ASSERT_EQ(reply.size(), kMaxControlReply);
    Bytes longer = rndis_message({kQueryComplete, 0, 9, 0, 1001, 16},
                                 Bytes(kMaxControlReply - 23, 5));
    mailbox.expect_rndis(kQueryComplete, 9);
    EXPECT_FALSE(mailbox.deliver_rndis(longer));
    EXPECT_TRUE(mailbox.deliver_rndis(reply));
    EXPECT_EQ(mailbox.collect_rndis(), reply);
}

TEST_F(ControlMailboxTest, ANewRequestForgetsTheRndisReplyOfTheLast)
{
    mailbox.expect_rndis(kSetComplete, 1);
    ASSERT_TRUE(mailbox.deliver_rndis(rndis_message({kSetComplete, 0, 1, 0})));
    mailbox.expect_rndis(kSetComplete, 2);
    EXPECT_FALSE(mailbox.collect_rndis());
    EXPECT_FALSE(
        mailbox.deliver_rndis(rndis_message({kSetComplete, 0, 1, 0})));
}

/* --- Indications ----------------------------------------------------------
 */

constexpr uint32_t kConnect = 0x4001000b, kDisconnect = 0x4001000c,
                   kSpeed = 0x40010013;

TEST_F(ControlMailboxTest, KeepsIndicationsInOrderWithoutBeingAsked)
{
    EXPECT_FALSE(indication());
    EXPECT_TRUE(
        mailbox.deliver_rndis(rndis_message({7, 0, kDisconnect, 0, 0})));
    EXPECT_TRUE(
        mailbox.deliver_rndis(rndis_message({7, 0, kSpeed, 4, 12, 100000})));
    EXPECT_EQ(uio.wakes(), 1u) << "for as many as wait";
    auto first = indication();
    ASSERT_TRUE(first);
    EXPECT_EQ(first->status, kDisconnect);
    EXPECT_FALSE(first->has_value);
    auto second = indication();
    ASSERT_TRUE(second);
    EXPECT_EQ(second->status, kSpeed);
    EXPECT_TRUE(second->has_value);
    EXPECT_EQ(second->value, 100000u);
    EXPECT_FALSE(indication());
    EXPECT_TRUE(mailbox.deliver_rndis(rndis_message({7, 0, kConnect, 0, 0})));
    EXPECT_EQ(uio.wakes(), 2u);
}

TEST_F(ControlMailboxTest, AnIndicationIsNoReply)
{
    mailbox.expect_rndis(7, kConnect);
    EXPECT_TRUE(mailbox.deliver_rndis(rndis_message({7, 0, kConnect, 0, 0})));
    EXPECT_FALSE(mailbox.collect_rndis());
    EXPECT_TRUE(indication());
}

TEST_F(ControlMailboxTest, RefusesMalformedIndications)
{
    EXPECT_FALSE(mailbox.deliver_rndis(rndis_message({7, 0})));
    EXPECT_FALSE(mailbox.deliver_rndis(rndis_message({7, 0, kConnect, 0})));
    /* A value behind the end, just so and by far. */
    for (uint32_t offset : {13u, 16u, 0x7fffffffu, 0xfffffff0u, ~0u}) {
        EXPECT_FALSE(mailbox.deliver_rndis(
            rndis_message({7, 0, kSpeed, 4, offset, 1})));
    }
    EXPECT_FALSE(indication());
    EXPECT_EQ(uio.wakes(), 0u);
}

TEST_F(ControlMailboxTest, AnIndicationBufferShorterThanAWordHasNoValue)
{
    EXPECT_TRUE(
        mailbox.deliver_rndis(rndis_message({7, 0, kSpeed, 3, 0xffff, 1})));
    auto got = indication();
    ASSERT_TRUE(got);
    EXPECT_FALSE(got->has_value);
}

TEST_F(ControlMailboxTest, AFloodOfIndicationsKeepsTheOldestAndTheLastState)
{
    for (uint32_t i = 0; i < 100; i++) {
        EXPECT_TRUE(
            mailbox.deliver_rndis(rndis_message({7, 0, kSpeed, 4, 12, i})));
    }
    std::vector<uint32_t> values;
    while (auto got = indication()) {
        values.push_back(got->value);
    }
    ASSERT_EQ(values.size(), 16u);
    EXPECT_EQ(values.front(), 0u);
    EXPECT_EQ(values[14], 14u);
    EXPECT_EQ(values.back(), 99u);
}

/* --- In-band messages ------------------------------------------------------
 */

TEST_F(ControlMailboxTest, AFloodOfVfOffersLosesNoIndicationAndKeepsTheLast)
{
    ASSERT_TRUE(mailbox.deliver_rndis(rndis_message({7, 0, kConnect, 0, 0})));
    for (uint32_t i = 0; i < 100; i++) {
        EXPECT_TRUE(mailbox.deliver_inband(nvsp_message({128, i % 2, i})));
    }
    EXPECT_EQ(uio.wakes(), 1u);
    EXPECT_TRUE(indication());
    auto event = mailbox.collect_event();
    ASSERT_TRUE(event);
    EXPECT_TRUE(std::get<VfAssociation>(*event).allocated);
    EXPECT_EQ(std::get<VfAssociation>(*event).serial, 99u);
    EXPECT_FALSE(mailbox.collect_event());
}

TEST_F(ControlMailboxTest, AnIndirectionTableThatIsNotThereIsNoEvent)
{
    Bytes table = nvsp_message({134, 16, 12});
    EXPECT_TRUE(mailbox.deliver_inband(table)); /* It ends at 40. */
    table.resize(76);
    for (uint32_t offset : {0u, 11u, 13u, 76u, ~0u}) {
        put32(table, 8, offset);
        EXPECT_TRUE(mailbox.deliver_inband(table)) << offset;
    }
    put32(table, 8, 12);
    for (uint32_t count : {0u, 15u, 17u, ~0u}) {
        put32(table, 4, count);
        EXPECT_TRUE(mailbox.deliver_inband(table)) << count;
    }
    EXPECT_FALSE(mailbox.collect_event());
    EXPECT_EQ(uio.wakes(), 0u);
    put32(table, 4, 16);
    EXPECT_TRUE(mailbox.deliver_inband(table));
    EXPECT_TRUE(mailbox.collect_event());
    EXPECT_EQ(uio.wakes(), 1u);
}

TEST_F(ControlMailboxTest, OtherInbandMessagesAreRefused)
{
    EXPECT_FALSE(mailbox.deliver_inband({}));
    EXPECT_FALSE(mailbox.deliver_inband(nvsp_message({107, 0, 0})));
    Bytes vf = nvsp_message({128, 1, 5});
    EXPECT_FALSE(mailbox.deliver_inband(std::span(vf).first(11)));
    EXPECT_FALSE(mailbox.collect_event());
}

/* ------------------------------------------------------------------------ */

TEST_F(ControlMailboxTest, NotifyWakesTheControlThread)
{
    mailbox.notify();
    EXPECT_EQ(uio.wakes(), 1u);
    EXPECT_EQ(uio.wait(Uio::Clock::now()), Uio::Event::kWoken);
}

} // namespace
} // namespace netvsc
