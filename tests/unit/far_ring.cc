#include "tests/unit/far_ring.h"

#include <cctype>

namespace netvsc::test {

Bytes
hex(const std::string &text)
{
    Bytes bytes;
    std::string digits;
    for (char c : text) {
        if (!std::isspace(static_cast<unsigned char>(c))) {
            digits.push_back(c);
        }
    }
    for (size_t i = 0; i + 1 < digits.size(); i += 2) {
        bytes.push_back(static_cast<uint8_t>(
            std::stoul(digits.substr(i, 2), nullptr, 16)));
    }
    return bytes;
}

uint32_t
FarRing::used() const
{
    return (get(kWriteIndex) + size() - get(kReadIndex)) % size();
}

void
FarRing::write(std::span<const uint8_t> packet)
{
    uint32_t start = get(kWriteIndex);
    Bytes all(packet.begin(), packet.end());
    all.resize(packet.size() + 8);
    put32(all, packet.size() + 4, start);
    for (size_t i = 0; i < all.size(); i++) {
        data_[(start + i) % size()] = all[i];
    }
    set(kWriteIndex, static_cast<uint32_t>((start + all.size()) % size()));
}

std::optional<Bytes>
FarRing::read()
{
    if (used() == 0) {
        return std::nullopt;
    }
    uint32_t start = get(kReadIndex);
    auto byte = [&](size_t i) { return data_[(start + i) % size()]; };
    size_t length = (byte(4) | byte(5) << 8) * 8u;
    Bytes packet;
    for (size_t i = 0; i < length; i++) {
        packet.push_back(byte(i));
    }
    Bytes trailer;
    for (size_t i = 0; i < 8; i++) {
        trailer.push_back(byte(length + i));
    }
    set(kReadIndex, static_cast<uint32_t>((start + length + 8) % size()));
    if (get64(trailer, 0) != uint64_t{start} << 32) {
        return std::nullopt;
    }
    return packet;
}

std::vector<Bytes>
FarRing::read_all()
{
    std::vector<Bytes> packets;
    while (auto packet = read()) {
        packets.push_back(*packet);
    }
    return packets;
}

namespace {

Bytes
make_packet(uint16_t type, size_t header, std::span<const uint8_t> payload,
            uint64_t id, uint16_t flags)
{
    Bytes packet(header + (payload.size() + 7) / 8 * 8);
    put16(packet, 0, type);
    put16(packet, 2, static_cast<uint16_t>(header / 8));
    put16(packet, 4, static_cast<uint16_t>(packet.size() / 8));
    put16(packet, 6, flags);
    put64(packet, 8, id);
    std::copy(payload.begin(), payload.end(),
              packet.begin() + static_cast<ptrdiff_t>(header));
    return packet;
}

} // namespace

Bytes
inband_packet(std::span<const uint8_t> payload, uint64_t id, uint16_t flags)
{
    return make_packet(6, 16, payload, id, flags);
}

Bytes
completion_packet(uint64_t id, std::span<const uint8_t> payload)
{
    return make_packet(11, 16, payload, id, 0);
}

Bytes
transfer_packet(uint64_t id, const std::vector<Range> &ranges,
                uint32_t channel_type)
{
    Bytes packet =
        make_packet(7, 24 + 8 * ranges.size(),
                    nvsp_message({107, channel_type, 0xffffffff, 0}), id, 1);
    put16(packet, 16, 0xcafe);
    put32(packet, 20, static_cast<uint32_t>(ranges.size()));
    for (size_t i = 0; i < ranges.size(); i++) {
        put32(packet, 24 + 8 * i, ranges[i].size);
        put32(packet, 28 + 8 * i, ranges[i].offset);
    }
    return packet;
}

Bytes
nvsp_message(std::initializer_list<uint32_t> words)
{
    Bytes message(40);
    size_t at = 0;
    for (uint32_t word : words) {
        put32(message, at, word);
        at += 4;
    }
    return message;
}

Bytes
rndis_message(std::initializer_list<uint32_t> words,
              std::span<const uint8_t> tail)
{
    Bytes message(4 * words.size());
    size_t at = 0;
    for (uint32_t word : words) {
        put32(message, at, word);
        at += 4;
    }
    message.insert(message.end(), tail.begin(), tail.end());
    put32(message, 4, static_cast<uint32_t>(message.size()));
    return message;
}

Bytes
rndis_frame(std::span<const uint8_t> frame,
            const std::vector<Element> &elements)
{
    auto elements_size = static_cast<uint32_t>(16 * elements.size());
    Bytes message(44 + elements_size);
    put32(message, 0, 1);
    put32(message, 8, 36 + elements_size);
    put32(message, 12, static_cast<uint32_t>(frame.size()));
    put32(message, 28, elements.empty() ? 0 : 36);
    put32(message, 32, elements_size);
    for (size_t i = 0; i < elements.size(); i++) {
        put32(message, 44 + 16 * i, 16);
        put32(message, 48 + 16 * i, elements[i].type);
        put32(message, 52 + 16 * i, 12);
        put32(message, 56 + 16 * i, elements[i].value);
    }
    message.insert(message.end(), frame.begin(), frame.end());
    put32(message, 4, static_cast<uint32_t>(message.size()));
    return message;
}

Bytes
make_frame(size_t size, unsigned seed)
{
    Bytes frame(size);
    for (size_t i = 0; i < size; i++) {
        frame[i] = static_cast<uint8_t>(i * 7 + seed * 31 + 2);
    }
    frame[0] = 0x02;
    frame[12] = 0x08;
    frame[13] = 0x00;
    return frame;
}

Bytes
make_tagged_frame(size_t size, uint16_t tci, unsigned seed)
{
    Bytes frame = make_frame(size, seed);
    const uint8_t tag[] = {0x81, 0x00, static_cast<uint8_t>(tci >> 8),
                           static_cast<uint8_t>(tci)};
    frame.insert(frame.begin() + 12, tag, tag + sizeof tag);
    return frame;
}

} // namespace netvsc::test
