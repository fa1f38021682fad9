#include "host/uio/tree.h"

#include <fcntl.h>

#include "host/base/error.h"
#include "wire/vmbus.h"

namespace netvsc::host {

namespace fs = std::filesystem;

namespace {

/* As the kernel prints them for the VMBus (C.2): Microsoft, and the class's
 * place in its table of devices. */
constexpr char kVendor[] = "0x1414";
constexpr char kDevice[] = "0x3";
/* "vmbus:" and the class GUID in its mixed-endian byte order (B.3.1). */
constexpr char kModalias[] = "vmbus:635161f83edfc546913ff2d2f965ed0e";
/* The number of uio's first dynamic major on common kernels; nothing opens it
 * by number. */
constexpr char kUioMajor[] = "240:";

/* A file's new content appears by rename: whole, under the old name. */
void
write_file(const fs::path &path, const std::string &line)
{
    fs::path temporary = path;
    temporary += ".new";
    UniqueFd fd(open(temporary.c_str(),
                     O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0444));
    std::string text = line + "\n";
    if (!fd || write(fd.get(), text.data(), text.size()) !=
                   static_cast<ssize_t>(text.size())) {
        throw_errno("Cannot write " + path.string());
    }
    fs::rename(temporary, path);
}

void
replace_link(const fs::path &target, const fs::path &path)
{
    fs::path temporary = path;
    temporary += ".new";
    fs::remove(temporary);
    fs::create_symlink(target, temporary);
    fs::rename(temporary, path);
}

std::string
hex(uint64_t value)
{
    char text[19];
    std::snprintf(text, sizeof text, "0x%016llx",
                  static_cast<unsigned long long>(value));
    return text;
}

/* The file of a channel's rings. */
constexpr char kRing[] = "ring";

/* The primary's ring file: guests look whether it is there, and map its
 * rings through uio (C.6). */
void
write_ring(const fs::path &path)
{
    UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!fd || ftruncate(fd.get(), wire::kUioRingsSize) < 0) {
        throw_errno("Cannot create " + path.string());
    }
}

void
write_maps(const fs::path &dir, const DeviceEntry &entry)
{
    const struct {
        std::string name;
        uint64_t size;
    } maps[wire::kUioMaps] = {
        {wire::kUioMapNameRings, wire::kUioRingsSize},
        {wire::kUioMapNameInterruptPage, wire::kPageSize},
        {wire::kUioMapNameMonitorPage, wire::kPageSize},
        {wire::kUioMapNameReceiveBuffer +
             std::to_string(entry.info.receive_gpadl),
         entry.config.receive_buffer},
        {wire::kUioMapNameSendBuffer + std::to_string(entry.info.send_gpadl),
         entry.config.send_buffer},
    };
    for (unsigned i = 0; i < wire::kUioMaps; i++) {
        fs::path map = dir / ("map" + std::to_string(i));
        fs::create_directories(map);
        write_file(map / "name", maps[i].name);
        write_file(map / "addr", hex(0));
        write_file(map / "size", hex(maps[i].size));
        write_file(map / "offset", "0x0");
    }
}

/* The name of what is being put together or taken apart: sysfs names never
 * begin with a dot. */
fs::path
hidden(const fs::path &place)
{
    return place.parent_path() / ("." + place.filename().string());
}

} // namespace

/* --- The root ---------------------------------------------------------- */

SysfsTree::SysfsTree(const std::string &root)
{
    try {
        fs::create_directories(root);
        root_ = fs::canonical(root);
        lock_.emplace(root_);
        if (lock_->found_dead()) {
            clear();
        } else if (fs::exists(root_ / "sys") || fs::exists(root_ / "dev")) {
            throw HostError(root_.string() +
                            " has a sys or dev directory that no netvsc-host "
                            "made; choose an empty directory with --root.");
        }
        for (const char *dir :
             {"dev", "sys/bus/vmbus/devices",
              "sys/bus/vmbus/drivers/uio_hv_generic",
              "sys/bus/vmbus/drivers/hv_netvsc", "sys/class/uio",
              "sys/module/uio_hv_generic"}) {
            fs::create_directories(root_ / dir);
        }
    } catch (const fs::filesystem_error &error) {
        throw HostError("Cannot lay out the tree in " + root + ": " +
                        error.code().message() + ".");
    }
}

SysfsTree::~SysfsTree()
{
    clear(); /* While it is still locked. */
}

void
SysfsTree::clear()
{
    std::error_code ignored;
    for (const char *name : {"sys", "dev", kControlSocket}) {
        fs::remove_all(root_ / name, ignored);
    }
    /* Nobody can reach the directory's devices any more, and an empty root
     * may be one that the operator made: it stays. */
}

fs::path
SysfsTree::device(const std::string &guid) const
{
    return root_ / "sys/bus/vmbus/devices" / guid;
}

/* --- Devices ----------------------------------------------------------- */

void
SysfsTree::add(const DeviceEntry &entry)
{
    const std::string &guid = entry.config.guid;
    fs::path dir = hidden(device(guid));
    std::string relid = std::to_string(entry.info.relid);
    std::string monitor = std::to_string(entry.info.monitor_id);

    fs::remove_all(dir);
    fs::create_directories(dir / "channels" / relid);
    write_file(dir / "class_id", "{" + std::string(wire::kNicClassGuid) + "}");
    write_file(dir / "device_id", "{" + guid + "}");
    write_file(dir / "id", relid);
    if (entry.config.monitor) {
        /* Hidden from a channel that has none (C.2). */
        write_file(dir / "monitor_id", monitor);
        write_file(dir / "channels" / relid / "monitor_id", monitor);
    }
    write_file(dir / "state", std::to_string(kStateOffered));
    write_file(dir / "numa_node", "0");
    write_file(dir / "vendor", kVendor);
    write_file(dir / "device", kDevice);
    write_file(dir / "modalias", kModalias);
    write_file(dir / "channel_vp_mapping", relid + ":0");
    write_file(dir / "driver_override", "(null)");
    write_file(dir / "channels" / relid / "subchannel_id", "0");
    write_file(dir / "channels" / relid / "cpu", "0");
    write_bound(entry, dir);
    fs::rename(dir, device(guid));
}

