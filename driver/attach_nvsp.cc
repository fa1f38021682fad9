#include "driver/attach_nvsp.h"

#include <algorithm>
#include <cstring>

#include <errno.h>

#include "driver/ethernet.h"
#include "wire/nvsp.h"
#include "wire/rndis.h"

namespace netvsc {

using namespace wire::nvsp;

namespace {

/* A send section and a receive sub-allocation must each hold a control
 * message: the longest is the query of the offload capabilities, about 190
 * bytes, and its answer is nearly as long (E.6).  Hosts give 1.5 KiB and
 * more. */
constexpr uint32_t kMinSectionSize = 256;
constexpr uint32_t kMinSuballocSize = 256;

/* Each send section has its place in a few arrays.  Hosts give 16 MiB in
 * sections of 6 KiB: 2,730. */
constexpr uint64_t kMostSections = uint64_t{1} << 20;

template <typename Message>
Message
read_reply(const HostRequests::NvspReply &reply)
{
    static_assert(sizeof(Message) <= sizeof reply);
    Message message;
    std::memcpy(&message, reply.data(), sizeof message);
    return message;
}

Error
bad_reply(const char *what, const std::string &why)
{
    return {EPROTO, std::string("The host answered ") + what + " " + why +
                        ": its version is not known to work with this "
                        "driver."};
}

/* Offers one version after the other until the host takes one (D.4). */
Status
init(HostRequests *requests, Negotiated *to)
{
    for (uint32_t version :
         {kVersion61, kVersion6, kVersion5, kVersion4, kVersion2, kVersion1}) {
        Init message = {kInit, version, version};
        auto reply = requests->request_nvsp(message, "NVSP INIT");
        if (!reply) {
            return reply.error();
        }
        auto complete = read_reply<InitComplete>(*reply);
        if (complete.type != kInitComplete) {
            return bad_reply("NVSP INIT", "with another message");
        }
        if (complete.status == kStatusSuccess) {
            to->nvsp_version = version;
            return ok();
        }
    }
    return bad_reply("NVSP INIT", "by refusing every version");
}

Status
send_ndis(HostRequests *requests, uint32_t mtu, Negotiated *to)
{
    if (to->nvsp_version > kVersion1) {
        /* No SR-IOV, teaming or RSC: there is nothing behind them yet. */
        SendNdisConfig config = {kSendNdisConfig, mtu + kEthernetHeader, 0,
                                 kCapabilityIeee8021q};
        if (Status sent = requests->notify_nvsp(config, "NDIS_CONFIG");
            !sent) {
            return sent;
        }
    }
    to->ndis_major = kNdisMajor;
    to->ndis_minor = to->nvsp_version > kVersion4 ? kNdisMinor : kNdisMinorOld;
    SendNdisVersion version = {kSendNdisVersion, to->ndis_major,
                               to->ndis_minor};
    return requests->notify_nvsp(version, "NDIS_VERSION");
}

Status
share_receive_buffer(HostRequests *requests, const DeviceInfo &info,
                     Negotiated *to)
{
    constexpr char kWhat[] = "SEND_RECV_BUF";
    SendBuffer message = {kSendReceiveBuffer, info.receive_gpadl,
                          kReceiveBufferId};
    auto reply = requests->request_nvsp(message, kWhat);
    if (!reply) {
        return reply.error();
    }
    auto complete = read_reply<SendReceiveBufferComplete>(*reply);
    const ReceiveBufferSection &section = complete.section;
    uint64_t size = info.maps[wire::kUioMapReceiveBuffer].size;
    if (complete.type != kSendReceiveBufferComplete ||
        complete.status != kStatusSuccess) {
        return bad_reply(kWhat, "with a refusal");
    }
    if (complete.sections != 1 || section.offset != 0 ||
        section.suballocs == 0 ||
        uint64_t{section.suballoc_size} * section.suballocs > size) {
        return bad_reply(kWhat, "with sections outside the buffer");
    }
    if (section.suballoc_size < kMinSuballocSize) {
        return bad_reply(kWhat, "with sections of " +
                                    std::to_string(section.suballoc_size) +
                                    " bytes, too small for its own replies");
    }
    to->receive_suballoc_size = section.suballoc_size;
    to->receive_suballocs = section.suballocs;
    return ok();
}

Status
share_send_buffer(HostRequests *requests, const DeviceInfo &info,
                  Negotiated *to)
{
    constexpr char kWhat[] = "SEND_SEND_BUF";
    SendBuffer message = {kSendSendBuffer, info.send_gpadl, kSendBufferId};
    auto reply = requests->request_nvsp(message, kWhat);
    if (!reply) {
        return reply.error();
    }
    auto complete = read_reply<SendSendBufferComplete>(*reply);
    uint64_t size = info.maps[wire::kUioMapSendBuffer].size;
    if (complete.type != kSendSendBufferComplete ||
        complete.status != kStatusSuccess) {
        return bad_reply(kWhat, "with a refusal");
    }
    /* At least the control section and one for data. */
    if (complete.section_size < kMinSectionSize ||
        complete.section_size % wire::kRingUnit != 0 ||
        uint64_t{complete.section_size} * 2 > size ||
        size / complete.section_size > kMostSections) {
        return bad_reply(kWhat, "with an impossible section size");
    }
    to->send_section_size = complete.section_size;
    return ok();
}

} // namespace

uint32_t
mtu_to_ask(uint32_t mtu) noexcept
{
    /* The host answers with the least of what is asked and what the adapter
     * has, and sizes the receive sub-allocations by that.  So the usual port
     * on the usual adapter asks for 1500 at least: a smaller MTU would save
     * nothing, and the way back would take a new session.  It does not ask
     * for more than it wants: on an adapter with jumbo frames there would be
     * five times fewer sub-allocations, of which 1500 bytes each are used.
     *
     * The room of a tag comes on top, of one that the host does not take out
     * of the frame (802.1ad, or a second one).  It shows the adapter's limit
     * as well: a host that answers less than it was asked has named it. */
    return std::min(std::max(mtu, kUsualMtu) + kVlanTag, kMostMtu);
}

Status
attach_nvsp(HostRequests *requests, const DeviceInfo &info, uint32_t mtu,
            Negotiated *to)
{
    if (Status done = init(requests, to); !done) {
        return done;
    }
    if (Status done = send_ndis(requests, mtu, to); !done) {
        return done;
    }
    if (Status done = share_receive_buffer(requests, info, to); !done) {
        return done;
    }
    return share_send_buffer(requests, info, to);
}

Status
say_goodbye(HostRequests *requests)
{
    /* HALT first, as Linux does: hosts stop listening at the revokes (G.1). */
    wire::rndis::Halt halt = {{wire::rndis::kHalt, sizeof halt},
                              requests->next_request_id()};
    Status halted = requests->send_rndis(
        {reinterpret_cast<const uint8_t *>(&halt), sizeof halt}, "RNDIS HALT");
    if (!halted) {
        return halted;
    }
    RevokeBuffer receive = {kRevokeReceiveBuffer, kReceiveBufferId};
    if (Status sent = requests->notify_nvsp(receive, "REVOKE_RECV_BUF");
        !sent) {
        return sent;
    }
    RevokeBuffer send = {kRevokeSendBuffer, kSendBufferId};
    if (Status sent = requests->notify_nvsp(send, "REVOKE_SEND_BUF"); !sent) {
        return sent;
    }
    /* Nothing answers a revoke, and the close that follows takes the ring
     * away: be sure that it was read. */
    return requests->wait_drained("REVOKE_SEND_BUF");
}

} // namespace netvsc
