#include "driver/kernel/uio.h"

#include <algorithm>
#include <system_error>

#include <errno.h>
#include <sys/stat.h>

#include "driver/kernel/uio_chardev.h"
#include "driver/kernel/uio_socket.h"

namespace netvsc {

int
Uio::poll_timeout(Clock::time_point deadline)
{
    /* A wait for ever is many long ones: poll() counts in an int. */
    constexpr std::chrono::hours kLongest{1};
    auto now = Clock::now();
    if (deadline <= now) {
        return 0;
    }
    auto left = std::min<Clock::duration>(deadline - now, kLongest);
    return static_cast<int>(
        std::chrono::ceil<std::chrono::milliseconds>(left).count());
}

Result<std::unique_ptr<Uio>>
open_uio(const DeviceInfo &info)
{
    const std::string &path = info.device_path;
    struct stat st;
    /* lstat(): what a link points to is not what sysfs speaks of. */
    if (::lstat(path.c_str(), &st) != 0) {
        int code = errno;
        return Error{code, "Device " + path + " cannot be opened (" +
                               std::generic_category().message(code) + ")."};
    }
    if (S_ISSOCK(st.st_mode)) {
        return open_uio_socket(info);
    }
    if (!system_root().empty()) {
        /* Who may write below the emulated root is not who may name the
         * kernel's devices, nor files to be written as if they were. */
        return Error{ENODEV, "Device " + path +
                                 " is no socket of netvsc-host: start it "
                                 "with this directory as its --root, or "
                                 "unset NETVSC_SYSROOT to use the devices of "
                                 "this machine."};
    }
    return open_uio_chardev(info);
}

} // namespace netvsc
