/* A device and its control thread, in front of a host in the same process:
 * another MTU, another user, no memory. */

#include <atomic>
#include <cstdlib>
#include <new>

#include <gtest/gtest.h>
#include <pthread.h>

#include "driver/kernel/uio.h"
#include "tests/unit/sessions.h"

/* Sanitizers have an allocator of their own. */
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
#define NETVSC_CAN_RUN_OUT_OF_MEMORY 1

namespace {
/* Fails each allocation of a control thread from now on. */
std::atomic<bool> no_memory{false};

bool
is_control_thread()
{
    char name[16];
    return ::pthread_getname_np(::pthread_self(), name, sizeof name) == 0 &&
           std::strcmp(name, "netvsc_control") == 0;
}
} // namespace

/* Not inlined: the compiler would take new with free() for a mistake. */
[[gnu::noinline]] void *
operator new(size_t size)
{
    if (no_memory && is_control_thread()) {
        throw std::bad_alloc();
    }
    if (void *memory = std::malloc(size ? size : 1)) {
        return memory;
    }
    throw std::bad_alloc();
}

[[gnu::noinline]] void
operator delete(void *memory) noexcept
{
    std::free(memory);
}

[[gnu::noinline]] void
operator delete(void *memory, size_t) noexcept
{
    std::free(memory);
}
#endif

