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
    struct stat st;
    if (::stat(info.device_path.c_str(), &st) != 0) {
        int code = errno;
        return Error{code, "Device " + info.device_path +
                               " cannot be opened (" +
                               std::generic_category().message(code) + ")."};
    }
    return S_ISSOCK(st.st_mode) ? open_uio_socket(info)
                                : open_uio_chardev(info);
}

} // namespace netvsc
