#include "driver/kernel/uio_chardev.h"

#include <array>
#include <system_error>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver/kernel/exclusive.h"
#include "driver/kernel/uio_mapping.h"

namespace netvsc {

namespace {

class UioChardev final : public Uio {
public:
    UioChardev(FileDescriptor device, WakeEvent wake)
        : device_(std::move(device)), wake_(std::move(wake))
    {
    }

    Status map_all(const DeviceInfo &info);

    std::span<uint8_t>
    map(unsigned i) noexcept override
    {
        return maps_[i].span();
    }
    Event wait(Clock::time_point deadline) override;
    void
    wake() noexcept override
    {
        wake_.wake();
    }
    void
    irq_control(bool unmask) noexcept override
    {
        int32_t value = unmask;
        (void) !::write(device_.get(), &value, sizeof value);
    }

private:
    FileDescriptor device_;
    WakeEvent wake_;
    std::array<Mapping, wire::kUioMaps> maps_;
};

Status
UioChardev::map_all(const DeviceInfo &info)
{
    auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
    for (unsigned i = 0; i < wire::kUioMaps; i++) {
        const std::string what = info.maps[i].name + " of " + info.device_path;
        /* The offset selects the map, never a place inside it (C.3). */
        auto mapping =
            Mapping::create(device_.get(), i * page, info.maps[i].size,
                            info.maps[i].offset, what);
        if (!mapping) {
            return mapping.error();
        }
        if (Status status = mapping->populate(what); !status) {
            return status;
        }
        maps_[i] = std::move(*mapping);
        if (i == wire::kUioMapRings) {
            Status unused =
                check_unused(maps_[i].span(), device_.get(), info.device_path);
            if (!unused) {
                return unused;
            }
        }
    }
    return ok();
}

Uio::Event
UioChardev::wait(Clock::time_point deadline)
{
    pollfd fds[] = {{device_.get(), POLLIN, 0}, {wake_.fd(), POLLIN, 0}};
    int n = ::poll(fds, 2, poll_timeout(deadline));
    if (n <= 0) {
        return Event::kTimeout;
    }
    if (fds[1].revents) {
        wake_.clear();
        return Event::kWoken;
    }
    /* After a rescind the kernel's poll answers with the bits of -EIO, and
     * read() fails with it (C.4). */
    int32_t count;
    if ((fds[0].revents & (POLLERR | POLLHUP)) ||
        ::read(device_.get(), &count, sizeof count) != sizeof count) {
        return Event::kRemoved;
    }
    return Event::kInterrupt;
}

} // namespace

Result<std::unique_ptr<Uio>>
open_uio_chardev(const DeviceInfo &info)
{
    FileDescriptor device(
        ::open(info.device_path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
    if (!device) {
        int code = errno;
        std::string why = std::generic_category().message(code);
        return Error{code, code == EAGAIN
                               ? "The host refused to open the channel of " +
                                     info.device_path +
                                     ": look at the adapter's state there."
                               : "Device " + info.device_path +
                                     " cannot be opened (" + why + ")."};
    }
    struct stat st;
    if (::fstat(device.get(), &st) != 0 || !S_ISCHR(st.st_mode)) {
        return Error{ENODEV, "Device " + info.device_path +
                                 " is no character device: delete it, and "
                                 "have udev, or what stands in for it in a "
                                 "container, make the kernel's again."};
    }
    Status locked = lock_exclusively(device.get(), info.device_path);
    if (!locked) {
        return locked.error();
    }
    auto wake = WakeEvent::create(info.device_path);
    if (!wake) {
        return wake.error();
    }
    auto uio =
        std::make_unique<UioChardev>(std::move(device), std::move(*wake));
    if (Status status = uio->map_all(info); !status) {
        return status.error();
    }
    return std::unique_ptr<Uio>(std::move(uio));
}

} // namespace netvsc