namespace netvsc::test {
namespace {

class JumboSessions : public Sessions {
protected:
    JumboSessions() { extra_ = "mtu=4000"; }
};

/* Sends one frame of the largest size and one that is a byte too long. */
void
expect_mtu(Port &from, Port &to, uint32_t mtu)
{
    size_t before = to.received().size();
    uint64_t refused = from.device().statistics()[Count::kTxTooBig];
    ASSERT_TRUE(from.send({make_frame(1, mtu + 14), make_frame(2, mtu + 15)}));
    ASSERT_TRUE(to.wait_received(before + 1));
    EXPECT_EQ(to.received().back().size(), mtu + 14);
    EXPECT_EQ(from.device().statistics()[Count::kTxTooBig], refused + 1);
}

TEST_F(JumboSessions, AnMtuThatFitsTakesNoNewSession)
{
    {
        Port left(kLeft, "left", 3000), right(kRight, "right", 3000);
        ASSERT_TRUE(left.wait_carrier(true) && right.wait_carrier(true));
        for (uint32_t mtu : {1000u, 3000u, 1500u, 68u, 3004u}) {
            left.set_mtu(mtu);
            ASSERT_TRUE(
                left.wait([&] { return left.device().status().mtu == mtu; }));
            expect_mtu(left, right, mtu);
        }
        EXPECT_EQ(left.device().status().sessions, 1u);
        EXPECT_EQ(left.device().status().link_resets, 0u);
        EXPECT_TRUE(left.device().status().link_up);
    }
    decode("--require-clean");
}

TEST_F(JumboSessions, ALargerMtuTakesANewSessionAndKeepsThePort)
{
    {
        Port left(kLeft, "left"), right(kRight, "right", 3000);
        ASSERT_TRUE(left.wait_carrier(true) && right.wait_carrier(true));
        expect_mtu(left, right, 1500);
        left.set_mtu(3000);
        ASSERT_TRUE(
            left.wait([&] { return left.device().status().mtu == 3000; }));
        ASSERT_TRUE(left.wait_carrier(true));
        expect_mtu(left, right, 3000);
        EXPECT_EQ(left.device().status().sessions, 2u);
    }
    decode("--require-clean");
}

TEST_F(JumboSessions, AnMtuBeyondTheAdapterIsNotTriedAgainAndAgain)
{
    Port left(kLeft, "left");
    ASSERT_TRUE(left.wait_carrier(true));
    left.set_mtu(6000); /* Nobody knows yet that it has 4000. */
    ASSERT_TRUE(left.wait([&] {
        DeviceStatus status = left.device().status();
        return status.mtu == 4000 && status.link_up;
    }));
    EXPECT_EQ(left.device().status().max_mtu, 4000u);
    EXPECT_EQ(left.device().status().sessions, 2u);
    left.set_mtu(6001);
    left.set_mtu(5000);
    left.set_mtu(3999);
    ASSERT_TRUE(left.wait([&] { return left.device().status().mtu == 3999; }));
    EXPECT_EQ(left.device().status().sessions, 2u);
}

TEST_F(Sessions, TheAdaptersLimitIsKnownFromTheBeginning)
{
    Port left(kLeft, "left");
    ASSERT_TRUE(left.wait_carrier(true));
    EXPECT_EQ(left.device().status().max_mtu, 1500u);
}

/* Each time OVS's main thread wakes and writes to its database. */
TEST_F(Sessions, ALinkThatFlapsIsToldNowAndThen)
{
    Port left(kLeft, "left");
    ASSERT_TRUE(left.wait_carrier(true));
    auto begin = Clock::now();
    unsigned before = left.told();
    for (unsigned i = 0; i < 200; i++) {
        machine_->set_link(kLeft, i % 2 != 0);
    }
    machine_->set_link(kLeft, false);
    ASSERT_TRUE(left.wait([&] { return !left.device().status().link_up; }));
    /* The last news are told as well, a moment later. */
    unsigned seen = left.told();
    machine_->set_link(kLeft, true);
    ASSERT_TRUE(left.wait([&] { return left.told() > seen; }));
    ASSERT_TRUE(left.wait([&] { return left.device().status().link_up; }));
    unsigned told = left.told() - before;
    auto intervals = (Clock::now() - begin) / std::chrono::milliseconds(100);
    EXPECT_LE(told, intervals + 3) << "200 changes";
    EXPECT_GE(told, 2u);
}

TEST_F(Sessions, ADeviceIsOpenedOnce)
{
    Port left(kLeft, "left"), right(kRight, "right");
    ASSERT_TRUE(left.wait_carrier(true) && right.wait_carrier(true));
    auto info = check_device(*Guid::parse(kLeft));
    ASSERT_TRUE(info);
    for (int i = 0; i < 3; i++) {
        auto second = open_uio(*info);
        ASSERT_FALSE(second);
        EXPECT_EQ(second.error().code, EBUSY);
        EXPECT_NE(second.error().message.find("is in use by"),
                  std::string::npos)
            << second.error().message;
    }
    /* The first has not noticed. */
    exchange(left, right, 500);
    exchange(right, left, 500);
    EXPECT_EQ(left.device().status().sessions, 1u);
}

TEST_F(Sessions, ADeviceThatAnotherHasIsWaitedFor)
{
    auto info = check_device(*Guid::parse(kLeft));
    ASSERT_TRUE(info);
    auto other = open_uio(*info);
    ASSERT_TRUE(other) << other.error().message;
    Port left(kLeft, "left"), right(kRight, "right");
    ASSERT_TRUE(left.wait(
        [&] { return left.device().status().state == DeviceState::kInUse; }));
    EXPECT_NE(left.device().status().error.find("is in use by"),
              std::string::npos);
    other->reset();
    ASSERT_TRUE(left.wait_carrier(true) && right.wait_carrier(true));
    EXPECT_EQ(left.device().status().error, "");
    exchange(left, right, 500);
}

#ifdef NETVSC_CAN_RUN_OUT_OF_MEMORY
TEST_F(Sessions, WithoutMemoryThePortIsDownAndTheProcessLives)
{
    {
        /* In the middle of a session, when something is to be done. */
        Port left(kLeft, "left"), right(kRight, "right");
        ASSERT_TRUE(left.wait_carrier(true) && right.wait_carrier(true));
        no_memory = true;
        left.set_up(false);
        EXPECT_TRUE(left.wait([&] {
            return left.device().status().state == DeviceState::kFailed;
        }));
        EXPECT_EQ(left.device().status().error, "Out of memory.");
        no_memory = false;
        left.set_up(true);
        ASSERT_TRUE(left.wait_carrier(true));
        EXPECT_EQ(left.device().status().error, "");
        exchange(left, right, 500);
    }
    /* While it is opened. */
    no_memory = true;
    Port left(kLeft, "left");
    EXPECT_TRUE(left.wait(
        [&] { return left.device().status().state == DeviceState::kFailed; }));
    no_memory = false;
    EXPECT_TRUE(left.wait_carrier(true));
}
#endif

} // namespace
} // namespace netvsc::test
