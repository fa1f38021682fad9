/* Small owners of kernel objects that both forms of Uio need. */

#pragma once

#include <span>
#include <string>
#include <utility>

#include <cstdint>

#include "driver/error.h"

namespace netvsc {

/* A file descriptor, closed when dropped. */
class FileDescriptor {
public:
    FileDescriptor() = default;
    explicit FileDescriptor(int fd) : fd_(fd) {}
    FileDescriptor(FileDescriptor &&other) noexcept
        : fd_(std::exchange(other.fd_, -1))
    {
    }
    FileDescriptor &
    operator=(FileDescriptor &&other) noexcept
    {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~FileDescriptor();

    int
    get() const noexcept
    {
        return fd_;
    }
    explicit operator bool() const noexcept { return fd_ >= 0; }

private:
    int fd_ = -1;
};

/* What ends a wait in poll() from another thread. */
class WakeEvent {
public:
    /* `path`: the device, for the error. */
    static Result<WakeEvent> create(const std::string &path);

    /* For poll(): readable once wake() was called. */
    int
    fd() const noexcept
    {
        return fd_.get();
    }
    void wake() const noexcept;
    void clear() const noexcept;

private:
    explicit WakeEvent(FileDescriptor fd) : fd_(std::move(fd)) {}
    FileDescriptor fd_;
};

/* A shared mapping, unmapped when dropped. */
class Mapping {
public:
    Mapping() = default;
    Mapping(Mapping &&other) noexcept
        : base_(std::exchange(other.base_, nullptr)), length_(other.length_),
          span_(other.span_)
    {
    }
    Mapping &
    operator=(Mapping &&other) noexcept
    {
        std::swap(base_, other.base_);
        std::swap(length_, other.length_);
        std::swap(span_, other.span_);
        return *this;
    }
    ~Mapping();

    /* Maps `size` bytes of `fd` at file offset `at`; `skip` bytes of the
     * first page come before the content. */
    static Result<Mapping> create(int fd, uint64_t at, uint64_t size,
                                  uint64_t skip, const std::string &what);

    /* Has the kernel provide every page now.  A page that is touched for the
     * first time after the device has gone is a SIGBUS, which takes the
     * switch down. */
    [[nodiscard]] Status populate(const std::string &what) const;

    std::span<uint8_t>
    span() const noexcept
    {
        return span_;
    }

private:
    void *base_ = nullptr;
    size_t length_ = 0;
    std::span<uint8_t> span_;
};

} // namespace netvsc
