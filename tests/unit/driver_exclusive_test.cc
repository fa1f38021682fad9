/* One process for each device: who is told what. */

#include <array>
#include <cstring>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "driver/kernel/exclusive.h"
#include "driver/kernel/uio_mapping.h"

namespace netvsc {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/* A file stands for the device's node. */
class ExclusiveTest : public testing::Test {
protected:
    ExclusiveTest() : file_(::memfd_create("device", MFD_CLOEXEC)) {}

    /* Another opening of it. */
    FileDescriptor
    open()
    {
        std::string name = "/proc/self/fd/" + std::to_string(file_.get());
        return FileDescriptor(::open(name.c_str(), O_RDWR | O_CLOEXEC));
    }
    /* A process that holds the lock until it is killed. */
    pid_t
    start_holder()
    {
        int fds[2];
        EXPECT_EQ(::pipe(fds), 0);
        pid_t child = ::fork();
        if (child == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            FileDescriptor mine = open();
            char done = bool(lock_exclusively(mine.get(), "uio0"));
            (void) !::write(fds[1], &done, 1);
            for (;;) {
                ::pause();
            }
        }
        char done = 0;
        EXPECT_EQ(::read(fds[0], &done, 1), 1);
        EXPECT_EQ(done, 1);
        ::close(fds[0]);
        ::close(fds[1]);
        return child;
    }

    FileDescriptor file_;
};

TEST_F(ExclusiveTest, TheSecondIsToldWhoTheFirstIs)
{
    pid_t holder = start_holder();
    FileDescriptor mine = open();
    Status locked = lock_exclusively(mine.get(), "/dev/uio0");
    ASSERT_FALSE(locked);
    EXPECT_EQ(locked.error().code, EBUSY);
    EXPECT_THAT(locked.error().message,
                AllOf(HasSubstr("/dev/uio0 is in use by process " +
                                std::to_string(holder) + " (driver-tests)"),
                      HasSubstr(": end that process")));

    /* However it ends. */
    ::kill(holder, SIGKILL);
    ::waitpid(holder, nullptr, 0);
    EXPECT_TRUE(lock_exclusively(mine.get(), "/dev/uio0"));
}

TEST_F(ExclusiveTest, ARingThatIsInUseIsNotTaken)
{
    /* Two control pages and two of data. */
    constexpr size_t kPage = 4096;
    alignas(8) static std::array<uint8_t, 4 * kPage> rings;
    rings.fill(0);
    EXPECT_TRUE(check_unused(rings, file_.get(), "/dev/uio0"));
    for (size_t at : {size_t{0}, size_t{4}, 2 * kPage, 2 * kPage + 4}) {
        rings.fill(0);
        rings[at + 1] = 1;
        Status unused = check_unused(rings, file_.get(), "/dev/uio0");
        ASSERT_FALSE(unused) << at;
        EXPECT_EQ(unused.error().code, EBUSY);
        EXPECT_THAT(unused.error().message,
                    AllOf(HasSubstr("/dev/uio0 is in use by another process"),
                          HasSubstr("another container"),
                          HasSubstr("Linux before 4.20")));
    }
    /* The rest of a control page, and the data, are left as they were. */
    rings.fill(0xff);
    for (size_t at : {size_t{0}, 2 * kPage}) {
        std::memset(&rings[at], 0, 8);
    }
    EXPECT_TRUE(check_unused(rings, file_.get(), "/dev/uio0"));
}

/* A program that takes no lock, such as DPDK's, and has its own node. */
TEST(ExclusiveCharacterDeviceTest, WhoHasItOpenIsFound)
{
    FileDescriptor mine(::open("/dev/full", O_RDWR | O_CLOEXEC));
    ASSERT_TRUE(mine);
    int fds[2];
    ASSERT_EQ(::pipe(fds), 0);
    pid_t child = ::fork();
    if (child == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        FileDescriptor theirs(::open("/dev/full", O_RDWR));
        (void) !::write(fds[1], "", 1);
        for (;;) {
            ::pause();
        }
    }
    char none;
    EXPECT_EQ(::read(fds[0], &none, 1), 1);
    ::close(fds[0]);
    ::close(fds[1]);
    alignas(8) std::array<uint8_t, 16> rings = {1};
    Status unused = check_unused(rings, mine.get(), "/dev/uio0");
    ASSERT_FALSE(unused);
    EXPECT_THAT(
        unused.error().message,
        HasSubstr("in use by process " + std::to_string(child) + " ("));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
}

} // namespace
} // namespace netvsc
