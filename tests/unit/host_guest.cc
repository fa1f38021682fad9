#include "tests/unit/host_guest.h"

#include <gtest/gtest.h>

namespace netvsc::host::test {

namespace {

constexpr size_t kPage = 4096;
constexpr char kGuid[] = "f8615163-0000-1000-2000-00155d000001";

/* Control words (A.2). */
constexpr size_t kWriteIndex = 0;
constexpr size_t kReadIndex = 4;
constexpr size_t kFeatureBits = 64;

uint32_t &
word(std::span<std::byte> ring, size_t at)
{
    return *reinterpret_cast<uint32_t *>(ring.data() + at);
}

} // namespace

Buffer
from_hex(const std::string &text)
{
    Buffer bytes;
    std::string digits;
    for (char c : text) {
        if (!std::isspace(static_cast<unsigned char>(c))) {
            digits += c;
        }
    }
    for (size_t i = 0; i + 1 < digits.size(); i += 2) {
        bytes.push_back(static_cast<std::byte>(
            std::stoul(digits.substr(i, 2), nullptr, 16)));
    }
    return bytes;
}

std::string
to_hex(Bytes bytes)
{
    std::string text;
    char digits[4];
    for (size_t i = 0; i < bytes.size(); i++) {
        std::snprintf(digits, sizeof digits, "%02x",
                      std::to_integer<unsigned>(bytes[i]));
        text += digits;
        text += i % 16 == 15 ? '\n' : ' ';
    }
    return text;
}

/* --- Messages ---------------------------------------------------------- */

Message
rndis_initialize(uint32_t id)
{
    return Message().u32(2).u32(24).u32(id).u32(1).u32(0).u32(0x4000);
}

Message
rndis_query(uint32_t id, uint32_t oid, Bytes input)
{
    auto size = static_cast<uint32_t>(input.size());
    return Message()
        .u32(4)
        .u32(28 + size)
        .u32(id)
        .u32(oid)
        .u32(size)
        .u32(20)
        .u32(0)
        .bytes(input);
}

Message
rndis_set(uint32_t id, uint32_t oid, Bytes input)
{
    auto size = static_cast<uint32_t>(input.size());
    return Message()
        .u32(5)
        .u32(28 + size)
        .u32(id)
        .u32(oid)
        .u32(size)
        .u32(20)
        .u32(0)
        .bytes(input);
}

Message
rndis_halt(uint32_t id)
{
    return Message().u32(3).u32(12).u32(id);
}

Message
rndis_packet(Bytes frame, Bytes info, uint32_t padding)
{
    auto info_size = static_cast<uint32_t>(info.size());
    auto size = static_cast<uint32_t>(frame.size());
    return Message()
        .u32(1)
        .u32(44 + info_size + size + padding)
        .u32(36 + info_size)
        .u32(size)
        .zeros(12)
        .u32(info_size ? 36 : 0)
        .u32(info_size)
        .zeros(8)
        .bytes(info)
        .bytes(frame)
        .zeros(padding);
}

Message
info_element(uint32_t type, uint32_t value)
{
    return Message().u32(16).u32(type).u32(12).u32(value);
}

Buffer
plain_frame(size_t size, uint8_t fill)
{
    Buffer frame(size, static_cast<std::byte>(fill));
    Buffer head = from_hex("00155d000001 020000000002 88b5");
    std::copy(head.begin(), head.end(), frame.begin());
    return frame;
}

/* --- Rings ------------------------------------------------------------- */

void
write_packet(MutableBytes ring, uint16_t type, uint64_t trans_id,
             uint16_t flags, Bytes header, Bytes payload)
{
    size_t offset = 16 + header.size();
    size_t length = (offset + payload.size() + 7) / 8 * 8;
    uint32_t at = word(ring, kWriteIndex);
    Message packet;
    packet.u16(type)
        .u16(static_cast<uint16_t>(offset / 8))
        .u16(static_cast<uint16_t>(length / 8))
        .u16(flags)
        .u64(trans_id)
        .bytes(header)
        .bytes(payload)
        .zeros(length - offset - payload.size())
        .u32(0)
        .u32(at);
    auto data = ring.subspan(kPage);
    for (std::byte byte : packet.buffer()) {
        data[at++ % data.size()] = byte;
    }
    word(ring, kWriteIndex) = static_cast<uint32_t>(at % data.size());
}

std::optional<HostPacket>
read_packet(MutableBytes ring)
{
    auto data = ring.subspan(kPage);
    uint32_t at = word(ring, kReadIndex);
    if (at == word(ring, kWriteIndex)) {
        return std::nullopt;
    }
    auto copy = [&](size_t size) {
        Buffer bytes;
        for (size_t i = 0; i < size; i++) {
            bytes.push_back(data[(at + i) % data.size()]);
        }
        return bytes;
    };
    Buffer descriptor = copy(16);
    auto offset = load<uint16_t>(descriptor, 2) * 8u;
    auto length = load<uint16_t>(descriptor, 4) * 8u;
    HostPacket packet;
    packet.bytes = copy(length + 8);
    packet.position = at;
    packet.type = load<uint16_t>(descriptor, 0);
    packet.trans_id = load<uint64_t>(descriptor, 8);
    packet.payload.assign(packet.bytes.begin() + offset,
                          packet.bytes.begin() + length);
    word(ring, kReadIndex) =
        static_cast<uint32_t>((at + length + 8) % data.size());
    return packet;
}

/* --- Fakes ------------------------------------------------------------- */

bool
ArrayMemory::read(std::span<const GpaPiece> pieces, MutableBytes to)
{
    for (const GpaPiece &piece : pieces) {
        if (piece.address > bytes.size() ||
            piece.size > bytes.size() - piece.address) {
            return false;
        }
        std::memcpy(to.data(), bytes.data() + piece.address, piece.size);
        to = to.subspan(piece.size);
    }
    return true;
}

FakeLink::FakeLink(size_t ring_data)
    : ring_size_(kPage + ring_data),
      to_host_(std::make_unique<std::byte[]>(ring_size_)),
      to_guest_(std::make_unique<std::byte[]>(ring_size_))
{
    word(to_host_ring(), kFeatureBits) = 1;
    word(to_guest_ring(), kFeatureBits) = 1;
}

MutableBytes
FakeFrontEnd::gpadl(uint32_t handle)
{
    if (handle == kReceiveGpadl) {
        return receive;
    }
    return handle == kSendGpadl ? MutableBytes(send) : MutableBytes();
}

std::optional<WireFrame>
FakeBackend::receive()
{
    if (waiting.empty()) {
        return std::nullopt;
    }
    current_ = std::move(waiting.front());
    waiting.pop_front();
    return WireFrame{current_, waiting_are_good};
}

bool
FakeBackend::transmit(Bytes frame, bool checksum_good)
{
    if (refuses) {
        return false;
    }
    sent.emplace_back(frame.begin(), frame.end());
    sent_good.push_back(checksum_good);
    return true;
}

/* --- Guest ------------------------------------------------------------- */

Guest::Guest(const std::string &options, size_t ring_data)
    : config(parse_nic(std::string("guid=") + kGuid +
                       (options.empty() ? "" : "," + options))),
      front_end(ring_data)
{
    Backend *wire = &backend;
    if (config.generator) {
        wire = &generator.emplace(config, counters.wire);
    }
    session.emplace(config, front_end, front_end, *wire, counters, Trace(),
                    true);
}

uint32_t &
Guest::to_host_word(size_t at)
{
    return word(front_end.to_host_ring(), at);
}

uint32_t &
Guest::to_guest_word(size_t at)
{
    return word(front_end.to_guest_ring(), at);
}

void
Guest::serve()
{
    while (session->serve(now_ns) && !session->failed()) {
    }
}

Buffer
Guest::request(uint64_t trans_id, Bytes payload)
{
    inband(trans_id, payload);
    serve();
    std::optional<HostPacket> packet = read();
    if (!packet || packet->type != 11 || packet->trans_id != trans_id) {
        ADD_FAILURE() << "no completion of request " << trans_id;
        return {};
    }
    return packet->payload;
}

void
Guest::init(uint32_t version)
{
    Buffer reply =
        request(1, Message().u32(1).u32(version).u32(version).zeros(28));
    ASSERT_EQ(reply.size(), 40u);
    ASSERT_EQ(load<uint32_t>(reply, 12), 1u);
}

void
Guest::ndis(uint32_t mtu)
{
    inband(0, Message().u32(125).u32(mtu).u32(0).u64(8).zeros(20), false);
    inband(0, Message().u32(100).u32(6).u32(30).zeros(28), false);
    serve();
}

Buffer
Guest::receive_buffer()
{
    return request(2, Message()
                          .u32(101)
                          .u32(FakeFrontEnd::kReceiveGpadl)
                          .u16(0xcafe)
                          .zeros(30));
}

Buffer
Guest::send_buffer()
{
    return request(
        3, Message().u32(104).u32(FakeFrontEnd::kSendGpadl).u16(0).zeros(30));
}

void
Guest::attach(uint32_t filter)
{
    init();
    ndis(config.mtu + 14);
    ASSERT_EQ(load<uint32_t>(receive_buffer(), 4), 1u);
    ASSERT_EQ(load<uint32_t>(send_buffer(), 4), 1u);
    Buffer reply = control(rndis_initialize(1));
    ASSERT_EQ(reply.size(), 52u);
    ASSERT_EQ(load<uint32_t>(reply, 12), 0u);
    reply = control(rndis_set(2, 0x0001010e, Message().u32(filter)));
    ASSERT_EQ(load<uint32_t>(reply, 12), 0u);
}

Buffer
Guest::control(Bytes message)
{
    std::memcpy(front_end.send.data(), message.data(), message.size());
    auto size = static_cast<uint32_t>(message.size());
    inband(next_id_++, Message().u32(107).u32(1).u32(0).u32(size).zeros(24));
    serve();
    Buffer answer;
    for (Buffer &received : receive()) {
        /* Indications come unasked. */
        if (load<uint32_t>(received) != 7) {
            answer = std::move(received);
        }
    }
    return answer;
}

uint32_t
Guest::data(Bytes message, uint32_t section)
{
    std::copy(message.begin(), message.end(),
              front_end.send.begin() + section * 6144);
    auto size = static_cast<uint32_t>(message.size());
    Buffer reply =
        request(next_id_++,
                Message().u32(107).u32(0).u32(section).u32(size).zeros(24));
    EXPECT_EQ(load<uint32_t>(reply), 108u);
    return load<uint32_t>(reply, 4);
}

std::vector<Buffer>
Guest::receive()
{
    std::vector<Buffer> messages;
    while (std::optional<HostPacket> packet = read()) {
        if (packet->type != 7) {
            continue;
        }
        auto ranges = load<uint32_t>(packet->bytes, 20);
        for (uint32_t i = 0; i < ranges; i++) {
            auto size = load<uint32_t>(packet->bytes, 24 + 8 * i);
            auto at = load<uint32_t>(packet->bytes, 28 + 8 * i);
            messages.emplace_back(front_end.receive.begin() + at,
                                  front_end.receive.begin() + at + size);
        }
        complete_transfer(packet->trans_id);
    }
    serve();
    return messages;
}

void
Guest::complete_transfer(uint64_t trans_id)
{
    write(11, trans_id, 0, {}, Message().u32(108).u32(1));
}

} // namespace netvsc::host::test
