/* The directory of one host: only one process at a time serves it, and a
 * successor knows what a dead one left. */

#pragma once

#include <filesystem>

#include "host/base/unique_fd.h"

namespace netvsc::host {

/* Below a root: where its host takes commands. */
inline constexpr char kControlSocket[] = "netvsc-host.ctl";

class RootLock {
public:
    /* Locks `root`, which exists.  Throws HostError while another host lives
     * there. */
    explicit RootLock(const std::filesystem::path &root);
    /* Removes the lock file. */
    ~RootLock();
    RootLock(const RootLock &) = delete;
    RootLock &operator=(const RootLock &) = delete;

    /* A host died here: what it made is still there. */
    [[nodiscard]] bool
    found_dead() const
    {
        return found_dead_;
    }

private:
    std::filesystem::path path_;
    UniqueFd fd_;
    bool found_dead_ = false;
};

} // namespace netvsc::host
