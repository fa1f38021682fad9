/* Lets an unmodified DPDK drive the NICs of netvsc-host.  Test code: preload
 * it, it is never installed.
 *
 * DPDK's netvsc PMD opens, maps, reads and writes /dev/uioN as a character
 * device; netvsc-host has a socket in its place (wire/uio_socket.h).  The
 * calls that the PMD makes are answered here, for /dev/uioN alone; anything
 * else goes on to libc.  $PEER_ROOT is the host's --root.
 *
 * Every open() is a connection of its own, as it is an open file of its own
 * in the kernel: DPDK holds one open for interrupts and opens, maps and
 * closes once more for each map, and it is the host that counts them.  What
 * open() returns is the connection, on which interrupts arrive as messages,
 * so poll(), epoll and O_NONBLOCK need no help.
 *
 * Nothing of driver/ is in here: what DPDK says about the host is to owe
 * nothing to our own driver. */

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "wire/uio_socket.h"

namespace {

using namespace netvsc::wire;
using namespace netvsc::wire::uio_socket;

/* UIO gives map N at the file offset of N pages (C.3). */
constexpr off_t kMapStep = 4096;

/* File descriptors above are never ours: testpmd has a few dozen. */
constexpr int kMaxFd = 1024;

/* How long a live host may take to answer Hello: it is a local process. */
constexpr timeval kHelloDeadline = {15, 0};

/* libc's function of this name, behind ours. */
template <typename F>
F *
next(const char *name)
{
    return reinterpret_cast<F *>(::dlsym(RTLD_NEXT, name));
}

int
real_close(int fd)
{
    static auto *const function = next<int(int)>("close");
    return function(fd);
}

/* One open() of a device, found by the connection that the caller holds. */
struct OpenFile {
    std::array<int, kUioMaps> maps = {-1, -1, -1, -1, -1};
    std::array<uint64_t, kUioMaps> sizes = {};
    /* What read() reports: the interrupts so far. */
    std::atomic<int32_t> interrupts = 0;

    ~OpenFile()
    {
        for (int map : maps) {
            if (map >= 0) {
                real_close(map);
            }
        }
    }
};

std::array<std::atomic<OpenFile *>, kMaxFd> open_files;

OpenFile *
find(int fd)
{
    return fd >= 0 && fd < kMaxFd ? open_files[fd].load() : nullptr;
}

/* "uioN" for a path of that device, else NULL. */
const char *
device_name(const char *path)
{
    return std::strncmp(path, "/dev/uio", 8) == 0 ? path + 5 : nullptr;
}

/* Connects to the host by way of the folder's descriptor, because the path
 * of a test's directory can be longer than sun_path.  Returns the socket, or
 * -1 with errno. */
int
connect_to_host(const char *name)
{
    const char *root = std::getenv("PEER_ROOT");
    if (!root) {
        std::fputs("uio_shim: PEER_ROOT must name netvsc-host's --root\n",
                   stderr);
        errno = ENODEV;
        return -1;
    }
    int folder = ::open((std::string(root) + "/dev").c_str(),
                        O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        return -1;
    }
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::snprintf(address.sun_path, sizeof address.sun_path,
                  "/proc/self/fd/%d/%s", folder, name);
    int socket = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    int code = 0;
    if (socket < 0 || ::connect(socket, reinterpret_cast<sockaddr *>(&address),
                                sizeof address) != 0) {
        code = errno;
    }
    real_close(folder);
    if (code && socket >= 0) {
        real_close(socket);
        socket = -1;
    }
    errno = code;
    return socket;
}

/* Receives HelloReply and its descriptors.  Returns 0 or an errno; stores in
 * `fds` those that arrived, whatever else is wrong. */
int
receive_reply(int socket, HelloReply &reply, std::array<int, kUioMaps> &fds)
{
    iovec iov = {&reply, sizeof reply};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof fds)];
    msghdr message = {};
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;

    ssize_t n = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (n < 0) {
        return errno;
    }
    const cmsghdr *c = CMSG_FIRSTHDR(&message);
    size_t bytes = 0;
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        bytes = c->cmsg_len - CMSG_LEN(0);
        std::memcpy(fds.data(), CMSG_DATA(c), std::min(bytes, sizeof fds));
    }
    if (n != sizeof reply || reply.type != kHelloReply ||
        reply.magic != kMagic || reply.version != kVersion) {
        return EPROTO;
    }
    if (reply.error) {
        return static_cast<int>(reply.error);
    }
    return reply.maps == kUioMaps && bytes == sizeof fds ? 0 : EPROTO;
}

/* open() of a device. */
int
open_device(const char *name, int flags)
{
    auto file = std::make_unique<OpenFile>();
    int socket = connect_to_host(name);
    if (socket < 0) {
        return -1;
    }
    ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &kHelloDeadline,
                 sizeof kHelloDeadline);
    Hello hello = {kHello, kMagic, kVersion, sizeof hello};
    HelloReply reply = {};
    int code = ::send(socket, &hello, sizeof hello, MSG_NOSIGNAL) < 0
                   ? errno
                   : receive_reply(socket, reply, file->maps);
    std::memcpy(file->sizes.data(), reply.map_size, sizeof reply.map_size);
    if (!code && socket >= kMaxFd) {
        code = EMFILE;
    }
    if (code) {
        real_close(socket);
        std::fprintf(stderr, "uio_shim: netvsc-host refuses %s: %s\n", name,
                     std::strerror(code));
        errno = code;
        return -1;
    }
    /* read() waits as long as the device is quiet. */
    constexpr timeval kForever = {0, 0};
    ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &kForever, sizeof kForever);
    ::fcntl(socket, F_SETFL, flags & O_NONBLOCK);
    open_files[socket] = file.release();
    return socket;
}

