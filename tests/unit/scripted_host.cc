#include "tests/unit/scripted_host.h"

#include <algorithm>
#include <cstdio>

namespace netvsc::test {

namespace {

std::string
with_number(const char *name, uint32_t number)
{
    char text[40];
    std::snprintf(text, sizeof text, "%s 0x%08x", name, number);
    return text;
}

} // namespace

Bytes
u32(uint32_t value)
{
    Bytes bytes(4);
    put32(bytes, 0, value);
    return bytes;
}

ScriptedHost::ScriptedHost(FakeUio *uio, std::optional<uint32_t> monitor_id)
    : out(uio->out_ring()), in(uio->in_ring()), uio_(uio),
      monitor_id_(monitor_id)
{
    /* Offloads that a real host has: type 0xa7, revision 3, 156 bytes; the
     * checksum flags of F.3. */
    Bytes offload(156);
    offload[0] = 0xa7;
    offload[1] = 3;
    put16(offload, 2, 156);
    for (size_t at : {8, 16}) {
        put32(offload, at, 0x155);
    }
    for (size_t at : {24, 32}) {
        put32(offload, at, 0x55);
    }
    /* RSS: type 0x88, revision 2, 18 bytes; 8 queues, 128 entries. */
    Bytes rss(18);
    rss[0] = 0x88;
    rss[1] = 2;
    put16(rss, 2, 18);
    put32(rss, 4, 0x301);
    put32(rss, 8, 8);
    put32(rss, 12, 8);
    put16(rss, 16, 128);
    values = {
        {0x00010106, u32(1500)},       {0x01010101, hex("02 15 5d 00 00 01")},
        {0xfc01020d, offload},         {0x00010114, u32(0)},
        {0x00010107, u32(0x05f5e100)}, {0x00010203, rss}};
}

bool
ScriptedHost::signalled()
{
    if (!monitor_id_) {
        return uio_->take_signal();
    }
    auto page = uio_->map(wire::kUioMapMonitorPage);
    size_t at = 8 + *monitor_id_ / 32 * 8;
    uint32_t bit = 1u << *monitor_id_ % 32;
    return std::atomic_ref(*reinterpret_cast<uint32_t *>(page.data() + at))
               .fetch_and(~bit) &
           bit;
}

void
ScriptedHost::run()
{
    bool signal = signalled();
    if (!signal && late_.empty()) {
        return;
    }
    while (auto packet = signal ? out.read() : std::nullopt) {
        handle(*packet);
    }
    for (Late &late : late_) {
        if (late.runs-- == 0) {
            in.write(completion_packet(late.id, nvsp_message({108, 1})));
        }
    }
    std::erase_if(late_, [](const Late &late) { return late.runs == ~0u; });
    if (in.used() != 0 && in.get(kInterruptMask) == 0) {
        uio_->interrupt();
    }
}

void
ScriptedHost::expect(bool condition, const std::string &what)
{
    if (!condition) {
        errors.push_back(what);
    }
}

void
ScriptedHost::handle(const Bytes &packet)
{
    uint16_t type = get16(packet, 0), flags = get16(packet, 6);
    uint64_t id = get64(packet, 8);
    expect(get16(packet, 2) == 2, "payload not at 16");
    Bytes payload(packet.begin() + 16, packet.end());
    if (type == 11) {
        expect(flags == 0, "completion with a flag");
        expect(payload.size() == 8 && get32(payload, 0) == 108,
               "receive completion of another form");
        returned.push_back(id);
        return;
    }
    expect(type == 6, "packet of another type");
    expect(payload.size() == 40, "NVSP message not of 40 bytes");
    if (flags == 1) {
        expect(std::find(ids.begin(), ids.end(), id) == ids.end() ||
                   get32(payload, 0) == 107,
               "id used twice");
        ids.push_back(id);
    }
    Reply reply;
    reply.id = id;
    switch (get32(payload, 0)) {
    case 1: {
        uint32_t version = get32(payload, 4);
        expect(version == get32(payload, 8), "a range of versions");
        reply.completion = nvsp_message(
            {2, 0xffffffff, 34, version <= newest_version ? 1u : 0u});
        answer(with_number("INIT", version), payload, reply);
        break;
    }
    case 100:
        expect(flags == 0, "NDIS_VERSION wants a reply");
        answer("NDIS_VERSION", payload, reply);
        break;
    case 101:
        reply.completion =
            nvsp_message({102, 1, 1, 0, suballoc_size, suballocs,
                          suballoc_size * suballocs});
        answer("RECV_BUF", payload, reply);
        break;
    case 103:
        expect(flags == 0, "REVOKE_RECV wants a reply");
        answer("REVOKE_RECV", payload, reply);
        break;
    case 104:
        reply.completion = nvsp_message({105, 1, section_size});
        answer("SEND_BUF", payload, reply);
        break;
    case 106:
        expect(flags == 0, "REVOKE_SEND wants a reply");
        answer("REVOKE_SEND", payload, reply);
        break;
    case 107:
        expect(flags == 1, "RNDIS without completion");
        handle_rndis(id, payload);
        break;
    case 125:
        expect(flags == 0, "NDIS_CONFIG wants a reply");
        answer("NDIS_CONFIG", payload, reply);
        break;
    default:
        errors.push_back("NVSP message of another type");
    }
}

void
ScriptedHost::handle_rndis(uint64_t id, const Bytes &payload)
{
    uint32_t section = get32(payload, 8), size = get32(payload, 12);
    auto buffer = uio_->map(wire::kUioMapSendBuffer);
    uint64_t start = uint64_t{section} * section_size;
    if (size < 8 || size > section_size || start + size > buffer.size()) {
        errors.push_back("RNDIS message outside the send buffer");
        return;
    }
    auto bytes = buffer.subspan(start, size);
    Bytes message(bytes.begin(), bytes.end());
    Reply reply;
    reply.id = id;
    reply.completion = nvsp_message({108, 1});
    if (get32(payload, 4) == 0) {
        data.push_back(message);
        late_.push_back({id, data_delay});
        return;
    }
    expect(get32(message, 4) == size, "control message of another length");
    reply.message = rndis_answer(message);
    switch (get32(message, 0)) {
    case 2:
        answer("INITIALIZE", message, reply);
        break;
    case 3:
        answer("HALT", message, reply);
        break;
    case 4:
        /* Real hosts fail a query whose offset is 0 (E.2). */
        expect(get32(message, 20) == 20, "QUERY without offset");
        expect(get32(message, 16) == size - 28, "QUERY of another length");
        answer(with_number("QUERY", get32(message, 12)), message, reply);
        break;
    case 5:
        expect(get32(message, 20) == 20, "SET without offset");
        expect(get32(message, 16) == size - 28, "SET of another length");
        answer(with_number("SET", get32(message, 12)), message, reply);
        break;
    default:
        errors.push_back("RNDIS message of another type");
    }
}

Bytes
ScriptedHost::rndis_answer(const Bytes &message)
{
    uint32_t id = get32(message, 8);
    switch (get32(message, 0)) {
    case 2:
        return rndis_message(
            {0x80000002, 0, id, 0, 1, 0, 1, 0, 8, 0xefffffff, 3, 0, 0});
    case 4: {
        auto value = values.find(get32(message, 12));
        if (value == values.end()) {
            return rndis_message({0x80000004, 0, id, 0xc00000bb, 0, 16});
        }
        return rndis_message({0x80000004, 0, id, 0,
                              static_cast<uint32_t>(value->second.size()), 16},
                             value->second);
    }
    case 5:
        return rndis_message({0x80000005, 0, id, 0});
    default:
        return {};
    }
}

void
ScriptedHost::answer(const std::string &name, const Bytes &request,
                     Reply reply)
{
    log.push_back(name);
    requests.push_back(request);
    if (edit) {
        edit(name, &reply);
    }
    auto complete = [&] {
        for (unsigned i = 0; i < reply.completions; i++) {
            if (!reply.completion.empty()) {
                in.write(reply.inband
                             ? inband_packet(reply.completion, reply.id)
                             : completion_packet(reply.id, reply.completion));
            }
        }
    };
    if (!reply.message_first) {
        complete();
    }
    if (!reply.message.empty()) {
        for (unsigned i = 0; i < reply.messages; i++) {
            send(reply.message, kControl);
        }
    }
    if (reply.message_first) {
        complete();
    }
}

void
ScriptedHost::send(const Bytes &message, uint32_t channel_type)
{
    uint32_t offset = next_suballoc_++ % suballocs * suballoc_size;
    auto buffer = uio_->map(wire::kUioMapReceiveBuffer);
    std::copy(message.begin(), message.end(), buffer.begin() + offset);
    in.write(transfer_packet(++issued,
                             {{static_cast<uint32_t>(message.size()), offset}},
                             channel_type));
}

} // namespace netvsc::test
