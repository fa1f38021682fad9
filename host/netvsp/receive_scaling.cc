#include "host/netvsp/receive_scaling.h"

#include "host/base/ethernet.h"
#include "wire/rndis.h"

namespace netvsc::host {

namespace oid = wire::oid;
namespace rndis = wire::rndis;

namespace {

constexpr uint8_t kTcp = 6;
constexpr uint8_t kUdp = 17;

/* Source and destination port. */
constexpr size_t kPortsSize = 4;

constexpr size_t kIpv4Header = 20;
constexpr size_t kIpv4ProtocolAt = 9;
constexpr size_t kIpv4FragmentAt = 6;
/* More fragments, or an offset: there may be no ports. */
constexpr uint16_t kIpv4FragmentMask = 0x3fff;
constexpr size_t kIpv4AddressesAt = 12;
constexpr size_t kIpv4Addresses = 8;

constexpr size_t kIpv6Header = 40;
constexpr size_t kIpv6NextHeaderAt = 6;
constexpr size_t kIpv6AddressesAt = 8;
constexpr size_t kIpv6Addresses = 32;

/* The {offset, length} pair of an object. */
std::optional<Bytes>
part(Bytes object, uint64_t offset, uint64_t length)
{
    if (offset > object.size() || length > object.size() - offset) {
        return std::nullopt;
    }
    return object.subspan(offset, length);
}

} // namespace

uint32_t
ReceiveScaling::set(Bytes object)
{
    if (object.size() < sizeof(oid::RssParameters)) {
        return rndis::kStatusInvalidLength;
    }
    auto wanted = load<oid::RssParameters>(object);
    uint32_t info = wanted.flags & oid::kRssHashInfoUnchanged
                        ? hash_info_
                        : wanted.hash_info;
    uint32_t function = info & rndis::kHashFunctionMask;
    if (wanted.flags & oid::kRssDisable || !function) {
        on_ = false;
        generation_++;
        return rndis::kStatusSuccess;
    }
    if (function != rndis::kHashToeplitz) {
        return rndis::kStatusInvalidData;
    }

    auto key = key_;
    if (!(wanted.flags & oid::kRssKeyUnchanged)) {
        auto bytes = part(object, wanted.key_offset, wanted.key_size);
        if (!bytes || bytes->size() != kKeySize) {
            return rndis::kStatusInvalidData;
        }
        std::copy(bytes->begin(), bytes->end(), key.emplace().begin());
    }
    auto table = table_;
    if (!(wanted.flags & oid::kRssTableUnchanged)) {
        auto bytes = part(object, wanted.table_offset, wanted.table_size);
        if (!bytes || bytes->empty() || bytes->size() % sizeof(uint32_t)) {
            return rndis::kStatusInvalidData;
        }
        /* A shorter table is repeated, a longer one cut. */
        size_t entries = bytes->size() / sizeof(uint32_t);
        table.emplace();
        for (size_t i = 0; i < kEntries; i++) {
            auto channel = load<uint32_t>(*bytes, i % entries * 4);
            if (channel >= channels_) {
                return rndis::kStatusInvalidData;
            }
            (*table)[i] = channel;
        }
    }
    if (!key || !table) {
        return rndis::kStatusInvalidData; /* There is nothing to keep. */
    }
    key_ = key;
    table_ = table;
    hash_info_ = info;
    make_tables();
    on_ = true;
    generation_++;
    return rndis::kStatusSuccess;
}

/* For each bit of the input that is set, from the first bit on, the 32 bits of
 * the key that begin at the same place are added without carry. */
void
ReceiveScaling::make_tables()
{
    auto key_bit = [&](size_t bit) -> uint32_t {
        return std::to_integer<uint32_t>((*key_)[bit / 8]) >> (7 - bit % 8) &
               1;
    };
    for (size_t at = 0; at < kLongestInput; at++) {
        std::array<uint32_t, 8> windows{};
        for (size_t bit = 0; bit < 8; bit++) {
            for (size_t i = 0; i < 32; i++) {
                windows[bit] = windows[bit] << 1 | key_bit(at * 8 + bit + i);
            }
        }
        for (size_t value = 0; value < 256; value++) {
            uint32_t sum = 0;
            for (size_t bit = 0; bit < 8; bit++) {
                sum ^= value >> (7 - bit) & 1 ? windows[bit] : 0;
            }
            tables_[at][value] = sum;
        }
    }
}

uint32_t
ReceiveScaling::hash(Bytes addresses, Bytes ports) const
{
    uint32_t sum = 0;
    size_t at = 0;
    for (std::byte byte : addresses) {
        sum ^= tables_[at++][std::to_integer<size_t>(byte)];
    }
    for (std::byte byte : ports) {
        sum ^= tables_[at++][std::to_integer<size_t>(byte)];
    }
    return sum;
}

ReceiveScaling::Choice
ReceiveScaling::choose(Bytes frame) const
{
    if (!on_) {
        return {};
    }
    Bytes packet = frame.subspan(kEthernetHeader);
    uint16_t type = load_be16(frame, kEthernetTypeAt);
    while ((type == kEthernetVlan || type == kEthernetServiceVlan) &&
           packet.size() >= kVlanTagSize) {
        type = load_be16(packet, sizeof(uint16_t));
        packet = packet.subspan(kVlanTagSize);
    }

    Bytes addresses;
    Bytes transport;
    uint8_t protocol = 0;
    uint32_t ip_only;
    uint32_t with_tcp;
    uint32_t with_udp;
    if (type == kEthernetIpv4 && packet.size() >= kIpv4Header) {
        addresses = packet.subspan(kIpv4AddressesAt, kIpv4Addresses);
        size_t length = (load<uint8_t>(packet, 0) & 0xfu) * 4;
        if (length >= kIpv4Header && length <= packet.size() &&
            !(load_be16(packet, kIpv4FragmentAt) & kIpv4FragmentMask)) {
            protocol = load<uint8_t>(packet, kIpv4ProtocolAt);
            transport = packet.subspan(length);
        }
        ip_only = rndis::kHashIpv4;
        with_tcp = rndis::kHashTcpIpv4;
        with_udp = rndis::kHashUdpIpv4;
    } else if (type == kEthernetIpv6 && packet.size() >= kIpv6Header) {
        addresses = packet.subspan(kIpv6AddressesAt, kIpv6Addresses);
        protocol = load<uint8_t>(packet, kIpv6NextHeaderAt);
        transport = packet.subspan(kIpv6Header);
        ip_only = rndis::kHashIpv6;
        with_tcp = rndis::kHashTcpIpv6;
        with_udp = rndis::kHashUdpIpv6;
    } else {
        return {};
    }

    uint32_t kind = ip_only;
    Bytes ports;
    if (transport.size() >= kPortsSize) {
        uint32_t with_ports = protocol == kTcp   ? with_tcp
                              : protocol == kUdp ? with_udp
                                                 : 0;
        if (hash_info_ & with_ports) {
            kind = with_ports;
            ports = transport.first(kPortsSize);
        }
    }
    if (!(hash_info_ & kind)) {
        return {};
    }
    uint32_t sum = hash(addresses, ports);
    return {(*table_)[sum % kEntries], sum, kind | rndis::kHashToeplitz};
}

} // namespace netvsc::host
