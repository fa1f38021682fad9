/* An attached session: packet filter, queues, and the goodbye (D.9). */

#include <array>
#include <set>

#include <errno.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "driver/attach_rndis.h"
#include "tests/unit/attach.h"

namespace netvsc {
namespace {

using namespace test;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

/* --- Cache lines ----------------------------------------------------------
 */

/* Each is another thread's, and all write to theirs for each burst. */
TEST(QueueLinesTest, QueuesShareNoLine)
{
    Attach attach;
    ASSERT_TRUE(attach.run()) << attach.error.message;
    attach.session->set_txqs(8);
    ASSERT_EQ(attach.session->n_txq(), 8u);
    std::set<uintptr_t> lines;
    size_t wanted = 0;
    auto add = [&](const auto &queue) {
        auto at = reinterpret_cast<uintptr_t>(&queue);
        auto end = at + sizeof queue;
        for (at -= at % kCacheLine; at < end; at += kCacheLine) {
            lines.insert(at);
            wanted++;
        }
    };
    add(attach.session->rxq(0));
    for (unsigned i = 0; i < 8; i++) {
        add(attach.session->txq(i));
    }
    EXPECT_EQ(lines.size(), wanted);
}

/* --- Filter and detach (D.9) ----------------------------------------------
 */

TEST(DetachTest, WaitsForTheLastFrames)
{
    Attach attach;
    attach.host.data_delay = 3;
    ASSERT_TRUE(attach.run()) << attach.error.message;
    attach.session->set_txqs(1);
    Bytes bytes = make_frame(60);
    netvsc_tx_frame frame = {bytes.data(), 60};
    ASSERT_EQ(attach.session->txq(0).send(std::span(&frame, 1)), 1u);
    attach.host.edit = [&](const std::string &name, Reply *) {
        if (name == "HALT") {
            /* The HALT's own. */
            EXPECT_EQ(attach.session->send_sections_in_use(), 1u);
        }
    };
    Status detached = attach.session->detach();
    ASSERT_TRUE(detached) << detached.error().message;
    EXPECT_EQ(attach.host.data.size(), 1u);
    attach.expect_clean();
}

TEST(DetachTest, ClearsTheFilterHaltsAndRevokesInThatOrder)
{
    Attach attach;
    ASSERT_TRUE(attach.run());
    attach.host.log.clear();
    attach.host.requests.clear();
    Status detached = attach.session->detach();
    ASSERT_TRUE(detached) << detached.error().message;
    EXPECT_THAT(attach.host.log, ElementsAre("SET 0x0001010e", "HALT",
                                             "REVOKE_RECV", "REVOKE_SEND"));
    EXPECT_EQ(attach.request("SET 0x0001010e"),
              rndis_message({5, 0, 9, 0x0001010e, 4, 20, 0, 0}));
    EXPECT_EQ(attach.request("HALT"), rndis_message({3, 0, 10}));
    EXPECT_EQ(attach.request("REVOKE_RECV"), nvsp_message({103, 0xcafe}));
    EXPECT_EQ(attach.request("REVOKE_SEND"), nvsp_message({106, 0}));
    attach.expect_clean();
    EXPECT_EQ(attach.host.out.used(), 0u);
}

TEST(DetachTest, GoesOnWhenTheHostRefusesTheFilter)
{
    Attach attach;
    ASSERT_TRUE(attach.run());
    attach.host.log.clear();
    attach.host.edit = [&](const std::string &name, Reply *reply) {
        if (name == "SET 0x0001010e") {
            put32(reply->message, 12, 0xc0010017);
        }
    };
    Status detached = attach.session->detach();
    EXPECT_TRUE(detached) << detached.error().message;
    EXPECT_THAT(attach.host.log, ElementsAre("SET 0x0001010e", "HALT",
                                             "REVOKE_RECV", "REVOKE_SEND"));
}

TEST(DetachTest, FramesThatStillComeAreGivenBack)
{
    Attach attach;
    ASSERT_TRUE(attach.run());
    attach.host.edit = [&](const std::string &, Reply *) {
        attach.host.send(rndis_frame(make_frame(60)), kData);
    };
    ASSERT_TRUE(attach.session->detach());
    /* What comes with the revokes is no longer waited for. */
    EXPECT_GE(attach.session->statistics()[Count::kRxDiscarded], 2u);
    EXPECT_GE(attach.host.returned.size(), attach.host.issued - 2);
}

TEST(DetachTest, DoesNotWaitForEverForAnythingThatIsMissing)
{
    for (const char *name : {"SET 0x0001010e", "HALT"}) {
        Attach attach;
        ASSERT_TRUE(attach.run());
        attach.session->requests().set_reply_deadline(
            std::chrono::milliseconds(20));
        attach.host.edit = [&](const std::string &request, Reply *reply) {
            if (request == name) {
                reply->completion.clear();
                reply->message.clear();
            }
        };
        Status detached = attach.session->detach();
        ASSERT_FALSE(detached);
        EXPECT_EQ(detached.error().code, ETIMEDOUT);
    }
}

TEST(DetachTest, WaitsUntilTheHostHasReadTheRevokes)
{
    Attach attach;
    ASSERT_TRUE(attach.run());
    attach.session->requests().set_reply_deadline(
        std::chrono::milliseconds(100));
    /* A host that stops listening at the HALT. */
    attach.uio->set_host([&] {
        if (attach.host.log.back() != "HALT") {
            attach.host.run();
        }
    });
    Status detached = attach.session->detach();
    ASSERT_FALSE(detached);
    EXPECT_EQ(detached.error().code, ETIMEDOUT);
    EXPECT_GT(attach.host.out.used(), 0u);
}

TEST(DetachTest, RemovalEndsIt)
{
    Attach attach;
    ASSERT_TRUE(attach.run());
    attach.host.edit = [&](const std::string &request, Reply *reply) {
        if (request == "HALT") {
            reply->completion.clear();
            attach.uio->remove();
        }
    };
    Status detached = attach.session->detach();
    ASSERT_FALSE(detached);
    EXPECT_EQ(detached.error().code, ENODEV);
    EXPECT_EQ(attach.host.log.back(), "HALT");
}

TEST(PacketFilterTest, IsWhatWasAskedForOrTheHostsRefusal)
{
    Attach attach;
    ASSERT_TRUE(attach.run());
    ASSERT_TRUE(set_packet_filter(&attach.session->requests(), 0x20));
    EXPECT_EQ(attach.host.requests.back(),
              rndis_message({5, 0, 9, 0x0001010e, 4, 20, 0, 0x20}));
    attach.host.edit = [](const std::string &, Reply *reply) {
        put32(reply->message, 12, 0xc00000bb);
    };
    Status refused = set_packet_filter(&attach.session->requests(), 0x20);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, EPERM);
    EXPECT_THAT(refused.error().message,
                AllOf(HasSubstr("OID 0x0001010e"), HasSubstr("0xc00000bb")));
}

/* --- An attached session --------------------------------------------------
 */

TEST(SessionQueuesTest, FramesGoBothWaysAndCountersOutliveTheirQueues)
{
    Attach attach;
    ASSERT_TRUE(attach.run());
    Session &session = *attach.session;
    Bytes frame = make_frame(60);
    netvsc_tx_frame view = {frame.data(), 60};
    std::array<netvsc_rx_frame, 32> frames;
    uint64_t sent = 0;
    for (unsigned queues : {1, 3, 2}) {
        session.set_txqs(queues);
        ASSERT_EQ(session.n_txq(), queues);
        for (unsigned q = 0; q < queues; q++) {
            ASSERT_EQ(session.txq(q).send(std::span(&view, 1)), 1u);
            sent++;
        }
        attach.host.run();
        ASSERT_EQ(attach.host.data.size(), sent);
        ASSERT_EQ(attach.host.data.back(), rndis_frame(frame));
        attach.host.send(rndis_frame(frame), kData);
        ASSERT_EQ(session.rxq(0).poll(frames), 1u);
        session.rxq(0).release();
        EXPECT_EQ(session.statistics().tx.packets(), sent);
        EXPECT_EQ(session.send_sections_in_use(), 0u);
    }
    attach.host.run();
    EXPECT_EQ(session.statistics().rx.packets(), 3u);
    attach.expect_clean();
}

TEST(SessionQueuesTest, FramesUpToTheMtuFitAndLongerOnesAreCounted)
{
    Attach attach;
    ASSERT_TRUE(attach.run());
    attach.session->set_txqs(1);
    for (auto [frame, fits] : std::vector<std::pair<Bytes, bool>>{
             {make_frame(1514), true},
             {make_frame(1515), false},
             {make_tagged_frame(1514, 7), true},
             {make_tagged_frame(1515, 7), false}}) {
        netvsc_tx_frame view = {frame.data(),
                                static_cast<uint32_t>(frame.size())};
        uint64_t before = attach.session->statistics()[Count::kTxTooBig];
        ASSERT_EQ(attach.session->txq(0).send(std::span(&view, 1)), 1u);
        EXPECT_EQ(attach.session->statistics()[Count::kTxTooBig] - before,
                  fits ? 0u : 1u);
    }
}

TEST(SessionQueuesTest, TheControlThreadLeavesFramesToALiveReader)
{
    Attach attach;
    ASSERT_TRUE(attach.run());
    std::array<netvsc_rx_frame, 32> frames;
    ASSERT_EQ(attach.session->rxq(0).poll(frames), 0u);
    attach.session->rxq(0).release();
    /* The reader was here just now and is merely late: the answer is read
     * past nothing but completions, and the frame behind it stays. */
    attach.host.edit = [&](const std::string &, Reply *) {};
    ASSERT_TRUE(set_packet_filter(&attach.session->requests(), 0x20));
    attach.host.send(rndis_frame(make_frame(60)), kData);
    Status waited = attach.session->requests().wait_until(
        Uio::Clock::now() + std::chrono::milliseconds(30),
        [] { return false; });
    EXPECT_EQ(waited.error().code, ETIMEDOUT);
    EXPECT_EQ(attach.session->statistics()[Count::kRxDiscarded], 0u);
    ASSERT_EQ(attach.session->rxq(0).poll(frames), 1u);
    attach.session->rxq(0).release();
}

TEST(SessionQueuesTest, FramesWithoutAReaderAreDiscarded)
{
    Attach attach;
    ASSERT_TRUE(attach.run());
    std::array<netvsc_rx_frame, 32> frames;
    ASSERT_EQ(attach.session->rxq(0).poll(frames), 0u);
    attach.session->rxq(0).release();
    attach.session->readers_left();
    attach.host.send(rndis_frame(make_frame(60)), kData);
    Status waited = attach.session->requests().wait_until(
        Uio::Clock::now() + std::chrono::milliseconds(5),
        [] { return false; });
    EXPECT_EQ(waited.error().code, ETIMEDOUT);
    EXPECT_EQ(attach.session->statistics()[Count::kRxDiscarded], 1u);
}

} // namespace
} // namespace netvsc
