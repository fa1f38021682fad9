#include "host/base/log.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <map>
#include <mutex>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "host/base/error.h"

namespace netvsc::host {

namespace {

constexpr uint64_t kNsPerSecond = 1'000'000'000;

int log_fd = STDERR_FILENO;

/* By subject: a NIC, or the whole bus.  The operator names them, so a guest
 * cannot make more. */
std::mutex allowances_mutex;
std::map<std::string, LogAllowance, std::less<>> allowances;

} // namespace

void
open_log(const std::string &path)
{
    int fd =
        open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0) {
        throw_errno("Cannot open the log file " + path);
    }
    if (log_fd != STDERR_FILENO) {
        close(log_fd);
    }
    log_fd = fd;
}

void
log(std::string_view subject, std::string_view text)
{
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    tm local{};
    localtime_r(&now.tv_sec, &local);
    char stamp[32];
    size_t length = strftime(stamp, sizeof stamp, "%F %T", &local);
    char millis[24];
    std::snprintf(millis, sizeof millis, ".%03ld", now.tv_nsec / 1000000);

    std::string line(stamp, length);
    line.append(millis).append(" ").append(subject).append(": ");
    line.append(text).append("\n");

    /* One write() for each line keeps the lines of all threads whole; a full
     * disk must not stop a NIC. */
    if (write(log_fd, line.data(), line.size()) < 0) {
        return;
    }
}

void
log_guest(std::string_view subject, std::string_view text)
{
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    std::optional<uint64_t> left_out;
    {
        std::lock_guard lock(allowances_mutex);
        auto found = allowances.find(subject);
        if (found == allowances.end()) {
            found = allowances.emplace(subject, LogAllowance()).first;
        }
        left_out = found->second.take(static_cast<uint64_t>(now.tv_sec) *
                                          kNsPerSecond +
                                      static_cast<uint64_t>(now.tv_nsec));
    }
    if (left_out && *left_out) {
        log(subject, std::to_string(*left_out) +
                         " lines were left out here: the guest does more than "
                         "the log takes");
    }
    if (left_out) {
        log(subject, text);
    }
}

std::optional<uint64_t>
LogAllowance::take(uint64_t now_ns)
{
    constexpr uint64_t kNsPerLine = kNsPerSecond / kPerSecond;
    uint64_t earned = (now_ns - since_ns_) / kNsPerLine;
    since_ns_ += earned * kNsPerLine;
    lines_ = std::min(kAtOnce, lines_ + std::min(earned, kAtOnce));
    if (!lines_) {
        left_out_++;
        return std::nullopt;
    }
    lines_--;
    return std::exchange(left_out_, 0);
}

} // namespace netvsc::host
