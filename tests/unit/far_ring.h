/* The host's end of the rings and its messages, from literal offsets of the
 * reference: the driver's tests trust neither wire/ nor driver/ for what
 * they compare. */

#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace netvsc::test {

using Bytes = std::vector<uint8_t>;

inline void
put16(std::span<uint8_t> to, size_t at, uint16_t value)
{
    std::memcpy(to.subspan(at, 2).data(), &value, 2);
}
inline void
put32(std::span<uint8_t> to, size_t at, uint32_t value)
{
    std::memcpy(to.subspan(at, 4).data(), &value, 4);
}
inline void
put64(std::span<uint8_t> to, size_t at, uint64_t value)
{
    std::memcpy(to.subspan(at, 8).data(), &value, 8);
}
inline uint16_t
get16(std::span<const uint8_t> from, size_t at)
{
    uint16_t value;
    std::memcpy(&value, from.subspan(at, 2).data(), 2);
    return value;
}
inline uint32_t
get32(std::span<const uint8_t> from, size_t at)
{
    uint32_t value;
    std::memcpy(&value, from.subspan(at, 4).data(), 4);
    return value;
}
inline uint64_t
get64(std::span<const uint8_t> from, size_t at)
{
    uint64_t value;
    std::memcpy(&value, from.subspan(at, 8).data(), 8);
    return value;
}

/* "0b 00 02 ..." to bytes; spaces and line ends do not matter. */
Bytes hex(const std::string &text);

/* The words of a control page (A.2). */
inline constexpr size_t kWriteIndex = 0;
inline constexpr size_t kReadIndex = 4;
inline constexpr size_t kInterruptMask = 8;
inline constexpr size_t kPendingSendSz = 12;
inline constexpr size_t kFeatureBits = 64;

/* Both roles of the end that the driver does not have. */
class FarRing {
public:
    explicit FarRing(std::span<uint8_t> ring)
        : control_(ring.first(4096)), data_(ring.subspan(4096))
    {
    }

    uint32_t
    size() const
    {
        return static_cast<uint32_t>(data_.size());
    }
    std::span<uint8_t>
    data() const
    {
        return data_;
    }
    uint32_t
    get(size_t word) const
    {
        return at(word).load(std::memory_order_seq_cst);
    }
    void
    set(size_t word, uint32_t value)
    {
        at(word).store(value, std::memory_order_seq_cst);
    }
    /* An empty ring whose next byte is at `offset`. */
    void
    start_at(uint32_t offset)
    {
        set(kWriteIndex, offset);
        set(kReadIndex, offset);
    }

    /* Producer: a packet (its bytes, a multiple of 8) and its trailer. */
    void write(std::span<const uint8_t> packet);

    /* Consumer: the next packet, whose trailer is checked (nothing is
     * returned if it is wrong), or nothing. */
    std::optional<Bytes> read();
    /* All packets that wait. */
    std::vector<Bytes> read_all();

    uint32_t used() const;

private:
    std::atomic_ref<uint32_t>
    at(size_t word) const
    {
        return std::atomic_ref(
            *reinterpret_cast<uint32_t *>(control_.data() + word));
    }

    std::span<uint8_t> control_, data_;
};

/* --- Ring packets, without trailer (A.4, A.5) --- */

Bytes inband_packet(std::span<const uint8_t> payload, uint64_t id = 0,
                    uint16_t flags = 0);
Bytes completion_packet(uint64_t id, std::span<const uint8_t> payload);

struct Range {
    uint32_t size, offset;
};
inline constexpr uint32_t kData = 0, kControl = 1;
Bytes transfer_packet(uint64_t id, const std::vector<Range> &ranges,
                      uint32_t channel_type = kData);

/* --- NVSP messages, 40 bytes with these words in front (D.3) --- */
Bytes nvsp_message(std::initializer_list<uint32_t> words);

/* --- RNDIS messages --- */

/* 32-bit words, the length at byte 4 filled in, `tail` behind them. */
Bytes rndis_message(std::initializer_list<uint32_t> words,
                    std::span<const uint8_t> tail = {});

struct Element {
    uint32_t type, value;
};
/* PACKET with elements in front of the frame (E.3, E.4). */
Bytes rndis_frame(std::span<const uint8_t> frame,
                  const std::vector<Element> &elements = {});

/* A frame of `size` bytes whose content depends on `seed`; unicast, with an
 * EtherType that is no tag. */
Bytes make_frame(size_t size, unsigned seed = 0);
/* The same with an 802.1Q tag in it: 4 bytes longer. */
Bytes make_tagged_frame(size_t size, uint16_t tci, unsigned seed = 0);

} // namespace netvsc::test
