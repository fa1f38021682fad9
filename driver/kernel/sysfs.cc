#include "driver/kernel/sysfs.h"

#include <array>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver/kernel/uio_mapping.h"

namespace netvsc {

namespace fs = std::filesystem;

const std::string &
system_root()
{
    /* Never destroyed: control threads outlive main(). */
    static const auto *root = new std::string([] {
        const char *value = std::getenv("NETVSC_SYSROOT");
        std::string path = value ? value : "";
        while (!path.empty() && path.back() == '/') {
            path.pop_back();
        }
        return path; /* "/" has become "": paths below start with "/". */
    }());
    return *root;
}

namespace {

constexpr char kDevices[] = "/sys/bus/vmbus/devices";
constexpr char kDriver[] = "uio_hv_generic";

/* What an attribute of sysfs has at most: a page. */
constexpr size_t kLongestAttribute = 4096;

/* Entries of a folder that are looked at: VMBus has as many channel ids. */
constexpr unsigned kMostEntries = wire::kMaxRelids;

/* Largest map: netvsc-host's own limit, and 32 times what the kernel makes.
 * Beyond it, a tree that lies could make us reserve any amount of memory. */
constexpr uint64_t kLargestMap = uint64_t{1} << 30;

/* Nodes that a kernel can have (CONFIG_NODES_SHIFT is 10 at the most). */
constexpr uint64_t kNumaNodes = 1024;

/* First line of an attribute, nothing if it cannot be read.  The main thread
 * reads it: whatever stands there (a FIFO, a file without end), this neither
 * blocks nor takes long. */
std::optional<std::string>
read_line(const std::string &path)
{
    FileDescriptor file(
        ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    struct stat st;
    if (!file || ::fstat(file.get(), &st) != 0 || !S_ISREG(st.st_mode)) {
        return std::nullopt;
    }
    std::array<char, kLongestAttribute> text;
    ssize_t n = ::read(file.get(), text.data(), text.size());
    if (n <= 0) {
        return std::nullopt;
    }
    std::string_view content(text.data(), static_cast<size_t>(n));
    return std::string(content.substr(0, content.find('\n')));
}

/* The whole of `text` as a number; sysfs writes "0x" before hex. */
std::optional<uint64_t>
parse_number(std::string_view text)
{
    int base = 10;
    if (text.starts_with("0x")) {
        text.remove_prefix(2);
        base = 16;
    }
    uint64_t value = 0;
    const char *end = text.data() + text.size();
    auto [last, error] = std::from_chars(text.data(), end, value, base);
    if (text.empty() || error != std::errc() || last != end) {
        return std::nullopt;
    }
    return value;
}

std::optional<uint64_t>
read_number(const std::string &path)
{
    auto line = read_line(path);
    return line ? parse_number(*line) : std::nullopt;
}

/* The driver that a device is bound to, "" if none. */
std::string
bound_driver(const std::string &device)
{
    std::error_code error;
    fs::path link = fs::read_symlink(device + "/driver", error);
    return error ? "" : link.filename().string();
}

bool
is_nic(const std::string &device)
{
    auto line = read_line(device + "/class_id");
    auto guid = line ? Guid::parse(*line) : std::nullopt;
    return guid && guid->str() == wire::kNicClassGuid;
}

/* N of the device's uio/uioN folder. */
std::optional<unsigned>
uio_number(const std::string &device)
{
    std::error_code error;
    unsigned entries = 0;
    for (fs::directory_iterator i(device + "/uio", error), end;
         !error && i != end && entries < kMostEntries;
         i.increment(error), entries++) {
        std::string name = i->path().filename();
        if (name.starts_with("uio")) {
            auto n = parse_number(std::string_view(name).substr(3));
            if (n && *n < UINT32_MAX) {
                return static_cast<unsigned>(*n);
            }
        }
    }
    return std::nullopt;
}

Error
bad_attribute(const std::string &path, const std::string &what)
{
    return {EPROTO, "The kernel's description of the device in " + path + " " +
                        what +
                        ": unbind the device from uio_hv_generic and bind "
                        "it again, or report the kernel version."};
}

/* Maps 3 and 4 carry their GPADL id in the name: "recv:921105" (C.3). */
std::optional<uint32_t>
gpadl_of(const std::string &name, std::string_view prefix)
{
    if (!name.starts_with(prefix)) {
        return std::nullopt;
    }
    auto id = parse_number(std::string_view(name).substr(prefix.size()));
    if (!id || *id == 0 || *id > UINT32_MAX) {
        return std::nullopt;
    }
    return static_cast<uint32_t>(*id);
}

Status
read_maps(DeviceInfo *info, const std::string &maps)
{
    for (unsigned i = 0; i < wire::kUioMaps; i++) {
        std::string path = maps + "/map" + std::to_string(i);
        auto name = read_line(path + "/name");
        auto size = read_number(path + "/size");
        if (!name || !size) {
            return bad_attribute(path, "cannot be read");
        }
        /* Both rings of a channel: each a control page and data. */
        uint64_t unit =
            i == wire::kUioMapRings ? 2 * wire::kPageSize : wire::kPageSize;
        uint64_t least = i == wire::kUioMapRings ? 2 * unit : unit;
        if (*size < least || *size % unit != 0 || *size > kLargestMap) {
            return bad_attribute(path, "has an impossible size");
        }
        uint64_t offset = read_number(path + "/offset").value_or(0);
        if (offset >= static_cast<uint64_t>(::sysconf(_SC_PAGESIZE))) {
            return bad_attribute(path, "begins outside of its first page");
        }
        info->maps[i] = {*name, *size, offset};
    }
    const std::string &rings = info->maps[wire::kUioMapRings].name;
    if (rings != wire::kUioMapNameRings ||
        info->maps[wire::kUioMapMonitorPage].name !=
            wire::kUioMapNameMonitorPage) {
        return bad_attribute(maps, "names other maps than a network device "
                                   "has");
    }
    auto receive = gpadl_of(info->maps[wire::kUioMapReceiveBuffer].name,
                            wire::kUioMapNameReceiveBuffer);
    auto send = gpadl_of(info->maps[wire::kUioMapSendBuffer].name,
                         wire::kUioMapNameSendBuffer);
    if (!receive || !send) {
        return bad_attribute(maps, "lacks the buffer handles of a network "
                                   "device");
    }
    info->receive_gpadl = *receive;
    info->send_gpadl = *send;
    return ok();
}

} // namespace

Result<DeviceInfo>
check_device(const Guid &guid)
{
    DeviceInfo info;
    const std::string &id = guid.str();
    info.sysfs_path = system_root() + kDevices + "/" + id;
    std::error_code error;
    if (!fs::exists(info.sysfs_path, error)) {
        return Error{ENOENT,
                     "There is no VMBus device " + id +
                         " on this machine: compare it with the names in " +
                         system_root() + kDevices +
                         ", or add the network adapter on the host."};
    }
    if (!is_nic(info.sysfs_path)) {
        return Error{ENODEV, "VMBus device " + id +
                                 " is not a network adapter: use the GUID of "
                                 "one, as in /sys/class/net/ethN/device."};
    }
    std::string driver = bound_driver(info.sysfs_path);
    if (driver != kDriver) {
        std::string bind =
            "hand it over with 'driverctl -b vmbus set-override " + id + " " +
            kDriver + "'.";
        if (driver.empty() && !read_number(info.sysfs_path + "/monitor_id")) {
            /* Kernels before 6.10, Debian 12's 6.1 among them (C.1). */
            return Error{ENODEV,
                         "Network device " + id +
                             " is bound to no driver, and the host offers it "
                             "without a monitor id, which " +
                             kDriver +
                             " takes only from Linux 6.10 on: boot such a "
                             "kernel, then " +
                             bind};
        }
        if (driver.empty()) {
            return Error{ENODEV, "Network device " + id +
                                     " is bound to no driver: " + bind};
        }
        return Error{EBUSY, "Network device " + id + " belongs to driver " +
                                driver + ", not to " + kDriver + ": " + bind};
    }

    auto uio = uio_number(info.sysfs_path);
    if (!uio) {
        return Error{ENODEV, "Network device " + id + " is bound to " +
                                 kDriver +
                                 " but has no uio entry: look at the "
                                 "kernel's messages for the reason."};
    }
    info.uio = *uio;
    std::string name = "uio" + std::to_string(info.uio);
    info.device_path = system_root() + "/dev/" + name;
    auto relid = read_number(info.sysfs_path + "/id");
    if (!relid || *relid == 0 || *relid >= wire::kMaxRelids) {
        return bad_attribute(info.sysfs_path + "/id", "has no channel id");
    }
    info.relid = static_cast<uint32_t>(*relid);
    /* Hidden when the host allocated none: not id 0 (H.2). */
    auto monitor = read_number(info.sysfs_path + "/monitor_id");
    if (monitor && *monitor < wire::kMonitorIds) {
        info.monitor_id = static_cast<uint32_t>(*monitor);
    }
    auto node = read_number(info.sysfs_path + "/numa_node");
    if (node && *node < kNumaNodes) {
        info.numa_node = static_cast<int>(*node);
    }
    if (Status status =
            read_maps(&info, info.sysfs_path + "/uio/" + name + "/maps");
        !status) {
        return status.error();
    }
    if (access(info.device_path.c_str(), R_OK | W_OK) != 0) {
        int code = errno;
        return Error{code, "Network device " + id + " cannot be opened as " +
                               info.device_path + " (" +
                               std::generic_category().message(code) +
                               "): give the user that runs ovs-vswitchd "
                               "read and write permission to it."};
    }
    return info;
}

std::vector<Guid>
list_nics()
{
    std::vector<Guid> nics;
    std::error_code error;
    std::string devices = system_root() + kDevices;
    unsigned entries = 0;
    for (fs::directory_iterator i(devices, error), end;
         !error && i != end && entries < kMostEntries;
         i.increment(error), entries++) {
        auto guid = Guid::parse(i->path().filename().string());
        if (guid && is_nic(i->path())) {
            nics.push_back(*guid);
        }
    }
    return nics;
}

} // namespace netvsc