void
SysfsTree::remove(const std::string &guid)
{
    forget_bound(guid);
    fs::path gone = hidden(device(guid));
    fs::remove_all(gone);
    fs::rename(device(guid), gone);
    fs::remove_all(gone);
}

void
SysfsTree::rebind(const DeviceEntry &entry)
{
    fs::path dir = device(entry.config.guid);
    forget_bound(entry.config.guid);
    fs::remove(dir / "driver");
    fs::remove_all(dir / "uio");
    fs::remove(dir / "channels" / std::to_string(entry.info.relid) / kRing);
    write_file(dir / "state", std::to_string(kStateOffered));
    write_bound(entry, dir);
}

/* What the binding to a driver adds to the device in `dir`; the `driver` link
 * comes last, since it is what guests look at first. */
void
SysfsTree::write_bound(const DeviceEntry &entry, const fs::path &dir)
{
    const NicConfig &config = entry.config;
    if (config.driver == DriverBinding::kNone) {
        return;
    }
    if (config.driver == DriverBinding::kUioHvGeneric) {
        std::string number = std::to_string(entry.uio_number);
        std::string name = "uio" + number;
        fs::path uio = dir / "uio" / name;
        write_ring(dir / "channels" / std::to_string(entry.info.relid) /
                   kRing);
        write_maps(uio / "maps", entry);
        write_file(uio / "name", "uio_hv_generic");
        write_file(uio / "dev", kUioMajor + number);
        replace_link(fs::path("../../bus/vmbus/devices") / config.guid /
                         "uio" / name,
                     root_ / "sys/class/uio" / name);
        write_file(dir / "state", std::to_string(kStateNotOpened));
    }
    std::string driver = to_text(config.driver);
    replace_link(fs::path("../../devices") / config.guid,
                 root_ / "sys/bus/vmbus/drivers" / driver / config.guid);
    replace_link(fs::path("../../drivers") / driver, dir / "driver");
}

/* The links to the device from elsewhere. */
void
SysfsTree::forget_bound(const std::string &guid)
{
    for (const char *driver : {"uio_hv_generic", "hv_netvsc"}) {
        fs::remove(root_ / "sys/bus/vmbus/drivers" / driver / guid);
    }
    std::error_code none;
    for (const auto &uio :
         fs::directory_iterator(device(guid) / "uio", none)) {
        fs::remove(root_ / "sys/class/uio" / uio.path().filename());
    }
}

void
SysfsTree::set_state(const std::string &guid, unsigned state) const
{
    write_file(device(guid) / "state", std::to_string(state));
}

/* --- Sub-channels ------------------------------------------------------ */

fs::path
SysfsTree::channel(const std::string &guid, uint32_t relid) const
{
    return device(guid) / "channels" / std::to_string(relid);
}

void
SysfsTree::add_channel(const std::string &guid,
                       const ChannelEntry &entry) const
{
    fs::path place = channel(guid, entry.relid);
    fs::path dir = hidden(place);
    try {
        /* Not its parents: those of a removed device stay away. */
        fs::create_directory(dir);
        write_file(dir / "subchannel_id", std::to_string(entry.index));
        write_file(dir / "cpu", "0");
        if (entry.monitor_id) {
            write_file(dir / "monitor_id", std::to_string(*entry.monitor_id));
        }
        fs::rename(dir, place);
    } catch (const fs::filesystem_error &error) {
        throw HostError("Cannot show a sub-channel in " + place.string() +
                        ": " + error.code().message() + ".");
    }
}

UniqueFd
SysfsTree::create_rings(const std::string &guid, uint32_t relid) const
{
    fs::path path = hidden(channel(guid, relid) / kRing);
    UniqueFd fd(
        open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!fd || ftruncate(fd.get(), wire::kUioRingsSize) < 0) {
        throw_errno("Cannot create " + path.string());
    }
    return fd;
}

void
SysfsTree::show_rings(const std::string &guid, uint32_t relid) const
{
    fs::path path = channel(guid, relid) / kRing;
    std::error_code error;
    fs::rename(hidden(path), path, error);
    if (error) {
        throw HostError("Cannot show " + path.string() + ": " +
                        error.message() + ".");
    }
}

void
SysfsTree::remove_channel(const std::string &guid, uint32_t relid) const
{
    fs::path place = channel(guid, relid);
    std::error_code gone;
    fs::rename(place, hidden(place), gone);
    fs::remove_all(hidden(place), gone);
}

void
SysfsTree::show_channels(const std::string &guid) const
{
    std::error_code gone;
    if (!fs::exists(device(guid), gone)) {
        return;
    }
    std::string lines;
    for (const auto &entry :
         fs::directory_iterator(device(guid) / "channels", gone)) {
        std::string relid = entry.path().filename();
        if (relid[0] != '.') {
            lines += (lines.empty() ? "" : "\n") + relid + ":0";
        }
    }
    write_file(device(guid) / "channel_vp_mapping", lines);
}

} // namespace netvsc::host
