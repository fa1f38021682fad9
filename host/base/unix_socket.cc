#include "host/base/unix_socket.h"

#include <cstring>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "host/base/error.h"

namespace netvsc::host {

namespace {

/* Descriptors of one message: more than anything here carries. */
constexpr size_t kMaxFds = 16;

/* An address that fits sun_path however long the directory's name is: through
 * a descriptor of the directory, which must stay open while it is used. */
struct ShortAddress {
    UniqueFd directory;
    sockaddr_un address{};

    explicit ShortAddress(const std::string &path)
    {
        size_t slash = path.rfind('/');
        std::string parent =
            slash == std::string::npos ? "." : path.substr(0, slash + 1);
        directory =
            UniqueFd(open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
        if (!directory) {
            throw_errno("Cannot open the directory " + parent);
        }
        std::string name = "/proc/self/fd/" + std::to_string(directory.get()) +
                           "/" + path.substr(slash + 1);
        if (name.size() >= sizeof address.sun_path) {
            throw HostError("The socket name " + path + " is too long.");
        }
        address.sun_family = AF_UNIX;
        name.copy(address.sun_path, sizeof address.sun_path - 1);
    }
    [[nodiscard]] const sockaddr *
    get() const
    {
        return reinterpret_cast<const sockaddr *>(&address);
    }
};

/* A descriptor that is always there to be had. */
UniqueFd
open_spare()
{
    return UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC));
}

} // namespace

Listener::Listener(const std::string &path, int type)
    : socket_(socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)),
      spare_(open_spare())
{
    ShortAddress address(path);
    unlink(path.c_str());
    /* bind() gives the file the socket's own mode, so it never has another,
     * whatever the umask. */
    if (!socket_ || fchmod(socket_.get(), S_IRUSR | S_IWUSR) < 0 ||
        bind(socket_.get(), address.get(), sizeof address.address) < 0 ||
        listen(socket_.get(), SOMAXCONN) < 0) {
        throw_errno("Cannot listen at " + path);
    }
}

UniqueFd
Listener::accept()
{
    auto next = [this] {
        return UniqueFd(accept4(socket_.get(), nullptr, nullptr,
                                SOCK_CLOEXEC | SOCK_NONBLOCK));
    };
    if (!spare_) {
        spare_ = open_spare();
    }
    UniqueFd connection = next();
    if (!connection && (errno == EMFILE || errno == ENFILE)) {
        spare_ = UniqueFd();
        next();
        spare_ = open_spare();
    }
    return connection;
}

UniqueFd
connect_to(const std::string &path, int type)
{
    UniqueFd fd(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    ShortAddress address(path);
    if (!fd || connect(fd.get(), address.get(), sizeof address.address) < 0) {
        throw_errno("Cannot connect to " + path);
    }
    return fd;
}

pid_t
peer_pid(int fd)
{
    ucred credentials{};
    socklen_t size = sizeof credentials;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0
               ? 0
               : credentials.pid;
}

ssize_t
receive_with_fds(int fd, MutableBytes buffer, std::vector<UniqueFd> &fds)
{
    alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))];
    iovec part = {buffer.data(), buffer.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    ssize_t size = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size < 0) {
        return size;
    }
    for (cmsghdr *c = CMSG_FIRSTHDR(&message); c;
         c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int received;
            std::memcpy(&received, CMSG_DATA(c) + i * sizeof received,
                        sizeof received);
            fds.emplace_back(received);
        }
    }
    return size;
}

bool
send_with_fds(int fd, Bytes bytes, std::span<const int> fds)
{
    alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))]{};
    iovec part = {const_cast<std::byte *>(bytes.data()), bytes.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(c), fds.data(), fds.size_bytes());
    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
}

} // namespace netvsc::host
