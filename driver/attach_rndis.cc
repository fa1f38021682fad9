#include "driver/attach_rndis.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include <errno.h>

#include "driver/ethernet.h"
#include "wire/oid.h"
#include "wire/rndis.h"

namespace netvsc {

using namespace wire::rndis;
namespace oid = wire::oid;

namespace {

/* Smallest message size that a frame fits: hosts announce 16 KiB and up. */
constexpr uint32_t kMinTransferSize = 256;
/* Alignments above a page would leave no room for a second message. */
constexpr uint32_t kMaxAlignmentShift = 12;

std::string
oid_name(const char *verb, uint32_t number)
{
    char text[64];
    std::snprintf(text, sizeof text, "RNDIS %s of OID 0x%08x", verb, number);
    return text;
}

std::span<const uint8_t>
bytes_of(const std::vector<uint8_t> &message)
{
    return message;
}

/* QUERY or SET with `info` behind the fixed part. */
std::vector<uint8_t>
make_request(uint32_t type, uint32_t request_id, uint32_t number,
             std::span<const uint8_t> info)
{
    Request request = {};
    std::vector<uint8_t> message(sizeof request + info.size());
    request.header = {type, static_cast<uint32_t>(message.size())};
    request.request_id = request_id;
    request.oid = number;
    request.info_length = static_cast<uint32_t>(info.size());
    request.info_offset = kRequestInfoOffset;
    std::memcpy(message.data(), &request, sizeof request);
    std::copy(info.begin(), info.end(),
              message.begin() + static_cast<ptrdiff_t>(sizeof request));
    return message;
}

/* The value that the host answers, empty if it does not know the OID. */
Result<std::vector<uint8_t>>
query(HostRequests *requests, uint32_t number,
      std::span<const uint8_t> input = {})
{
    uint32_t id = requests->next_request_id();
    std::string what = oid_name("QUERY", number);
    auto message = make_request(kQuery, id, number, input);
    auto reply = requests->request_rndis(bytes_of(message), id, kQueryComplete,
                                         sizeof(QueryComplete), what);
    if (!reply) {
        return reply.error();
    }
    QueryComplete complete;
    std::memcpy(&complete, reply->data(), sizeof complete);
    if (complete.status != kStatusSuccess || complete.info_length == 0) {
        return std::vector<uint8_t>();
    }
    uint64_t start = uint64_t{kOffsetBase} + complete.info_offset;
    if (start < sizeof complete ||
        start + complete.info_length > reply->size()) {
        return Error{EPROTO, "The host answered " + what +
                                 " with a value outside its message."};
    }
    auto first = reply->begin() + static_cast<ptrdiff_t>(start);
    return std::vector<uint8_t>(first, first + complete.info_length);
}

/* A query whose answer is a 32-bit number, or nothing. */
Result<std::optional<uint32_t>>
query_u32(HostRequests *requests, uint32_t number)
{
    auto value = query(requests, number);
    if (!value) {
        return value.error();
    }
    uint32_t result;
    if (value->size() < sizeof result) {
        return std::optional<uint32_t>();
    }
    std::memcpy(&result, value->data(), sizeof result);
    return std::optional(result);
}

Status
set(HostRequests *requests, uint32_t number, std::span<const uint8_t> info)
{
    uint32_t id = requests->next_request_id();
    std::string what = oid_name("SET", number);
    auto message = make_request(kSet, id, number, info);
    auto reply = requests->request_rndis(bytes_of(message), id, kSetComplete,
                                         sizeof(SetComplete), what);
    if (!reply) {
        return reply.error();
    }
    SetComplete complete;
    std::memcpy(&complete, reply->data(), sizeof complete);
    if (complete.status != kStatusSuccess) {
        char status[16];
        std::snprintf(status, sizeof status, "0x%08x",
                      static_cast<uint32_t>(complete.status));
        return Error{EPERM, "The host refused " + what + " with status " +
                                status + "."};
    }
    return ok();
}

template <typename Object>
std::span<const uint8_t>
object_bytes(const Object &object)
{
    return {reinterpret_cast<const uint8_t *>(&object), sizeof object};
}

Status
initialize(HostRequests *requests, Negotiated *to)
{
    uint32_t id = requests->next_request_id();
    Initialize message = {{kInitialize, sizeof message},
                          id,
                          kMajorVersion,
                          kMinorVersion,
                          kGuestMaxTransferSize};
    auto reply = requests->request_rndis(
        object_bytes(message), id, kInitializeComplete,
        sizeof(InitializeComplete), "RNDIS INITIALIZE");
    if (!reply) {
        return reply.error();
    }
    InitializeComplete complete;
    std::memcpy(&complete, reply->data(), sizeof complete);
    if (complete.status != kStatusSuccess ||
        complete.max_transfer_size < kMinTransferSize ||
        complete.packet_alignment_shift > kMaxAlignmentShift) {
        return Error{EPROTO, "The host refused RNDIS INITIALIZE: its version "
                             "is not known to work with this driver."};
    }
    to->max_packets_per_message =
        std::max<uint32_t>(complete.max_packets_per_message, 1);
    to->max_transfer_size = complete.max_transfer_size;
    to->packet_alignment = 1u << complete.packet_alignment_shift;
    return ok();
}

Status
query_identity(HostRequests *requests, uint32_t mtu, Negotiated *to)
{
    auto frame_size = query_u32(requests, oid::kGenMaximumFrameSize);
    if (!frame_size) {
        return frame_size.error();
    }
    uint32_t says = frame_size->value_or(0);
    /* A host that says less says nothing. */
    to->mtu = says >= kMinMtu ? std::min(says, mtu) : mtu;
    to->max_mtu = to->mtu < mtu ? to->mtu : kMostMtu;

    auto mac = query(requests, oid::k8023PermanentAddress);
    if (!mac) {
        return mac.error();
    }
    if (mac->size() != to->mac.size()) {
        return Error{EPROTO,
                     "The host does not tell the adapter's MAC address."};
    }
    std::copy(mac->begin(), mac->end(), to->mac.begin());
    if (to->mac[0] & kGroupAddress || to->mac == decltype(to->mac){}) {
        char text[18];
        std::snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x",
                      to->mac[0], to->mac[1], to->mac[2], to->mac[3],
                      to->mac[4], to->mac[5]);
        return Error{EPROTO, std::string("The host gives the adapter the MAC "
                                         "address ") +
                                 text +
                                 ", which no station can have: give the "
                                 "adapter another one on the host."};
    }
    return ok();
}

/* Receive checksums verified, nothing asked of the host on transmit: frames
 * leave complete. */
Status
set_offloads(HostRequests *requests, const Negotiated &negotiated)
{
    oid::Offload input = {};
    input.header.type = oid::kOffloadType;
    input.header.revision = oid::kOffloadRevision3;
    input.header.size = oid::kOffloadSize3;
    if (negotiated.nvsp_version < wire::nvsp::kVersion5) {
        bool v4 = negotiated.nvsp_version == wire::nvsp::kVersion4;
        input.header.revision = v4 ? 2 : 1;
        input.header.size = v4 ? oid::kOffloadSize2 : oid::kOffloadSize1;
    }
    auto capabilities = query(requests, oid::kTcpOffloadHardwareCapabilities,
                              object_bytes(input).first(input.header.size));
    if (!capabilities) {
        return capabilities.error();
    }
    oid::Offload offload = {};
    if (capabilities->size() >= oid::kOffloadSize1) {
        std::memcpy(&offload, capabilities->data(),
                    std::min(capabilities->size(), sizeof offload));
    }
    if (offload.header.type != oid::kOffloadType ||
        offload.header.size < oid::kOffloadSize1 ||
        offload.header.size > capabilities->size()) {
        return ok(); /* A host without offloads: there is nothing to set. */
    }

    auto receive = [](uint32_t flags, uint32_t bit) {
        return flags & bit ? oid::kChecksumRxOn : oid::kOffloadOff;
    };
    oid::OffloadParameters parameters = {};
    parameters.header = {oid::kOffloadParametersType,
                         oid::kOffloadParametersRevision, sizeof parameters};
    parameters.ipv4_header_checksum =
        receive(offload.ipv4_rx_flags, oid::kChecksumIpHeader);
    parameters.tcp_ipv4_checksum =
        receive(offload.ipv4_rx_flags, oid::kChecksumTcp);
    parameters.udp_ipv4_checksum =
        receive(offload.ipv4_rx_flags, oid::kChecksumUdp);
    parameters.tcp_ipv6_checksum =
        receive(offload.ipv6_rx_flags, oid::kChecksumTcp);
    parameters.udp_ipv6_checksum =
        receive(offload.ipv6_rx_flags, oid::kChecksumUdp);
    parameters.lsov2_ipv4 = oid::kOffloadOff;
    parameters.lsov2_ipv6 = oid::kOffloadOff;
    parameters.rsc_ipv4 = oid::kOffloadOff;
    parameters.rsc_ipv6 = oid::kOffloadOff;
    return set(requests, oid::kTcpOffloadParameters, object_bytes(parameters));
}

Status
query_link(HostRequests *requests, Negotiated *to)
{
    auto media = query_u32(requests, oid::kGenMediaConnectStatus);
    if (!media) {
        return media.error();
    }
    /* Without an answer the link counts as up, as in Linux (F.2). */
    to->link_up =
        media->value_or(oid::kMediaConnected) == oid::kMediaConnected;
    auto speed = query_u32(requests, oid::kGenLinkSpeed);
    if (!speed) {
        return speed.error();
    }
    to->link_speed = speed->value_or(0) * oid::kLinkSpeedUnit;
    return ok();
}

Status
query_rss(HostRequests *requests, Negotiated *to)
{
    if (to->nvsp_version < wire::nvsp::kVersion5) {
        return ok(); /* No sub-channels before NVSP 5. */
    }
    oid::RssCapabilities input = {};
    input.header = {oid::kRssCapabilitiesType, oid::kRssCapabilitiesRevision,
                    sizeof input};
    auto reply = query(requests, oid::kGenReceiveScaleCapabilities,
                       object_bytes(input));
    if (!reply) {
        return reply.error();
    }
    oid::RssCapabilities capabilities = {};
    /* Revision 1 ends before the number of indirection entries (F.5). */
    if (reply->size() >= offsetof(oid::RssCapabilities, indirection_entries)) {
        std::memcpy(&capabilities, reply->data(),
                    std::min(reply->size(), sizeof capabilities));
        if (capabilities.header.type == oid::kRssCapabilitiesType) {
            to->max_rx_queues =
                std::max<uint32_t>(capabilities.receive_queues, 1);
        }
    }
    return ok();
}

} // namespace

Status
attach_rndis(HostRequests *requests, uint32_t mtu, Negotiated *to)
{
    if (Status done = initialize(requests, to); !done) {
        return done;
    }
    if (Status done = query_identity(requests, mtu, to); !done) {
        return done;
    }
    if (Status done = set_offloads(requests, *to); !done) {
        return done;
    }
    if (Status done = query_link(requests, to); !done) {
        return done;
    }
    return query_rss(requests, to);
}

Status
set_packet_filter(HostRequests *requests, uint32_t filter)
{
    return set(requests, oid::kGenCurrentPacketFilter, object_bytes(filter));
}

} // namespace netvsc
