/* Sessions of driver and host: traffic, and what both count. */

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/unit/sessions.h"

namespace netvsc::test {
namespace {

class FewSections : public Sessions {
protected:
    FewSections() { extra_ = "send-buffer=12K,section-size=6144"; }
};

TEST_F(Sessions, FramesGoBothWaysAndTheGoodbyeIsClean)
{
    {
        Port left(kLeft, "left"), right(kRight, "right");
        ASSERT_TRUE(left.wait_carrier(true));
        ASSERT_TRUE(right.wait_carrier(true));
        exchange(left, right, 3000);
        exchange(right, left, 3000);
        Statistics statistics = right.device().statistics();
        EXPECT_EQ(statistics.rx.packets(), 3000u);
        EXPECT_EQ(statistics.tx.packets(), 3000u);
        EXPECT_EQ(statistics[Count::kRxDiscarded], 0u);
        for (uint64_t malformed : statistics.malformed) {
            EXPECT_EQ(malformed, 0u);
        }
    }
    decode("--require-clean");
}

TEST_F(Sessions, TagsTravelAsElementsAndComeBack)
{
    {
        Port left(kLeft, "left"), right(kRight, "right");
        ASSERT_TRUE(left.wait_carrier(true) && right.wait_carrier(true));
        std::vector<Frame> sent;
        for (unsigned i = 0; i < 200; i++) {
            Frame frame = make_frame(i, 64 + i);
            uint8_t tag[] = {0x81, 0x00, static_cast<uint8_t>(i),
                             static_cast<uint8_t>(~i)};
            frame.insert(frame.begin() + 12, tag, tag + 4);
            sent.push_back(frame);
        }
        ASSERT_TRUE(left.send(sent));
        ASSERT_TRUE(right.wait_received(sent.size()));
        auto received = right.received();
        for (size_t i = 0; i < sent.size(); i++) {
            EXPECT_EQ(received[i], sent[i]) << "frame " << i;
        }
    }
    decode("--require-clean");
}

TEST_F(Sessions, LateCompletionsStarveNobody)
{
    machine_.reset();
    trace_.reset();
    extra_ = "completion-delay-us=2000,send-buffer=256K";
    start_host();
    {
        Port left(kLeft, "left"), right(kRight, "right");
        ASSERT_TRUE(left.wait_carrier(true) && right.wait_carrier(true));
        exchange(left, right, 3000);
        EXPECT_GT(left.device().statistics()[Count::kTxNoSection], 0u);
    }
    decode("--require-clean");
}

TEST_F(Sessions, TheNumaNodeIsKnownBeforeTheSession)
{
    Port left(kLeft, "left");
    EXPECT_EQ(left.device().status().numa_node, 0);
}

TEST_F(Sessions, ADeviceHasOnePort)
{
    Port left(kLeft, "left");
    DeviceRequest request;
    auto second =
        Device::claim(*Guid::parse(kLeft), "other", request, nullptr);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, EBUSY);
    EXPECT_NE(second.error().message.find("port left"), std::string::npos)
        << second.error().message;
}

TEST_F(Sessions, ADeletedPortCanComeBackAtOnce)
{
    for (unsigned i = 0; i < 10; i++) {
        Port left(kLeft, "left"), right(kRight, "right");
        ASSERT_TRUE(left.wait_carrier(true) && right.wait_carrier(true));
        exchange(left, right, 100);
    }
    decode("--require-clean");
}

/* A port that takes the place of another sees nothing of it. */
TEST_F(Sessions, APortThatReplacesAnotherStartsClean)
{
    for (unsigned i = 0; i < 20; i++) {
        {
            Port old(kLeft, "old");
            /* Every other one is deleted while the device attaches. */
            if (i % 2) {
                ASSERT_TRUE(old.wait_carrier(true));
                ASSERT_TRUE(old.send({make_frame(i, 60)}));
            }
        }
        Port left(kLeft, "left");
        EXPECT_EQ(left.device().statistics().tx.packets(), 0u);
        EXPECT_EQ(left.device().status().sessions, 0u);
        std::string error;
        ASSERT_TRUE(left.wait([&] {
            DeviceStatus status = left.device().status();
            error += status.error;
            return status.link_up;
        }));
        EXPECT_EQ(error, "");
        EXPECT_EQ(left.device().status().sessions, 1u);
        EXPECT_EQ(left.device().status().link_resets, 0u);
    }
}

TEST_F(FewSections, EveryTransmitQueueHasOne)
{
    Port left(kLeft, "left"), right(kRight, "right");
    ASSERT_TRUE(left.wait_carrier(true) && right.wait_carrier(true));
    EXPECT_EQ(left.device().status().send_sections, 2u);
    EXPECT_EQ(left.n_txq(), 1u) << "of two that were asked for";
    exchange(left, right, 100);
}

#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
TEST_F(Sessions, AThreadThatCannotStartIsAnError)
{
    auto claim = [] {
        /* Room for small allocations, not for a thread's stack. */
        size_t pages = 0;
        std::ifstream("/proc/self/statm") >> pages;
        rlimit limit = {(pages + 512) * wire::kPageSize, RLIM_INFINITY};
        ::setrlimit(RLIMIT_AS, &limit);
        /* The stacks of threads that ended are kept for new ones. */
        try {
            for (;;) {
                std::thread([] { ::pause(); }).detach();
            }
        } catch (const std::system_error &) {
        }
        DeviceRequest request;
        for (int i = 0; i < 2; i++) { /* Nothing is left of the first. */
            auto device =
                Device::claim(*Guid::parse(kLeft), "p", request, nullptr);
            std::fputs(device ? "claimed" : device.error().message.c_str(),
                       stderr);
        }
        ::_exit(0);
    };
    std::string sentence = "The control thread of network device .* did not "
                           "start .*: raise the limits";
    EXPECT_EXIT(claim(), testing::ExitedWithCode(0),
                sentence + ".*" + sentence);
}
#endif

TEST_F(Sessions, LinkEventsReachThePort)
{
    Port left(kLeft, "left");
    ASSERT_TRUE(left.wait_carrier(true));
    unsigned resets = left.device().status().link_resets;
    machine_->set_link(kLeft, false);
    ASSERT_TRUE(left.wait([&] { return !left.device().status().link_up; }));
    EXPECT_EQ(left.device().status().link_resets, resets + 1);
    machine_->set_link(kLeft, true);
    ASSERT_TRUE(left.wait([&] { return left.device().status().link_up; }));
}

TEST_F(Sessions, AReofferedDeviceComesBackByItself)
{
    {
        Port left(kLeft, "left"), right(kRight, "right");
        ASSERT_TRUE(left.wait_carrier(true) && right.wait_carrier(true));
        exchange(left, right, 500);
        unsigned sessions = left.device().status().sessions;
        machine_->reoffer(kLeft);
        ASSERT_TRUE(left.wait(
            [&] { return left.device().status().sessions > sessions; }));
        ASSERT_TRUE(left.wait_carrier(true));
        exchange(left, right, 500);
        EXPECT_EQ(left.device().statistics().tx.packets(), 1000u);
    }
    decode("");
}

TEST_F(Sessions, ARestartedHostIsFoundAgain)
{
    Port left(kLeft, "left"), right(kRight, "right");
    ASSERT_TRUE(left.wait_carrier(true) && right.wait_carrier(true));
    exchange(left, right, 500);
    stop_host();
    ASSERT_TRUE(left.wait_carrier(false) && right.wait_carrier(false));
    EXPECT_NE(left.device().status().error, "");
    start_host();
    ASSERT_TRUE(left.wait_carrier(true) && right.wait_carrier(true));
    EXPECT_EQ(left.device().status().error, "");
    exchange(left, right, 500);
}

TEST_F(Sessions, WithoutAPollerTheDeviceStillAnswers)
{
    class Nobody final : public DeviceObserver {
        void
        status_changed() noexcept override
        {
        }
        void
        session_changed() noexcept override
        {
        }
    } nobody;
    Port right(kRight, "right");
    ASSERT_TRUE(right.wait_carrier(true));
    auto device =
        Device::claim(*Guid::parse(kLeft), "idle", DeviceRequest(), &nobody);
    ASSERT_TRUE(device);
    auto is = [&](auto condition) { return right.wait(condition); };
    ASSERT_TRUE(
        is([&] { return (*device)->status().state == DeviceState::kReady; }));
    auto session = (*device)->adopt_session(1);
    ASSERT_TRUE(session);
    ASSERT_TRUE(is([&] { return (*device)->status().link_up; }));
    /* Frames that nobody takes do not stand before the link's news. */
    ASSERT_TRUE(right.send({make_frame(1, 100), make_frame(2, 200)}));
    EXPECT_TRUE(
        is([&] { return (*device)->statistics()[Count::kRxDiscarded] == 2; }));
    machine_->set_link(kLeft, false);
    EXPECT_TRUE(is([&] { return !(*device)->status().link_up; }));
    session.reset();
    (*device)->disown();
}

} // namespace
} // namespace netvsc::test

int
main(int argc, char **argv)
{
    testing::InitGoogleTest(&argc, argv);
    /* Before the driver asks for it the first time. */
    ::setenv("NETVSC_SYSROOT", netvsc::test::scratch().c_str(), 1);
    int status = RUN_ALL_TESTS();
    std::filesystem::remove_all(netvsc::test::scratch());
    return status;
}
