/* Unix sockets at paths of any length, and descriptors over them. */

#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

#include "host/base/bytes.h"
#include "host/base/unique_fd.h"

namespace netvsc::host {

/* A non-blocking listener at `path`, whose directory exists; what stands there
 * is replaced.  Throws HostError. */
[[nodiscard]] UniqueFd listen_at(const std::string &path, int type);
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