/* read(): waits for an interrupt and returns their number in 4 bytes. */
ssize_t
read_device(OpenFile &file, int socket, void *buffer, size_t size)
{
    if (size != sizeof(int32_t)) {
        errno = EINVAL;
        return -1;
    }
    /* The first as the caller's O_NONBLOCK says, then those that wait. */
    for (int flags = 0;; flags = MSG_DONTWAIT) {
        Interrupt message = {};
        ssize_t n = ::recv(socket, &message, sizeof message, flags);
        if (n < 0 && flags && errno == EAGAIN) {
            int32_t total = file.interrupts;
            std::memcpy(buffer, &total, sizeof total);
            return sizeof total;
        }
        if (n < 0) {
            return -1;
        }
        if (n != sizeof message || message.type != kInterrupt) {
            errno = EIO; /* Rescind or hang-up: the device is gone. */
            return -1;
        }
        file.interrupts++;
    }
}

/* write(): 4 bytes, 1 unmasks interrupts and 0 masks them. */
ssize_t
write_device(int socket, const void *buffer, size_t size)
{
    uint32_t value;
    if (size != sizeof value) {
        errno = EINVAL;
        return -1;
    }
    std::memcpy(&value, buffer, sizeof value);
    IrqControl message = {kIrqControl, value};
    if (::send(socket, &message, sizeof message, MSG_NOSIGNAL) < 0) {
        errno = EIO;
        return -1;
    }
    return sizeof value;
}

/* mmap() of the map that `offset` names. */
void *
map_device(OpenFile &file, void *address, size_t size, int protection,
           int flags, off_t offset)
{
    static auto *const function =
        next<void *(void *, size_t, int, int, int, off_t)>("mmap");
    auto map = static_cast<uint64_t>(offset / kMapStep);
    if (offset % kMapStep || map >= kUioMaps || size > file.sizes[map]) {
        errno = EINVAL;
        return MAP_FAILED;
    }
    return function(address, size, protection, flags, file.maps[map], 0);
}

} // namespace

/* --- The calls of libc that DPDK makes on /dev/uioN ---------------------- */

extern "C" int
open(const char *path, int flags, ...)
{
    static auto *const function = next<int(const char *, int, ...)>("open");
    if (const char *name = device_name(path)) {
        return open_device(name, flags);
    }
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = va_arg(arguments, mode_t); /* Unused without O_CREAT. */
    va_end(arguments);
    return function(path, flags, mode);
}

extern "C" int
open64(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = va_arg(arguments, mode_t);
    va_end(arguments);
    return ::open(path, flags | O_LARGEFILE, mode);
}

extern "C" void *
mmap(void *address, size_t size, int protection, int flags, int fd,
     off_t offset) noexcept
{
    static auto *const function =
        next<void *(void *, size_t, int, int, int, off_t)>("mmap");
    if (OpenFile *file = find(fd)) {
        return map_device(*file, address, size, protection, flags, offset);
    }
    return function(address, size, protection, flags, fd, offset);
}

extern "C" void *
mmap64(void *address, size_t size, int protection, int flags, int fd,
       off64_t offset) noexcept
{
    return ::mmap(address, size, protection, flags, fd, offset);
}

extern "C" ssize_t
read(int fd, void *buffer, size_t size)
{
    static auto *const function = next<ssize_t(int, void *, size_t)>("read");
    if (OpenFile *file = find(fd)) {
        return read_device(*file, fd, buffer, size);
    }
    return function(fd, buffer, size);
}

extern "C" ssize_t
write(int fd, const void *buffer, size_t size)
{
    static auto *const function =
        next<ssize_t(int, const void *, size_t)>("write");
    if (find(fd)) {
        return write_device(fd, buffer, size);
    }
    return function(fd, buffer, size);
}

extern "C" int
close(int fd)
{
    if (find(fd)) {
        delete open_files[fd].exchange(nullptr);
    }
    return real_close(fd);
}

/* --- What testpmd 22.11 asks before it forwards -------------------------- */

/* From 22.11.2 on, testpmd leaves out every queue whose information does not
 * say "started", and the netvsc PMD of 22.11 never says it (23.11 does): so
 * testpmd would forward nothing, without a word.  A PMD that cannot tell is
 * taken at testpmd's own record, which is right; so nothing can tell here. */
extern "C" int
rte_eth_rx_queue_info_get(uint16_t, uint16_t, void *)
{
    return -ENOTSUP;
}

extern "C" int
rte_eth_tx_queue_info_get(uint16_t, uint16_t, void *)
{
    return -ENOTSUP;
}
