#include "host/netvsp/rndis_device.h"

#include <cstdio>

#include "host/base/log.h"
#include "wire/rndis.h"

namespace netvsc::host {

namespace rndis = wire::rndis;
namespace oid = wire::oid;

namespace {

/* No limit of our own; openvmm's value, which all guests cope with (E.2). */
constexpr uint32_t kMaxTransferSize = 0xefffffff;

/* E.12. */
constexpr uint32_t kStatusBadVersion = 0xc0010004;

std::string
hex(uint32_t value)
{
    char text[11];
    std::snprintf(text, sizeof text, "0x%08x", value);
    return text;
}

template <typename T>
std::vector<std::byte>
message(const T &value, Bytes data = {})
{
    Bytes head = bytes_of(value);
    std::vector<std::byte> bytes(head.begin(), head.end());
    bytes.insert(bytes.end(), data.begin(), data.end());
    return bytes;
}

template <typename T>
rndis::Header
header(uint32_t type, size_t data = 0)
{
    return {type, static_cast<uint32_t>(sizeof(T) + data)};
}

/* The object that a QUERY or SET carries; nothing when it leaves the message.
 * Real hosts also refuse offset 0 (E.2). */
std::optional<Bytes>
request_data(Bytes message, const rndis::Request &request)
{
    uint64_t at = uint64_t{request.info_offset} + rndis::kOffsetBase;
    if (at < sizeof request || at > message.size() ||
        request.info_length > message.size() - at) {
        return std::nullopt;
    }
    return message.subspan(at, request.info_length);
}

} // namespace

/* --- ControlQueue ------------------------------------------------------ */

void
ControlQueue::push(std::vector<std::byte> message)
{
    bytes_ += message.size();
    messages_.push_back(std::move(message));
}

void
ControlQueue::pop()
{
    bytes_ -= messages_.front().size();
    messages_.pop_front();
}

/* --- RndisDevice ------------------------------------------------------- */

const char *
RndisDevice::handle(Bytes message, ControlQueue &answers)
{
    if (message.size() < sizeof(rndis::Halt)) {
        return "RNDIS control message shorter than any";
    }
    auto head = load<rndis::Header>(message);
    if (head.length < sizeof(rndis::Halt) || head.length > message.size()) {
        return "RNDIS control message length out of range";
    }
    message = message.first(head.length);
    if (answers.overflown()) {
        return "more than 100 KiB of answers that the guest did not take";
    }

    switch (head.type) {
    case rndis::kInitialize:
        return initialize(message, answers);
    case rndis::kQuery:
        return query(message, answers);
    case rndis::kSet:
        return set(message, answers);
    case rndis::kHalt:
        return halt();
    case rndis::kKeepalive:
        return keepalive(message, answers);
    default:
        return "RNDIS control message of a type that no guest sends";
    }
}

const char *
RndisDevice::initialize(Bytes bytes, ControlQueue &answers)
{
    if (state_ != State::kUninitialized) {
        return "second RNDIS INITIALIZE in a session";
    }
    if (bytes.size() < sizeof(rndis::Initialize)) {
        return "RNDIS INITIALIZE too short";
    }
    auto request = load<rndis::Initialize>(bytes);
    rndis::InitializeComplete reply{};
    reply.header =
        header<rndis::InitializeComplete>(rndis::kInitializeComplete);
    reply.request_id = request.request_id;
    reply.status = request.major == rndis::kMajorVersion
                       ? rndis::kStatusSuccess
                       : kStatusBadVersion;
    reply.major = rndis::kMajorVersion;
    reply.minor = rndis::kMinorVersion;
    reply.device_flags = rndis::kDeviceFlagConnectionless;
    reply.medium = rndis::kMedium8023;
    reply.max_packets_per_message = nic_.packets_per_message;
    reply.max_transfer_size = kMaxTransferSize;
    reply.packet_alignment_shift = nic_.alignment_shift;
    answers.push(message(reply));

    if (reply.status == rndis::kStatusSuccess) {
        state_ = State::kRunning;
    }
    log("RNDIS initialize, version " + std::to_string(request.major) + "." +
        std::to_string(request.minor));
    return nullptr;
}

const char *
RndisDevice::query(Bytes bytes, ControlQueue &answers)
{
    if (!running()) {
        return "RNDIS QUERY outside of INITIALIZE and HALT";
    }
    if (bytes.size() < sizeof(rndis::Request)) {
        return "RNDIS QUERY too short";
    }
    auto request = load<rndis::Request>(bytes);
    std::optional<Bytes> input = request_data(bytes, request);
    Oids::Answer answer = input ? oids_.query(request.oid, *input)
                                : Oids::Answer{rndis::kStatusInvalidData, {}};

    rndis::QueryComplete reply{};
    reply.header = header<rndis::QueryComplete>(rndis::kQueryComplete,
                                                answer.data.size());
    reply.request_id = request.request_id;
    reply.status = answer.status;
    reply.info_length = static_cast<uint32_t>(answer.data.size());
    reply.info_offset = rndis::kQueryCompleteInfoOffset;
    answers.push(message(reply, answer.data));
    log("query " + hex(request.oid) + ", status " + hex(answer.status));
    return nullptr;
}

const char *
RndisDevice::set(Bytes bytes, ControlQueue &answers)
{
    if (!running()) {
        return "RNDIS SET outside of INITIALIZE and HALT";
    }
    if (bytes.size() < sizeof(rndis::Request)) {
        return "RNDIS SET too short";
    }
    auto request = load<rndis::Request>(bytes);
    std::optional<Bytes> input = request_data(bytes, request);

    rndis::SetComplete reply{};
    reply.header = header<rndis::SetComplete>(rndis::kSetComplete);
    reply.request_id = request.request_id;
    reply.status =
        input ? oids_.set(request.oid, *input) : rndis::kStatusInvalidData;
    answers.push(message(reply));
    log("set " + hex(request.oid) + ", status " + hex(reply.status) +
        (request.oid == oid::kGenCurrentPacketFilter
             ? ", filter " + hex(oids_.filter())
             : ""));

    if (request.oid == oid::kTcpOffloadParameters &&
        reply.status == rndis::kStatusSuccess) {
        indicate(rndis::kStatusTaskOffloadCurrentConfig,
                 oids_.current_offloads(), answers);
    }
    return nullptr;
}

const char *
RndisDevice::halt()
{
    /* No answer (E.2); guests that revoked the receive buffer before could
     * not take one. */
    state_ = State::kHalted;
    oids_.close_filter();
    log("RNDIS halt");
    return nullptr;
}

const char *
RndisDevice::keepalive(Bytes bytes, ControlQueue &answers)
{
    if (!running()) {
        return "RNDIS KEEPALIVE outside of INITIALIZE and HALT";
    }
    rndis::SetComplete reply{};
    reply.header = header<rndis::SetComplete>(rndis::kKeepaliveComplete);
    reply.request_id = load<rndis::Halt>(bytes).request_id;
    reply.status = rndis::kStatusSuccess;
    answers.push(message(reply));
    return nullptr;
}

void
RndisDevice::set_link(bool up, ControlQueue &answers)
{
    if (up == oids_.link_up()) {
        return;
    }
    oids_.set_link(up);
    if (running()) {
        indicate(up ? rndis::kStatusMediaConnect
                    : rndis::kStatusMediaDisconnect,
                 {}, answers);
    }
}

void
RndisDevice::indicate(uint32_t status, Bytes data, ControlQueue &answers)
{
    rndis::IndicateStatus indication{};
    indication.header =
        header<rndis::IndicateStatus>(rndis::kIndicateStatus, data.size());
    indication.status = status;
    indication.buffer_length = static_cast<uint32_t>(data.size());
    indication.buffer_offset = data.empty() ? 0 : rndis::kIndicateBufferOffset;
    answers.push(message(indication, data));
}

void
RndisDevice::log(const std::string &text) const
{
    log_guest(nic_.guid, text);
}

} // namespace netvsc::host
