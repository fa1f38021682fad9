/* NVSP's messages other than RNDIS_PKT: versions, buffers, sub-channels
 * (D.2 to D.9), in protocol order. */

#include <algorithm>

#include "host/base/ethernet.h"
#include "host/netvsp/netvsp.h"

namespace netvsc::host {

namespace nvsp = wire::nvsp;

namespace {

constexpr uint32_t kVersions[] = {nvsp::kVersion61, nvsp::kVersion6,
                                  nvsp::kVersion5,  nvsp::kVersion4,
                                  nvsp::kVersion2,  nvsp::kVersion1};

} // namespace

const char *
nvsp_version_text(uint32_t version)
{
    switch (version) {
    case nvsp::kVersion61:
        return "6.1";
    case nvsp::kVersion6:
        return "6.0";
    case nvsp::kVersion5:
        return "5.0";
    case nvsp::kVersion4:
        return "4.0";
    case nvsp::kVersion2:
        return "2.0";
    case nvsp::kVersion1:
        return "1.0";
    default:
        return "";
    }
}

const char *
NetVsp::handle_init(const RingPacket &packet)
{
    auto message = message_of<nvsp::Init>(packet);
    if (!message || !wants_completion(packet)) {
        return "malformed NVSP INIT";
    }
    if (agreement_.version) {
        return "second NVSP INIT in a session";
    }
    for (uint32_t version : kVersions) {
        if (version <= nic_.nvsp && version >= message->min_version &&
            version <= message->max_version) {
            agreement_.version = version;
            break;
        }
    }
    log(agreement_.version
            ? std::string("NVSP init, version ") +
                  nvsp_version_text(agreement_.version)
            : "NVSP init, version " + std::to_string(message->max_version) +
                  " refused");

    nvsp::InitComplete answer{};
    answer.type = nvsp::kInitComplete;
    answer.version = agreement_.version == nvsp::kVersion1
                         ? nvsp::kVersion1
                         : nvsp::kInitVersionUnused;
    answer.max_mdl_chain = nvsp::kMaxMdlChain;
    answer.status =
        agreement_.version ? nvsp::kStatusSuccess : nvsp::kStatusNone;
    return reply(packet, bytes_of(answer));
}

const char *
NetVsp::handle_ndis_config(const RingPacket &packet)
{
    auto message = message_of<nvsp::SendNdisConfig>(packet);
    if (!message) {
        return "malformed NDIS_CONFIG";
    }
    if (have_ndis_config_ || have_receive_buffer_) {
        return "NDIS_CONFIG out of order";
    }
    have_ndis_config_ = true;
    /* The guest counts the Ethernet header; what it cannot mean stands for
     * the default.  The NIC's own MTU is the upper limit. */
    constexpr auto kHeader = static_cast<uint32_t>(kEthernetHeader);
    uint32_t wanted = message->mtu >= kDefaultMtu + kHeader &&
                              message->mtu <= kMaxMtu + kHeader
                          ? message->mtu - kHeader
                          : kDefaultMtu;
    agreement_.mtu = std::min(nic_.mtu, wanted);
    agreement_.capabilities = message->capabilities;
    log("NDIS config, MTU " + std::to_string(message->mtu) +
        " with its header, capabilities " +
        std::to_string(message->capabilities));
    return acknowledge(packet);
}

const char *
NetVsp::handle_ndis_version(const RingPacket &packet)
{
    auto message = message_of<nvsp::SendNdisVersion>(packet);
    if (!message) {
        return "malformed NDIS_VERSION";
    }
    bool config_missing =
        agreement_.version != nvsp::kVersion1 && !have_ndis_config_;
    if (have_ndis_version_ || config_missing) {
        return "NDIS_VERSION out of order";
    }
    have_ndis_version_ = true;
    log("NDIS version " + std::to_string(message->major) + "." +
        std::to_string(message->minor));
    return acknowledge(packet);
}

const char *
NetVsp::handle_receive_buffer(const RingPacket &packet)
{
    auto message = message_of<nvsp::SendBuffer>(packet);
    if (!message || !wants_completion(packet)) {
        return "malformed SEND_RECV_BUF";
    }
    if (!have_ndis_version_ || have_receive_buffer_) {
        return "SEND_RECV_BUF out of order";
    }
    have_receive_buffer_ = true;

    nvsp::SendReceiveBufferComplete answer{};
    answer.type = nvsp::kSendReceiveBufferComplete;
    MutableBytes buffer = front_end_.gpadl(message->gpadl);
    if (message->id == nvsp::kReceiveBufferId &&
        receive_buffer_.attach(buffer, agreement_.mtu)) {
        uint32_t size = receive_buffer_.suballoc_size();
        uint32_t count = receive_buffer_.ledger()->count();
        answer.status = nvsp::kStatusSuccess;
        answer.sections = 1;
        answer.section = {0, size, count, size * count};
        rndis_.emplace(nic_, agreement_, link_up_);
        log("receive buffer of " + std::to_string(buffer.size()) + " bytes, " +
            std::to_string(count) + " sub-allocations of " +
            std::to_string(size));
    } else {
        answer.status = nvsp::kStatusFailure;
        log("receive buffer refused: GPADL " + std::to_string(message->gpadl) +
            ", id " + std::to_string(message->id));
    }
    return reply(packet, bytes_of(answer));
}

const char *
NetVsp::handle_send_buffer(const RingPacket &packet)
{
    auto message = message_of<nvsp::SendBuffer>(packet);
    if (!message || !wants_completion(packet)) {
        return "malformed SEND_SEND_BUF";
    }
    if (!have_receive_buffer_ || have_send_buffer_) {
        return "SEND_SEND_BUF out of order";
    }
    have_send_buffer_ = true;

    nvsp::SendSendBufferComplete answer{};
    answer.type = nvsp::kSendSendBufferComplete;
    MutableBytes buffer = front_end_.gpadl(message->gpadl);
    if (buffer.size() >= nic_.section_size) {
        answer.status = nvsp::kStatusSuccess;
        answer.section_size = nic_.section_size;
        gatherer_.attach(buffer, nic_.section_size);
        log("send buffer of " + std::to_string(buffer.size()) +
            " bytes, sections of " + std::to_string(nic_.section_size));
    } else {
        answer.status = nvsp::kStatusFailure;
        log("send buffer refused: GPADL " + std::to_string(message->gpadl));
    }
    return reply(packet, bytes_of(answer));
}

const char *
NetVsp::handle_revoke(const RingPacket &packet, uint32_t type)
{
    /* By kind: guests differ on the ids they use (D.3). */
    if (type == nvsp::kRevokeReceiveBuffer) {
        receive_buffer_.revoke();
        log("receive buffer revoked");
    } else {
        gatherer_.attach({}, 0);
        log("send buffer revoked");
    }
    return acknowledge(packet);
}

const char *
NetVsp::handle_data_path_switch(const RingPacket &packet)
{
    /* There is no VF; the answer is an empty completion (D.8). */
    return message_of<nvsp::SwitchDataPath>(packet)
               ? acknowledge(packet)
               : "malformed SWITCH_DATA_PATH";
}

/* --- Replies ----------------------------------------------------------- */

const char *
NetVsp::reply(const RingPacket &request, Bytes message)
{
    replies_.push_back(
        {request.desc.trans_id, {message.begin(), message.end()}});
    return nullptr;
}

/* The empty completion of a message that has no reply, if it wants one. */
const char *
NetVsp::acknowledge(const RingPacket &request)
{
    if (wants_completion(request)) {
        replies_.push_back({request.desc.trans_id, {}});
    }
    return nullptr;
}

} // namespace netvsc::host
