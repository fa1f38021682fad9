#include "host/base/unique_fd.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "host/base/error.h"

namespace netvsc::host {

SharedMemory::SharedMemory(const std::string &name, size_t size)
    : fd_(memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING))
{
    if (!fd_) {
        throw_errno("Cannot create the shared memory " + name);
    }
    if (ftruncate(fd_.get(), static_cast<off_t>(size)) < 0) {
        throw_errno("Cannot size the shared memory " + name);
    }
    if (fcntl(fd_.get(), F_ADD_SEALS,
              F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
        throw_errno("Cannot seal the shared memory " + name);
    }
    void *at =
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
    if (at == MAP_FAILED) {
        throw_errno("Cannot map the shared memory " + name);
    }
    bytes_ = {static_cast<std::byte *>(at), size};
}

SharedMemory::~SharedMemory()
{
    munmap(bytes_.data(), bytes_.size());
}

} // namespace netvsc::host
