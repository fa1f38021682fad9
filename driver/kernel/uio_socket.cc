#include "driver/kernel/uio_socket.h"

#include <array>
#include <cstring>
#include <system_error>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "driver/kernel/exclusive.h"
#include "driver/kernel/uio_mapping.h"
#include "wire/uio_socket.h"

namespace netvsc {

namespace {

using namespace wire::uio_socket;

/* How long a live host may take to answer Hello: it is a local process. */
constexpr timeval kHelloDeadline = {15, 0};

/* Messages read by one wait(): a host that sends them without end is not to
 * keep the control thread from its other work. */
constexpr unsigned kMessagesPerWait = 64;

Error
system_error(const std::string &path, const std::string &what)
{
    int code = errno;
    return {code, "Device " + path + " " + what + " (" +
                      std::generic_category().message(code) +
                      "): is netvsc-host running on this directory?"};
}

Error
protocol_error(const std::string &path, const std::string &what)
{
    return {EPROTO, "Device " + path + " " + what +
                        ": use netvsc-host of the same version."};
}

class UioSocket final : public Uio {
public:
    UioSocket(FileDescriptor socket, WakeEvent wake)
        : socket_(std::move(socket)), wake_(std::move(wake))
    {
    }

    Status say_hello(const DeviceInfo &info);

    std::span<uint8_t>
    map(unsigned i) noexcept override
    {
        return maps_[i].span();
    }
    Event wait(Clock::time_point deadline) override;
    void
    wake() noexcept override
    {
        wake_.wake();
    }
    void
    irq_control(bool unmask) noexcept override
    {
        IrqControl message = {kIrqControl, unmask};
        (void) !::send(socket_.get(), &message, sizeof message,
                       MSG_NOSIGNAL | MSG_DONTWAIT);
    }

private:
    Status take_alone(int rings, const std::string &path);
    Result<HelloReply> receive_reply(const std::string &path);
    Status check_seals(int fd, uint64_t size, const std::string &path);
    bool read_messages();

    FileDescriptor socket_;
    FileDescriptor lock_; /* On the memory of the rings. */
    WakeEvent wake_;
    std::array<FileDescriptor, wire::kUioMaps> fds_;
    std::array<Mapping, wire::kUioMaps> maps_;
    bool removed_ = false;
};

Result<HelloReply>
UioSocket::receive_reply(const std::string &path)
{
    HelloReply reply = {};
    iovec iov = {&reply, sizeof reply};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * wire::kUioMaps)];
    msghdr message = {};
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;

    ssize_t n = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
    if (n < 0) {
        return system_error(path, "does not answer");
    }
    unsigned received = 0;
    for (cmsghdr *c = CMSG_FIRSTHDR(&message); c;
         c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            for (size_t i = 0; i < count; i++) {
                int fd;
                std::memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
                FileDescriptor owned(fd);
                if (received < fds_.size()) {
                    fds_[received] = std::move(owned);
                }
                received++;
            }
        }
    }
    if (n != sizeof reply || reply.type != kHelloReply ||
        reply.magic != kMagic || reply.version != kVersion) {
        return protocol_error(path, "answers with an unknown message");
    }
    if (reply.error) {
        int code = static_cast<int>(reply.error);
        return Error{code, "The emulated host refuses to open " + path + " (" +
                               std::generic_category().message(code) + ")."};
    }
    if (reply.maps != wire::kUioMaps || received != wire::kUioMaps) {
        return protocol_error(path, "sends the wrong number of maps");
    }
    return reply;
}

Status
UioSocket::check_seals(int fd, uint64_t size, const std::string &path)
{
    /* Unsealed, the host could shrink the file under us: SIGBUS. */
    int seals = ::fcntl(fd, F_GET_SEALS);
    struct stat st;
    if (seals < 0 || (seals & kSeals) != kSeals) {
        return protocol_error(path, "sends memory that is not sealed");
    }
    if (::fstat(fd, &st) != 0 || static_cast<uint64_t>(st.st_size) < size) {
        return protocol_error(path, "sends less memory than sysfs says");
    }
    return ok();
}

/* The lock is on the memory that every user of the device gets, and that
 * ends with the device.  It takes a description of our own: the one that came
 * is everybody's. */
