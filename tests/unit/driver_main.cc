/* main() of the driver's unit tests: gives the process a system root of its
 * own, which driver/kernel/sysfs.h reads only once. */

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace {

/* A folder that goes away with this process, however it ends: a child waits
 * for the other end of a pipe to close. */
class SystemRoot {
public:
    SystemRoot()
    {
        const char *tmp = std::getenv("TMPDIR");
        path_ = std::string(tmp ? tmp : "/tmp") + "/netvsc-driver-XXXXXX";
        int fds[2];
        if (!::mkdtemp(path_.data()) || ::pipe2(fds, O_CLOEXEC) != 0) {
            std::perror("netvsc test directory");
            std::exit(1);
        }
        /* One test looks at it as another user. */
        std::filesystem::permissions(
            path_, static_cast<std::filesystem::perms>(0755));
        keeper_ = ::fork();
        if (keeper_ == 0) {
            ::setsid();
            ::close(fds[1]);
            char none;
            while (::read(fds[0], &none, 1) < 0) {
            }
            std::error_code error;
            std::filesystem::remove_all(path_, error);
            ::_exit(0);
        }
        ::close(fds[0]);
        pipe_ = fds[1];
        ::setenv("NETVSC_SYSROOT", path_.c_str(), 1);
    }
    ~SystemRoot()
    {
        ::close(pipe_);
        ::waitpid(keeper_, nullptr, 0);
    }

private:
    std::string path_;
    pid_t keeper_;
    int pipe_;
};

} // namespace

int
main(int argc, char **argv)
{
    testing::InitGoogleTest(&argc, argv);
    SystemRoot root;
    return RUN_ALL_TESTS();
}
