#include "host/base/log.h"

#include <cstdio>
#include <ctime>
#include <fcntl.h>
#include <unistd.h>

#include "host/base/error.h"

namespace netvsc::host {

namespace {

int log_fd = STDERR_FILENO;

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

} // namespace netvsc::host
