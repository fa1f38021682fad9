#include "host/base/root_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "host/base/error.h"

namespace netvsc::host {

namespace fs = std::filesystem;

RootLock::RootLock(const fs::path &root) : path_(root / "netvsc-host.lock")
{
    struct stat held {};
    struct stat named {};
    do {
        found_dead_ = fs::exists(path_);
        fd_ =
            UniqueFd(open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
        if (!fd_) {
            throw_errno("Cannot create " + path_.string());
        }
        if (flock(fd_.get(), LOCK_EX | LOCK_NB) < 0) {
            throw HostError("Another netvsc-host serves " + root.string() +
                            "; end it with 'netvsc-host ctl --root " +
                            root.string() + " quit'.");
        }
        /* A host that just ended may have removed the file in between. */
    } while (fstat(fd_.get(), &held) < 0 || stat(path_.c_str(), &named) < 0 ||
             held.st_ino != named.st_ino);
}

RootLock::~RootLock()
{
    /* While it is still locked. */
    std::error_code ignored;
    fs::remove(path_, ignored);
}

} // namespace netvsc::host