Status
UioSocket::take_alone(int rings, const std::string &path)
{
    std::string name = "/proc/self/fd/" + std::to_string(rings);
    lock_ = FileDescriptor(::open(name.c_str(), O_RDWR | O_CLOEXEC));
    if (!lock_) {
        return system_error(path, "cannot be locked");
    }
    if (Status locked = lock_exclusively(lock_.get(), path); !locked) {
        return locked;
    }
    return check_unused(maps_[wire::kUioMapRings].span(), rings, path);
}

Status
UioSocket::say_hello(const DeviceInfo &info)
{
    const std::string &path = info.device_path;
    Hello hello = {kHello, kMagic, kVersion, sizeof hello};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &kHelloDeadline,
                 sizeof kHelloDeadline);
    if (::send(socket_.get(), &hello, sizeof hello, MSG_NOSIGNAL) < 0) {
        return system_error(path, "cannot be opened");
    }
    auto reply = receive_reply(path);
    if (!reply) {
        return reply.error();
    }
    for (unsigned i = 0; i < wire::kUioMaps; i++) {
        uint64_t size = info.maps[i].size;
        if (reply->map_size[i] != size) {
            return protocol_error(path, "has maps of other sizes than sysfs "
                                        "says");
        }
        if (Status status = check_seals(fds_[i].get(), size, path); !status) {
            return status;
        }
        auto mapping = Mapping::create(fds_[i].get(), 0, size, 0,
                                       info.maps[i].name + " of " + path);
        if (!mapping) {
            return mapping.error();
        }
        maps_[i] = std::move(*mapping);
        if (i == wire::kUioMapRings) {
            if (Status alone = take_alone(fds_[i].get(), path); !alone) {
                return alone;
            }
        }
        fds_[i] = FileDescriptor();
    }
    return ok();
}

/* Takes the interrupts that wait.  False when the host rescinded the device,
 * died, or sends anything else. */
bool
UioSocket::read_messages()
{
    for (unsigned i = 0; i < kMessagesPerWait; i++) {
        Interrupt message = {};
        ssize_t n =
            ::recv(socket_.get(), &message, sizeof message, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            break;
        }
        if (n != sizeof message || message.type != kInterrupt) {
            return false;
        }
    }
    return true;
}

Uio::Event
UioSocket::wait(Clock::time_point deadline)
{
    if (removed_) {
        return Event::kRemoved;
    }
    pollfd fds[] = {{socket_.get(), POLLIN, 0}, {wake_.fd(), POLLIN, 0}};
    int n = ::poll(fds, 2, poll_timeout(deadline));
    if (n <= 0) {
        return Event::kTimeout;
    }
    /* Before the wake: a removal is never behind anything else. */
    if (fds[0].revents && !read_messages()) {
        removed_ = true;
        return Event::kRemoved;
    }
    if (fds[1].revents) {
        /* An interrupt taken with it is not lost: whoever was woken looks at
         * the ring as well. */
        wake_.clear();
        return Event::kWoken;
    }
    return Event::kInterrupt;
}

/* Connects by way of the folder's descriptor: under a test's directory the
 * path can be longer than the 108 bytes of sun_path. */
Result<FileDescriptor>
connect_to(const std::string &path)
{
    size_t slash = path.rfind('/');
    FileDescriptor folder(::open(path.substr(0, slash + 1).c_str(),
                                 O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!folder) {
        return system_error(path, "cannot be opened");
    }
    FileDescriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    if (!socket) {
        return system_error(path, "cannot be opened");
    }
    /* A host that hangs must not hang us: connect() and send() obey it. */
    ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &kHelloDeadline,
                 sizeof kHelloDeadline);
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::string name =
        "/proc/self/fd/" + std::to_string(folder.get()) + path.substr(slash);
    if (name.size() >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return system_error(path, "cannot be opened");
    }
    std::memcpy(address.sun_path, name.c_str(), name.size() + 1);
    if (::connect(socket.get(), reinterpret_cast<sockaddr *>(&address),
                  sizeof address) != 0) {
        return system_error(path, "cannot be opened");
    }
    return socket;
}

} // namespace

Result<std::unique_ptr<Uio>>
open_uio_socket(const DeviceInfo &info)
{
    auto socket = connect_to(info.device_path);
    if (!socket) {
        return socket.error();
    }
    auto wake = WakeEvent::create(info.device_path);
    if (!wake) {
        return wake.error();
    }
    auto uio =
        std::make_unique<UioSocket>(std::move(*socket), std::move(*wake));
    if (Status status = uio->say_hello(info); !status) {
        return status.error();
    }
    return std::unique_ptr<Uio>(std::move(uio));
}

} // namespace netvsc
