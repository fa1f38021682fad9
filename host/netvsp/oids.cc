#include "host/netvsp/oids.h"

#include <algorithm>
#include <string_view>

#include "host/base/ethernet.h"
#include "wire/nvsp.h"
#include "wire/rndis.h"

namespace netvsc::host {

namespace oid = wire::oid;
namespace rndis = wire::rndis;

namespace {

/* --- F.1 Answers that never change (openvmm's) ------------------------- */

constexpr uint32_t kHardwareReady = 0;
constexpr uint32_t kBufferSpace = 262144;
constexpr uint32_t kVendorId = 0x155d;
constexpr std::string_view kVendor = "Microsoft Corporation";
constexpr uint16_t kDriverVersion = 0x0100;
/* F.6: copy lookahead, transfers not pending, no loopback, 802.1p, 802.1Q. */
constexpr uint32_t kMacOptions = 0x24d;
constexpr uint32_t kSendPackets = UINT32_MAX;
constexpr std::u16string_view kFriendlyName = u"Network Device";
constexpr size_t kFriendlyNameSize = 512;

constexpr uint32_t kSupported[] = {
    oid::kGenSupportedList,
    oid::kGenHardwareStatus,
    oid::kGenMediaSupported,
    oid::kGenMediaInUse,
    oid::kGenMaximumLookahead,
    oid::kGenMaximumFrameSize,
    oid::kGenLinkSpeed,
    oid::kGenTransmitBufferSpace,
    oid::kGenReceiveBufferSpace,
    oid::kGenTransmitBlockSize,
    oid::kGenReceiveBlockSize,
    oid::kGenVendorId,
    oid::kGenVendorDescription,
    oid::kGenCurrentPacketFilter,
    oid::kGenCurrentLookahead,
    oid::kGenDriverVersion,
    oid::kGenMaximumTotalSize,
    oid::kGenMacOptions,
    oid::kGenMediaConnectStatus,
    oid::kGenMaximumSendPackets,
    oid::kGenVendorDriverVersion,
    oid::kGenReceiveScaleCapabilities,
    oid::kGenReceiveScaleParameters,
    oid::kGenFriendlyName,
    oid::kGenRndisConfigParameter,
    oid::k8023PermanentAddress,
    oid::k8023CurrentAddress,
    oid::k8023MaximumListSize,
    oid::kTcpOffloadCurrentConfig,
    oid::kTcpOffloadParameters,
    oid::kTcpOffloadHardwareCapabilities,
};

/* What the host hashes (F.5). */
constexpr uint32_t kRssCapabilities = oid::kRssToeplitz | oid::kRssTcpIpv4 |
                                      oid::kRssTcpIpv6 | oid::kRssUdpIpv4 |
                                      oid::kRssUdpIpv6;

/* --- F.6 Configuration parameter --------------------------------------- */

constexpr size_t kParameterSize = 20;
constexpr size_t kParameterNameAt = 0;
constexpr size_t kParameterValueAt = 12;
constexpr uint32_t kParameterString = 2;
constexpr std::u16string_view kNetworkAddress = u"NetworkAddress";

Oids::Answer
answer_bytes(Bytes bytes)
{
    return {rndis::kStatusSuccess, {bytes.begin(), bytes.end()}};
}

template <typename T>
Oids::Answer
answer(const T &value)
{
    return answer_bytes(bytes_of(value));
}

/* The {offset, length} pair at `at`, as a part of `object`. */
std::optional<Bytes>
part(Bytes object, uint64_t offset, uint64_t length)
{
    if (offset > object.size() || length > object.size() - offset) {
        return std::nullopt;
    }
    return object.subspan(offset, length);
}

std::optional<MacAddress>
parse_hex_mac(Bytes utf16)
{
    MacAddress mac{};
    if (utf16.size() != mac.size() * 2 * sizeof(char16_t)) {
        return std::nullopt;
    }
    for (size_t i = 0; i < mac.size() * 2; i++) {
        auto c = load<uint16_t>(utf16, i * sizeof(char16_t));
        if (c > 0x7f || !std::isxdigit(c)) {
            return std::nullopt;
        }
        unsigned digit =
            std::isdigit(c) ? c - '0' : std::tolower(c) - 'a' + 10;
        mac[i / 2] = static_cast<uint8_t>(mac[i / 2] << 4 | digit);
    }
    return mac;
}

uint32_t
ipv4_flags(const ChecksumOffloads &on)
{
    uint32_t flags = 0;
    if (on.ipv4_header) {
        flags |= oid::kChecksumIpHeader;
    }
    if (on.udp_ipv4) {
        flags |= oid::kChecksumUdp;
    }
    if (on.tcp_ipv4) {
        flags |= oid::kChecksumTcp | oid::kChecksumTcpOptions;
    }
    return flags ? flags | oid::kChecksumIpOptions : 0;
}

uint32_t
ipv6_flags(const ChecksumOffloads &on)
{
    uint32_t flags = 0;
    if (on.udp_ipv6) {
        flags |= oid::kChecksumUdp;
    }
    if (on.tcp_ipv6) {
        flags |= oid::kChecksumTcp | oid::kChecksumTcpOptions;
    }
    /* The same bit stands for extension headers (F.3). */
    return flags ? flags | oid::kChecksumIpOptions : 0;
}

oid::Offload
offload_object(const ChecksumOffloads &tx, const ChecksumOffloads &rx)
{
    auto encapsulation = [](uint32_t flags) {
        return flags ? oid::kEncapsulation8023 : 0;
    };
    oid::Offload object{};
    object.ipv4_tx_flags = ipv4_flags(tx);
    object.ipv4_rx_flags = ipv4_flags(rx);
    object.ipv6_tx_flags = ipv6_flags(tx);
    object.ipv6_rx_flags = ipv6_flags(rx);
    object.ipv4_tx_encapsulation = encapsulation(object.ipv4_tx_flags);
    object.ipv4_rx_encapsulation = encapsulation(object.ipv4_rx_flags);
    object.ipv6_tx_encapsulation = encapsulation(object.ipv6_tx_flags);
    object.ipv6_rx_encapsulation = encapsulation(object.ipv6_rx_flags);
    return object;
}

/* Applies one field of F.4 to both directions. */
void
apply(uint8_t field, bool &tx, bool &rx)
{
    if (field != oid::kOffloadNoChange) {
        tx = field == oid::kChecksumTxOn || field == oid::kChecksumBothOn;
        rx = field == oid::kChecksumRxOn || field == oid::kChecksumBothOn;
    }
}

} // namespace

Oids::Oids(const NicConfig &nic, const Agreement &agreement, bool link_up)
    : nic_(nic), agreement_(agreement), mac_(nic.mac), link_up_(link_up),
      lookahead_(agreement.mtu), scaling_(nic.max_queues)
{
}

/* --- Queries ----------------------------------------------------------- */

Oids::Answer
Oids::query(uint32_t oid, Bytes input) const
{
    uint32_t mtu = agreement_.mtu;
    auto total = static_cast<uint32_t>(mtu + kEthernetHeader);
    switch (oid) {
    case oid::kGenSupportedList:
        return answer_bytes(std::as_bytes(std::span(kSupported)));
    case oid::kGenHardwareStatus:
        return answer(kHardwareReady);
    case oid::kGenMediaSupported:
    case oid::kGenMediaInUse:
        return answer(rndis::kMedium8023);
    case oid::kGenMaximumLookahead:
    case oid::kGenMaximumFrameSize:
        return answer(mtu);
    case oid::kGenCurrentLookahead:
        return answer(lookahead_);
    case oid::kGenLinkSpeed:
        return answer(static_cast<uint32_t>(
            std::min<uint64_t>(nic_.speed / oid::kLinkSpeedUnit, UINT32_MAX)));
    case oid::kGenTransmitBufferSpace:
    case oid::kGenReceiveBufferSpace:
        return answer(kBufferSpace);
    case oid::kGenTransmitBlockSize:
    case oid::kGenReceiveBlockSize:
    case oid::kGenMaximumTotalSize:
        return answer(total);
    case oid::kGenVendorId:
        return answer(kVendorId);
    case oid::kGenVendorDescription:
        return answer_bytes(std::as_bytes(std::span(kVendor)));
    case oid::kGenCurrentPacketFilter:
        return answer(filter_);
    case oid::kGenDriverVersion:
    case oid::kGenVendorDriverVersion:
        return answer(kDriverVersion);
    case oid::kGenMacOptions:
        return answer(kMacOptions);
    case oid::kGenMediaConnectStatus:
        return answer(link_up_ ? oid::kMediaConnected
                               : oid::kMediaDisconnected);
    case oid::kGenMaximumSendPackets:
        return answer(kSendPackets);
    case oid::kGenReceiveScaleCapabilities: {
        oid::RssCapabilities object{};
        object.header = {oid::kRssCapabilitiesType,
                         oid::kRssCapabilitiesRevision, sizeof object};
        object.capability_flags = kRssCapabilities;
        object.interrupt_messages = 1;
        object.receive_queues = nic_.max_queues;
        object.indirection_entries = oid::kRssIndirectionEntries;
        return answer(object);
    }
    case oid::kGenFriendlyName: {
        std::array<std::byte, kFriendlyNameSize> name{};
        std::memcpy(name.data(), kFriendlyName.data(),
                    kFriendlyName.size() * sizeof(char16_t));
        return answer_bytes(name);
    }
    case oid::k8023PermanentAddress:
        return answer(nic_.mac);
    case oid::k8023CurrentAddress:
        return answer(mac_);
    case oid::k8023MaximumListSize:
        return answer(uint32_t{0});
    case oid::kTcpOffloadCurrentConfig:
        return query_offloads(tx_, rx_, input);
    case oid::kTcpOffloadHardwareCapabilities:
        return query_offloads({}, {}, input);
    default:
        return {rndis::kStatusNotSupported, {}};
    }
}

Oids::Answer
Oids::query_offloads(const ChecksumOffloads &tx, const ChecksumOffloads &rx,
                     Bytes input) const
{
    /* The revision that the session's NVSP version knows (F.3), or an older
     * one that the guest asks for. */
    uint8_t revision = agreement_.version >= wire::nvsp::kVersion5   ? 3
                       : agreement_.version >= wire::nvsp::kVersion4 ? 2
                                                                     : 1;
    if (!input.empty()) {
        if (input.size() < sizeof(oid::ObjectHeader)) {
            return {rndis::kStatusInvalidLength, {}};
        }
        auto header = load<oid::ObjectHeader>(input);
        if (header.type != oid::kOffloadType || !header.revision) {
            return {rndis::kStatusInvalidData, {}};
        }
        revision = std::min(revision, header.revision);
    }
    constexpr uint16_t kSizes[] = {oid::kOffloadSize1, oid::kOffloadSize2,
                                   oid::kOffloadSize3};
    oid::Offload object = offload_object(tx, rx);
    object.header = {oid::kOffloadType, revision, kSizes[revision - 1]};
    return answer_bytes(bytes_of(object).first(kSizes[revision - 1]));
}

std::vector<std::byte>
Oids::current_offloads() const
{
    return query_offloads(tx_, rx_, {}).data;
}

/* --- Sets -------------------------------------------------------------- */

uint32_t
Oids::set(uint32_t oid, Bytes input)
{
    switch (oid) {
    case oid::kGenCurrentPacketFilter:
    case oid::kGenCurrentLookahead: {
        if (input.size() < sizeof(uint32_t)) {
            return rndis::kStatusInvalidLength;
        }
        auto value = load<uint32_t>(input);
        if (oid == oid::kGenCurrentPacketFilter &&
            value & oid::kFilterPromiscuous && !nic_.promiscuous) {
            return rndis::kStatusNotSupported;
        }
        (oid == oid::kGenCurrentPacketFilter ? filter_ : lookahead_) = value;
        return rndis::kStatusSuccess;
    }
    case oid::kTcpOffloadParameters:
        return set_offloads(input);
    case oid::kGenReceiveScaleParameters:
        return scaling_.set(input);
    case oid::kGenRndisConfigParameter:
        return set_parameter(input);
    default:
        return rndis::kStatusNotSupported;
    }
}

uint32_t
Oids::set_offloads(Bytes input)
{
    /* Guests send 22 or 28 bytes; the first 20 are all that matters here. */
    constexpr size_t kNeeded = offsetof(oid::OffloadParameters, ipsec_v2);
    oid::OffloadParameters wanted{};
    if (input.size() < kNeeded) {
        return rndis::kStatusInvalidLength;
    }
    std::memcpy(&wanted, input.data(), std::min(input.size(), sizeof wanted));
    if (wanted.header.type != oid::kOffloadParametersType ||
        wanted.lsov1 == oid::kOffloadOn) {
        return rndis::kStatusInvalidData;
    }
    apply(wanted.ipv4_header_checksum, tx_.ipv4_header, rx_.ipv4_header);
    apply(wanted.tcp_ipv4_checksum, tx_.tcp_ipv4, rx_.tcp_ipv4);
    apply(wanted.udp_ipv4_checksum, tx_.udp_ipv4, rx_.udp_ipv4);
    apply(wanted.tcp_ipv6_checksum, tx_.tcp_ipv6, rx_.tcp_ipv6);
    apply(wanted.udp_ipv6_checksum, tx_.udp_ipv6, rx_.udp_ipv6);
    return rndis::kStatusSuccess;
}

uint32_t
Oids::set_parameter(Bytes input)
{
    if (input.size() < kParameterSize) {
        return rndis::kStatusInvalidLength;
    }
    auto name = part(input, load<uint32_t>(input, kParameterNameAt),
                     load<uint32_t>(input, kParameterNameAt + 4));
    auto type = load<uint32_t>(input, kParameterNameAt + 8);
    auto value = part(input, load<uint32_t>(input, kParameterValueAt),
                      load<uint32_t>(input, kParameterValueAt + 4));
    if (!name || !value) {
        return rndis::kStatusInvalidData;
    }
    Bytes wanted = std::as_bytes(std::span(kNetworkAddress));
    if (!std::equal(name->begin(), name->end(), wanted.begin(),
                    wanted.end())) {
        return rndis::kStatusSuccess; /* Unknown names are ignored (F.6). */
    }
    std::optional<MacAddress> mac = parse_hex_mac(*value);
    if (type != kParameterString || !mac || (*mac)[0] & 1) {
        return rndis::kStatusInvalidData;
    }
    mac_ = *mac;
    return rndis::kStatusSuccess;
}

/* --- What the data path asks ------------------------------------------- */

bool
Oids::wants(Bytes frame) const
{
    if (filter_ & oid::kFilterPromiscuous) {
        return true;
    }
    if (std::to_integer<uint8_t>(frame[0]) & 1) {
        bool broadcast =
            std::all_of(frame.begin(), frame.begin() + kEthernetAddress,
                        [](std::byte b) { return b == std::byte{0xff}; });
        /* kFilterMulticast is about a list, which no guest sends (F.1). */
        return filter_ &
               (broadcast ? oid::kFilterBroadcast : oid::kFilterAllMulticast);
    }
    return filter_ & oid::kFilterDirected &&
           !std::memcmp(frame.data(), mac_.data(), mac_.size());
}

ChecksumVerdict
Oids::reportable(ChecksumVerdict verdict, bool ipv4) const
{
    verdict.ip_header = verdict.ip_header && rx_.ipv4_header;
    verdict.tcp = verdict.tcp && (ipv4 ? rx_.tcp_ipv4 : rx_.tcp_ipv6);
    verdict.udp = verdict.udp && (ipv4 ? rx_.udp_ipv4 : rx_.udp_ipv6);
    return verdict;
}

} // namespace netvsc::host
