#include "host/wires/tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "host/base/checksum.h"
#include "host/base/error.h"
#include "host/base/ethernet.h"

namespace netvsc::host {

namespace {

/* The longest thing that a tap hands over without segmentation offload is an
 * MTU's frame; an operator may raise the MTU behind our back, and the whole
 * frame must be read to be dropped. */
constexpr size_t kLongestFrame = 65536 + kEthernetHeader + kVlanTagSize;

/* Precedes each frame (virtio 1.0, 5.1.6); <linux/virtio_net.h> is no C++. */
struct VirtioHeader {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t header_length;
    uint16_t gso_size;
    uint16_t checksum_start;
    uint16_t checksum_offset;
};
static_assert(sizeof(VirtioHeader) == 10);

/* Finish the sum from checksum_start on; the sum was verified. */
constexpr uint8_t kNeedsChecksum = 1;
constexpr uint8_t kDataValid = 2;

void
set_mtu_and_up(const std::string &name, uint32_t mtu)
{
    UniqueFd socket_fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_mtu = static_cast<int>(mtu);
    if (ioctl(socket_fd.get(), SIOCSIFMTU, &request) < 0) {
        throw_errno("Cannot set the MTU of tap device " + name + " to " +
                    std::to_string(mtu));
    }
    if (ioctl(socket_fd.get(), SIOCGIFFLAGS, &request) < 0) {
        throw_errno("Cannot read the flags of tap device " + name);
    }
    request.ifr_flags |= IFF_UP;
    if (ioctl(socket_fd.get(), SIOCSIFFLAGS, &request) < 0) {
        throw_errno("Cannot bring tap device " + name + " up");
    }
}

} // namespace

TapBackend::TapBackend(const std::string &name, uint32_t mtu,
                       WireCounters &counters)
    : fd_(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)),
      counters_(counters), frame_(kLongestFrame)
{
    if (!fd_) {
        throw_errno("Cannot open /dev/net/tun for tap device " + name);
    }
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    if (ioctl(fd_.get(), TUNSETIFF, &request) < 0) {
        throw_errno("Cannot create or attach tap device " + name);
    }
    int header_size = sizeof(VirtioHeader);
    if (ioctl(fd_.get(), TUNSETVNETHDRSZ, &header_size) < 0) {
        throw_errno("Cannot set the header size of tap device " + name);
    }
    /* Nothing is negotiated with the guest: whole checksums, no trains. */
    if (ioctl(fd_.get(), TUNSETOFFLOAD, 0) < 0) {
        throw_errno("Cannot turn the offloads of tap device " + name + " off");
    }
    set_mtu_and_up(name, mtu);
}

std::optional<WireFrame>
TapBackend::receive()
{
    VirtioHeader header;
    iovec parts[] = {{&header, sizeof header}, {frame_.data(), frame_.size()}};
    ssize_t size = readv(fd_.get(), parts, 2);
    if (size < static_cast<ssize_t>(sizeof header)) {
        /* Deleted, perhaps with its network namespace. */
        gone_ = size < 0 && errno == EBADFD;
        return std::nullopt;
    }
    counters_.read++;

    MutableBytes frame =
        MutableBytes(frame_).first(static_cast<size_t>(size) - sizeof header);
    bool good = header.flags & kDataValid;
    if (header.flags & kNeedsChecksum) {
        good = complete_partial(frame, header.checksum_start,
                                header.checksum_offset);
    }
    return WireFrame{frame, good};
}

bool
TapBackend::transmit(Bytes frame, bool checksum_good)
{
    VirtioHeader header{};
    if (checksum_good) {
        header.flags = kDataValid;
    }
    iovec parts[] = {{&header, sizeof header},
                     {const_cast<std::byte *>(frame.data()), frame.size()}};
    if (writev(fd_.get(), parts, 2) < 0) {
        counters_.write_errors++;
        return false;
    }
    counters_.written++;
    return true;
}

} // namespace netvsc::host
