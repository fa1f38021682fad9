#include "host/wires/test_frame.h"

#include <algorithm>

#include "host/base/checksum.h"
#include "host/base/ethernet.h"

namespace netvsc::host {

namespace {

constexpr size_t kIpAt = kEthernetHeader;
constexpr size_t kUdpAt = kIpAt + 20;
constexpr size_t kPayloadAt = kUdpAt + 8;
constexpr size_t kMagicAt = kPayloadAt;
constexpr size_t kNumberAt = kPayloadAt + 4;
constexpr size_t kFlowAt = kPayloadAt + 8;
constexpr size_t kDigestAt = kPayloadAt + 12;
constexpr size_t kPatternAt = kPayloadAt + 16;
static_assert(kPatternAt <= kLeastTestFrame);

/* "nvsc" */
constexpr uint32_t kMagic = 0x6e767363;

/* 198.18.0.0/15 is for benchmarks (RFC 2544): sources in its lower half, the
 * destination in its upper. */
constexpr uint16_t kSourceNetwork = 198 << 8 | 18;
constexpr uint16_t kDestinationNetwork = 198 << 8 | 19;
constexpr uint16_t kDestinationHost = 1;

/* Dynamic ports, and the discard service. */
constexpr uint16_t kFirstPort = 49152;
constexpr uint16_t kPorts = 1 << 14;
constexpr uint16_t kDiscard = 9;

void
store_be32(MutableBytes bytes, size_t offset, uint32_t value)
{
    store_be16(bytes, offset, static_cast<uint16_t>(value >> 16));
    store_be16(bytes, offset + 2, static_cast<uint16_t>(value));
}

uint32_t
load_be32(Bytes bytes, size_t offset)
{
    return static_cast<uint32_t>(load_be16(bytes, offset)) << 16 |
           load_be16(bytes, offset + 2);
}

/* FNV-1a over the payload without the digest: unlike the UDP checksum it sees
 * that parts changed places. */
uint32_t
digest(Bytes frame)
{
    uint32_t hash = 2166136261;
    auto add = [&](Bytes bytes) {
        for (std::byte byte : bytes) {
            hash = (hash ^ std::to_integer<uint32_t>(byte)) * 16777619;
        }
    };
    add(frame.subspan(kMagicAt, kDigestAt - kMagicAt));
    add(frame.subspan(kPatternAt));
    return hash;
}

[[nodiscard]] bool
complete(MutableBytes frame)
{
    ChecksumRequest request{};
    request.ip_header = request.udp = true;
    return complete_checksums(frame, request).has_value();
}

} // namespace

void
make_test_frame(MutableBytes frame, const TestFrame &about)
{
    assert(frame.size() >= kLeastTestFrame);
    std::fill(frame.begin(), frame.begin() + kPayloadAt, std::byte{0});

    store(frame, 0, about.destination);
    store(frame, kEthernetAddress, about.source);
    store_be16(frame, kEthernetTypeAt, kEthernetIpv4);

    store(frame, kIpAt, uint8_t{0x45}); /* Version 4, no options. */
    store_be16(frame, kIpAt + 2, static_cast<uint16_t>(frame.size() - kIpAt));
    store(frame, kIpAt + 8, uint8_t{64}); /* Time to live. */
    store(frame, kIpAt + 9, uint8_t{17}); /* UDP. */
    store_be16(frame, kIpAt + 12, kSourceNetwork);
    store_be16(frame, kIpAt + 14, static_cast<uint16_t>(about.flow));
    store_be16(frame, kIpAt + 16, kDestinationNetwork);
    store_be16(frame, kIpAt + 18, kDestinationHost);

    store_be16(frame, kUdpAt,
               static_cast<uint16_t>(kFirstPort + about.flow % kPorts));
    store_be16(frame, kUdpAt + 2, kDiscard);
    store_be16(frame, kUdpAt + 4,
               static_cast<uint16_t>(frame.size() - kUdpAt));

    store_be32(frame, kMagicAt, kMagic);
    store_be32(frame, kNumberAt, about.number);
    store_be32(frame, kFlowAt, about.flow);
    for (size_t at = kPatternAt; at < frame.size(); at++) {
        frame[at] = static_cast<std::byte>(about.number + at);
    }
    store_be32(frame, kDigestAt, digest(frame));

    bool completed = complete(frame);
    assert(completed);
    (void) completed;
}

std::optional<uint32_t>
test_frame_number(Bytes frame)
{
    if (frame.size() < kLeastTestFrame ||
        load_be32(frame, kMagicAt) != kMagic) {
        return std::nullopt;
    }
    return load_be32(frame, kNumberAt);
}

TestFrameVerdict
check_test_frame(MutableBytes frame)
{
    if (!test_frame_number(frame)) {
        return TestFrameVerdict::kForeign;
    }
    auto ip = load<uint16_t>(frame, kIpAt + 10);
    auto udp = load<uint16_t>(frame, kUdpAt + 6);
    /* Lengths and protocol first: complete() believes them. */
    bool good = load_be16(frame, kEthernetTypeAt) == kEthernetIpv4 &&
                load<uint8_t>(frame, kIpAt) == 0x45 &&
                load<uint8_t>(frame, kIpAt + 9) == 17 &&
                load_be16(frame, kIpAt + 2) == frame.size() - kIpAt &&
                load_be16(frame, kUdpAt + 4) == frame.size() - kUdpAt &&
                load_be32(frame, kDigestAt) == digest(frame) &&
                complete(frame) && load<uint16_t>(frame, kIpAt + 10) == ip &&
                load<uint16_t>(frame, kUdpAt + 6) == udp;
    return good ? TestFrameVerdict::kGood : TestFrameVerdict::kDamaged;
}

uint32_t
test_flow_hash(uint32_t flow)
{
    /* Knuth's multiplier spreads neighbours; an odd one is a bijection. */
    return (flow + 1) * 2654435761u;
}

} // namespace netvsc::host
