#include "driver/kernel/uio_mapping.h"

#include <system_error>

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14; glibc has it since 2.35. */
#endif

namespace netvsc {

FileDescriptor::~FileDescriptor()
{
    if (fd_ >= 0) {
        ::close(fd_);
    }
}

Result<WakeEvent>
WakeEvent::create(const std::string &path)
{
    FileDescriptor fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!fd) {
        int code = errno;
        return Error{code, "No eventfd could be made for " + path + " (" +
                               std::generic_category().message(code) +
                               "): raise the limit on open files."};
    }
    return WakeEvent(std::move(fd));
}

void
WakeEvent::wake() const noexcept
{
    uint64_t one = 1;
    /* Fails only when it would count beyond 2^64: it is set then. */
    (void) !::write(fd(), &one, sizeof one);
}

void
WakeEvent::clear() const noexcept
{
    uint64_t count;
    (void) !::read(fd(), &count, sizeof count);
}

Mapping::~Mapping()
{
    if (base_) {
        ::munmap(base_, length_);
    }
}

Result<Mapping>
Mapping::create(int fd, uint64_t at, uint64_t size, uint64_t skip,
                const std::string &what)
{
    auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
    Mapping mapping;
    mapping.length_ = (skip + size + page - 1) / page * page;
    void *base = ::mmap(nullptr, mapping.length_, PROT_READ | PROT_WRITE,
                        MAP_SHARED, fd, static_cast<off_t>(at));
    if (base == MAP_FAILED) {
        int code = errno;
        return Error{code, "The " + what + " cannot be mapped (" +
                               std::generic_category().message(code) + ")."};
    }
    mapping.base_ = base;
    mapping.span_ = {static_cast<uint8_t *>(base) + skip, size};
    /* A child of the switch that kept the mapping would keep the channel
     * open after the switch is gone (C.8). */
    ::madvise(base, mapping.length_, MADV_DONTFORK);
    return mapping;
}

Status
Mapping::populate(const std::string &what) const
{
    /* Fails with EFAULT if the device is being removed. */
    if (::madvise(base_, length_, MADV_POPULATE_READ) == 0) {
        return ok();
    }
    int code = errno;
    if (code == EFAULT) {
        return Error{ENODEV, "The " + what +
                                 " is gone: the host has just taken the "
                                 "adapter away."};
    }
    if (code != EINVAL) {
        return Error{code, "The " + what + " cannot be read (" +
                               std::generic_category().message(code) +
                               "): give the switch, or its control group, "
                               "more memory."};
    }
    /* A mapping that has all of its pages, or a kernel before 5.14, on which
     * a device that goes at this very moment is the SIGBUS. */
    auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    for (size_t at = 0; at < length_; at += page) {
        (void) static_cast<const volatile uint8_t *>(base_)[at];
    }
    return ok();
}

} // namespace netvsc
