/* Limits on how long and how often: pauses between attempts, patience with a
 * silent host, interrupts without end.  On a clock of the test's own. */

#include <atomic>
#include <vector>

#include <gtest/gtest.h>

#include "driver/retry_pause.h"
#include "driver/send_watchdog.h"
#include "tests/unit/attach.h"

namespace netvsc {
namespace {

using namespace test;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

std::vector<seconds>
pauses(RetryPause *retry, RetryPause::Duration lived, unsigned n)
{
    std::vector<seconds> all;
    for (unsigned i = 0; i < n; i++) {
        all.push_back(retry->after_failure(lived));
    }
    return all;
}

TEST(RetryPause, GrowsUpToHalfAMinute)
{
    RetryPause retry;
    EXPECT_EQ(
        pauses(&retry, seconds(0), 7),
        (std::vector<seconds>{seconds(1), seconds(2), seconds(4), seconds(8),
                              seconds(16), seconds(30), seconds(30)}));
}

/* A host that attaches by the book and breaks the session each time. */
TEST(RetryPause, GrowsAlsoWhenEachAttachSucceeds)
{
    RetryPause retry;
    EXPECT_EQ(pauses(&retry, seconds(29), 4),
              (std::vector<seconds>{seconds(1), seconds(2), seconds(4),
                                    seconds(8)}));
}

TEST(RetryPause, StartsAnewAfterASessionThatLivedAndForAnotherPort)
{
    RetryPause retry;
    pauses(&retry, seconds(0), 5);
    EXPECT_EQ(retry.after_failure(seconds(30)), seconds(1));
    EXPECT_EQ(retry.after_failure(seconds(0)), seconds(2));
    retry.reset();
    EXPECT_EQ(retry.after_failure(seconds(0)), seconds(1));
}

class SendWatchdogTest : public testing::Test {
protected:
    /* Looks every second for `n` seconds. */
    SendWatchdog::Clock::duration
    look(unsigned n, uint64_t completed, uint32_t outstanding)
    {
        SendWatchdog::Clock::duration silence{};
        while (n-- > 0) {
            now_ += seconds(1);
            silence = watchdog_.look(now_, completed, outstanding);
        }
        return silence;
    }

    SendWatchdog watchdog_;
    SendWatchdog::Clock::time_point now_{std::chrono::hours(1000)};
};

TEST_F(SendWatchdogTest, NothingToCompleteIsNoSilence)
{
    EXPECT_EQ(look(1000, 7, 0), seconds(0));
}

TEST_F(SendWatchdogTest, CountsFromTheFirstLookAtWhatIsOutstanding)
{
    look(100, 7, 0);
    EXPECT_EQ(look(1, 7, 1), seconds(0));
    EXPECT_EQ(look(5, 7, 1), seconds(5));
    EXPECT_EQ(look(60, 7, 300), seconds(65));
    EXPECT_EQ(look(1, 7, 0), seconds(0));
}

TEST_F(SendWatchdogTest, EachCompletionStartsItAnew)
{
    look(15, 7, 10);
    EXPECT_EQ(look(1, 8, 10), seconds(0));
    EXPECT_EQ(look(3, 8, 10), seconds(3));
}

/* Counters of other threads: `completed` may be seen too small, and what had
 * been seen before is no news. */
TEST_F(SendWatchdogTest, OldNewsIsNoCompletion)
{
    look(1, 100, 10);
    look(4, 100, 10);
    EXPECT_EQ(look(1, 90, 20), seconds(5));
    EXPECT_EQ(look(1, 100, 10), seconds(6));
}

TEST_F(SendWatchdogTest, TimeInWhichTheGuestWasAwayHardlyCounts)
{
    look(3, 100, 10);
    now_ += std::chrono::hours(8); /* Saved overnight. */
    EXPECT_LT(look(1, 100, 10), SendWatchdog::kOverdue);
}

TEST(IdleInterrupts, DoNotKeepTheControlThreadBusy)
{
    Attach attach;
    ASSERT_TRUE(attach.run());
    /* Always ready, as /dev/zero is in the place of an eventfd. */
    unsigned waits = 0;
    attach.uio->set_host([&] {
        waits++;
        attach.uio->interrupt();
    });
    auto end = HostRequests::Clock::now() + milliseconds(300);
    Status waited =
        attach.session->requests().wait_until(end, [] { return false; });
    EXPECT_EQ(waited.error().code, ETIMEDOUT);
    /* A millisecond's pause each; without, there are 100,000. */
    EXPECT_LT(waits, 64u + 1 + 300 + 10);
}

} // namespace
} // namespace netvsc
