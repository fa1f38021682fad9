/* Unix sockets at paths of any length, and descriptors over them. */

#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

#include "host/base/bytes.h"
#include "host/base/unique_fd.h"

namespace netvsc::host {

/* Where others connect.  Only the owner of the host's process can, as with a
 * device that the kernel makes. */
class Listener {
public:
    Listener() = default;
    /* At `path`, whose directory exists; what stands there is replaced.
     * Throws HostError. */
    Listener(const std::string &path, int type);

    [[nodiscard]] int
    fd() const
    {
        return socket_.get();
    }
    [[nodiscard]] explicit operator bool() const
    {
        return static_cast<bool>(socket_);
    }
    /* The next connection, non-blocking.  None when there is none, or no
     * descriptor for it: then it is hung up on, as one that waits would wake
     * the loop again and again. */
    [[nodiscard]] UniqueFd accept();

private:
    UniqueFd socket_;
    UniqueFd spare_; /* Gives way to a connection to hang up on. */
};

/* A blocking connection.  Throws HostError. */
[[nodiscard]] UniqueFd connect_to(const std::string &path, int type);

/* Process at the other end, or 0. */
[[nodiscard]] pid_t peer_pid(int fd);

/* One message and the descriptors that came with it; the result of recvmsg().
 * Never blocks. */
[[nodiscard]] ssize_t receive_with_fds(int fd, MutableBytes buffer,
                                       std::vector<UniqueFd> &fds);
/* False when the other end did not take it at once. */
[[nodiscard]] bool send_with_fds(int fd, Bytes message,
                                 std::span<const int> fds);

} // namespace netvsc::host
