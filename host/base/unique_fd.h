/* Owners of file descriptors and of mapped memory. */

#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include <unistd.h>

namespace netvsc::host {

/* Owns one descriptor, or none (-1). */
class UniqueFd {
public:
    UniqueFd() = default;
    explicit UniqueFd(int fd) : fd_(fd) {}
    UniqueFd(UniqueFd &&other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    UniqueFd &
    operator=(UniqueFd &&other) noexcept
    {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~UniqueFd()
    {
        if (fd_ >= 0) {
            close(fd_);
        }
    }

    explicit operator bool() const { return fd_ >= 0; }
    [[nodiscard]] int
    get() const
    {
        return fd_;
    }
    /* Whoever asks owns it from now on. */
    [[nodiscard]] int
    release()
    {
        return std::exchange(fd_, -1);
    }

private:
    int fd_ = -1;
};

/* A memfd and its mapping: memory shared with a guest.  It is sealed, so that
 * nobody who has the descriptor can shrink it under the host. */
class SharedMemory {
public:
    /* `size` bytes, zeroed.  Throws HostError. */
    SharedMemory(const std::string &name, size_t size);
    SharedMemory(const SharedMemory &) = delete;
    SharedMemory &operator=(const SharedMemory &) = delete;
    ~SharedMemory();

    [[nodiscard]] int
    fd() const
    {
        return fd_.get();
    }
    [[nodiscard]] std::span<std::byte>
    bytes() const
    {
        return bytes_;
    }

private:
    UniqueFd fd_;
    std::span<std::byte> bytes_;
};

} // namespace netvsc::host
