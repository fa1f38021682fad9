#include "host/base/checksum.h"

#include <bit>

#include "host/base/ethernet.h"

namespace netvsc::host {

namespace {

constexpr uint8_t kTcp = 6;
constexpr uint8_t kUdp = 17;
constexpr size_t kTcpMinimum = 20;
constexpr size_t kUdpSize = 8;
constexpr size_t kTcpChecksumAt = 16;
constexpr size_t kUdpChecksumAt = 6;

/* Offsets in an IPv4 header. */
constexpr size_t kIpv4Minimum = 20;
constexpr size_t kIpv4LengthAt = 2;
constexpr size_t kIpv4FragmentAt = 6;
constexpr size_t kIpv4ProtocolAt = 9;
constexpr size_t kIpv4ChecksumAt = 10;
constexpr size_t kIpv4SourceAt = 12;
/* More fragments, or an offset: the transport header is not all here. */
constexpr uint16_t kIpv4FragmentMask = 0x3fff;

/* Offsets in an IPv6 header. */
constexpr size_t kIpv6Size = 40;
constexpr size_t kIpv6LengthAt = 4;
constexpr size_t kIpv6NextAt = 6;
constexpr size_t kIpv6SourceAt = 8;

/* Ones' complement sum in memory order; 32-bit words into 64 bits cannot
 * overflow for anything that fits a frame. */
uint64_t
sum(Bytes bytes, uint64_t total = 0)
{
    size_t at = 0;
    for (; at + 4 <= bytes.size(); at += 4) {
        total += load<uint32_t>(bytes, at);
    }
    if (at + 2 <= bytes.size()) {
        total += load<uint16_t>(bytes, at);
        at += 2;
    }
    if (at < bytes.size()) {
        total += std::to_integer<uint64_t>(bytes[at]);
    }
    return total;
}

uint16_t
fold(uint64_t total)
{
    while (total >> 16) {
        total = (total & 0xffff) + (total >> 16);
    }
    return static_cast<uint16_t>(total);
}

/* An IP packet inside a frame. */
struct IpPacket {
    bool v4;
    uint8_t protocol; /* IPv6: of the first header. */
    bool fragment;
    size_t header_at;
    size_t header_size; /* IPv6: without extension headers. */
    size_t end;         /* Where the packet ends; padding may follow. */
};

std::optional<IpPacket>
find_ip(Bytes frame)
{
    if (frame.size() < kEthernetHeader) {
        return std::nullopt;
    }
    size_t at = kEthernetHeader;
    size_t left = frame.size() - at;
    uint16_t type = load_be16(frame, kEthernetTypeAt);
    if (type == kEthernetIpv4 && left >= kIpv4Minimum) {
        auto first = std::to_integer<uint8_t>(frame[at]);
        size_t size = (first & 0xfu) * 4;
        size_t length = load_be16(frame, at + kIpv4LengthAt);
        if (first >> 4 != 4 || size < kIpv4Minimum || length < size ||
            length > left) {
            return std::nullopt;
        }
        bool fragment =
            load_be16(frame, at + kIpv4FragmentAt) & kIpv4FragmentMask;
        return IpPacket{
            true,     std::to_integer<uint8_t>(frame[at + kIpv4ProtocolAt]),
            fragment, at,
            size,     at + length};
    }
    if (type == kEthernetIpv6 && left >= kIpv6Size) {
        size_t length = kIpv6Size + load_be16(frame, at + kIpv6LengthAt);
        if (std::to_integer<uint8_t>(frame[at]) >> 4 != 6 || length > left) {
            return std::nullopt;
        }
        return IpPacket{
            false,     std::to_integer<uint8_t>(frame[at + kIpv6NextAt]),
            false,     at,
            kIpv6Size, at + length};
    }
    return std::nullopt;
}

uint64_t
pseudo_header(Bytes frame, const IpPacket &ip, uint8_t protocol, size_t length)
{
    Bytes addresses = ip.v4 ? frame.subspan(ip.header_at + kIpv4SourceAt, 8)
                            : frame.subspan(ip.header_at + kIpv6SourceAt, 32);
    /* Both values are at most 16 bits wide here: one big-endian word each. */
    uint64_t words = host_to_be16(protocol) +
                     uint64_t{host_to_be16(static_cast<uint16_t>(length))};
    return sum(addresses, words);
}

} // namespace

std::optional<ChecksumVerdict>
complete_checksums(MutableBytes frame, const ChecksumRequest &request)
{
    std::optional<IpPacket> ip = find_ip(frame);
    if (!ip) {
        return std::nullopt;
    }
    ChecksumVerdict verdict;
    if (request.ip_header && ip->v4) {
        Bytes header = frame.subspan(ip->header_at, ip->header_size);
        store(frame, ip->header_at + kIpv4ChecksumAt, uint16_t{0});
        auto value = static_cast<uint16_t>(~fold(sum(header)));
        store(frame, ip->header_at + kIpv4ChecksumAt, value);
        verdict.ip_header = true;
    }
    if (!request.tcp && !request.udp) {
        return verdict;
    }

    size_t at = request.transport_offset ? request.transport_offset
                                         : ip->header_at + ip->header_size;
    size_t minimum = request.tcp ? kTcpMinimum : kUdpSize;
    if (at < ip->header_at + ip->header_size || at > ip->end ||
        ip->end - at < minimum || ip->fragment) {
        return std::nullopt;
    }
    size_t checksum_at = at + (request.tcp ? kTcpChecksumAt : kUdpChecksumAt);
    store(frame, checksum_at, uint16_t{0});
    Bytes transport = Bytes(frame).subspan(at, ip->end - at);
    uint16_t value = static_cast<uint16_t>(~fold(
        sum(transport, pseudo_header(frame, *ip, request.tcp ? kTcp : kUdp,
                                     transport.size()))));
    /* A UDP checksum of 0 means that there is none. */
    store(frame, checksum_at, request.tcp || value ? value : uint16_t{0xffff});
    verdict.tcp = request.tcp;
    verdict.udp = !request.tcp;
    return verdict;
}

bool
complete_partial(MutableBytes frame, size_t start, size_t offset)
{
    if (start > frame.size() || frame.size() - start < sizeof(uint16_t) ||
        offset > frame.size() - start - sizeof(uint16_t)) {
        return false;
    }
    auto value = static_cast<uint16_t>(~fold(sum(frame.subspan(start))));
    store(frame, start + offset, value ? value : uint16_t{0xffff});
    return true;
}

ChecksumVerdict
classify_good_frame(Bytes frame)
{
    ChecksumVerdict verdict;
    std::optional<IpPacket> ip = find_ip(frame);
    if (!ip) {
        return verdict;
    }
    verdict.ip_header =
        ip->v4 &&
        fold(sum(frame.subspan(ip->header_at, ip->header_size))) == 0xffff;
    verdict.tcp = ip->protocol == kTcp && !ip->fragment;
    verdict.udp = ip->protocol == kUdp && !ip->fragment;
    return verdict;
}

} // namespace netvsc::host
