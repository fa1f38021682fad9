/* The sysfs tree of the emulated machine below the host's root directory (C.2,
 * C.3).
 *
 * It is read-only to guests.  A file is replaced by rename, a device appears
 * and goes as a whole, so that nobody ever reads half of anything. */

#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "host/base/root_lock.h"
#include "host/config.h"
#include "host/nic.h"

namespace netvsc::host {

/* Numbers of `state`. */
inline constexpr unsigned kStateOffered = 0;
inline constexpr unsigned kStateNotOpened = 2;
inline constexpr unsigned kStateOpened = 3;

struct DeviceEntry {
    NicConfig config;
    ChannelInfo info;
    uint32_t uio_number; /* When bound to uio_hv_generic. */
};

struct ChannelEntry {
    uint32_t index;
    uint32_t relid;
    std::optional<uint32_t> monitor_id;
};

class SysfsTree {
public:
    /* Takes `root` (created if needed) over: refuses it while another host
     * lives there, removes what a dead one left, and refuses a root whose
     * sys or dev are not a host's.  Throws HostError. */
    explicit SysfsTree(const std::string &root);
    /* Removes everything it made. */
    ~SysfsTree();
    SysfsTree(const SysfsTree &) = delete;
    SysfsTree &operator=(const SysfsTree &) = delete;

    [[nodiscard]] std::string
    dev_dir() const
    {
        return root_ / "dev";
    }
    [[nodiscard]] std::string
    control_path() const
    {
        return root_ / kControlSocket;
    }

    /* The device as it looks with the binding in its configuration. */
    void add(const DeviceEntry &entry);
    void remove(const std::string &guid);
    /* Changes the binding; `entry` has the new one. */
    void rebind(const DeviceEntry &entry);
    /* This and what follows: any thread, as long as the device is there. */
    void set_state(const std::string &guid, unsigned state) const;

    /* A sub-channel of a device: first its directory, ... */
    void add_channel(const std::string &guid, const ChannelEntry &entry) const;
    /* ... the file of its rings, zeroed, which nobody sees yet, ... */
    [[nodiscard]] UniqueFd create_rings(const std::string &guid,
                                        uint32_t relid) const;
    /* ... and that file under its name. */
    void show_rings(const std::string &guid, uint32_t relid) const;
    /* All of it goes; it may be gone with its device already. */
    void remove_channel(const std::string &guid, uint32_t relid) const;
    /* Writes which channels there are where the device says it. */
    void show_channels(const std::string &guid) const;

private:
    void clear();
    [[nodiscard]] std::filesystem::path channel(const std::string &guid,
                                                uint32_t relid) const;
    void write_bound(const DeviceEntry &entry,
                     const std::filesystem::path &dir);
    void forget_bound(const std::string &guid);
    [[nodiscard]] std::filesystem::path device(const std::string &guid) const;

    std::filesystem::path root_;
    std::optional<RootLock> lock_;
};

} // namespace netvsc::host
