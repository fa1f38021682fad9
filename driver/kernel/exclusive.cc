#include "driver/kernel/exclusive.h"

#include <atomic>
#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>

#include <errno.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace netvsc {

namespace fs = std::filesystem;

namespace {

/* "process 42 (ovs-vswitchd)". */
std::string
process_text(pid_t pid)
{
    std::string text = "process " + std::to_string(pid);
    std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
    std::string name;
    if (std::getline(file, name) && !name.empty()) {
        text += " (" + name + ")";
    }
    return text;
}

/* Another process that has locked the file: the kernel leaves out whom we
 * cannot see. */
std::optional<pid_t>
find_locker(const struct stat &file)
{
    const pid_t self = ::getpid();
    std::ifstream locks("/proc/locks");
    std::string line;
    while (std::getline(locks, line)) {
        int pid;
        unsigned major, minor;
        uint64_t inode;
        if (std::sscanf(line.c_str(), "%*d: FLOCK %*s %*s %d %x:%x:%" SCNu64,
                        &pid, &major, &minor, &inode) == 4 &&
            pid > 0 && pid != self && ::makedev(major, minor) == file.st_dev &&
            inode == file.st_ino) {
            return pid;
        }
    }
    return std::nullopt;
}

bool
has_open(pid_t pid, dev_t device)
{
    std::error_code error;
    fs::path fds = "/proc/" + std::to_string(pid) + "/fd";
    for (fs::directory_iterator i(fds, error), end; !error && i != end;
         i.increment(error)) {
        struct stat st;
        if (::stat(i->path().c_str(), &st) == 0 && S_ISCHR(st.st_mode) &&
            st.st_rdev == device) {
            return true;
        }
    }
    return false;
}

/* Another process that has the character device open, by any node.  Looks
 * first at the one that it found last: whoever waits for a device asks once a
 * second, and on a large machine it is many files to look at. */
std::optional<pid_t>
find_opener(dev_t device)
{
    static std::atomic<pid_t> last{0};
    const pid_t self = ::getpid();
    if (pid_t pid = last; pid > 0 && pid != self && has_open(pid, device)) {
        return pid;
    }
    std::error_code error;
    for (fs::directory_iterator i("/proc", error), end; !error && i != end;
         i.increment(error)) {
        int pid = std::atoi(i->path().filename().c_str());
        if (pid > 0 && pid != self && has_open(pid, device)) {
            last = pid;
            return pid;
        }
    }
    return std::nullopt;
}

Error
in_use(int fd, const std::string &path, const std::string &more)
{
    std::optional<pid_t> pid;
    struct stat st;
    if (::fstat(fd, &st) == 0) {
        pid = find_locker(st);
        if (!pid && S_ISCHR(st.st_mode)) {
            pid = find_opener(st.st_rdev);
        }
    }
    return {EBUSY, "Device " + path + " is in use by " +
                       (pid ? process_text(*pid)
                            : "another process, which cannot be seen from "
                              "here (it may be in another container)") +
                       ": end that process, or give one of the two another "
                       "network device." +
                       more};
}

} // namespace

Status
lock_exclusively(int fd, const std::string &path)
{
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) {
        return ok();
    }
    int code = errno;
    if (code == EWOULDBLOCK) {
        return in_use(fd, path, "");
    }
    return Error{code, "Device " + path + " cannot be locked (" +
                           std::generic_category().message(code) + ")."};
}

Status
check_unused(std::span<const uint8_t> rings, int fd, const std::string &path)
{
    /* Each ring begins with its write index and its read index (A.2), and
     * the kernel sets them to 0 as it opens the channel. */
    const uint8_t *ring = rings.data();
    for (size_t at : {size_t{0}, rings.size() / 2}) {
        auto *index = reinterpret_cast<const volatile uint32_t *>(ring + at);
        if (index[0] != 0 || index[1] != 0) {
            return in_use(fd, path,
                          "  If there is none: Linux before 4.20 never closes "
                          "a channel; unbind the device from uio_hv_generic "
                          "and bind it again.");
        }
    }
    return ok();
}

} // namespace netvsc
