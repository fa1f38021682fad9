/* Guest end of a VMBus ring buffer (reference A).
 *
 * RingReader consumes the host-to-guest ring, RingWriter produces the
 * guest-to-host ring.  Both work on memory that the host writes at any time:
 * every word is loaded once and checked before it is used.  Neither locks;
 * Channel says who may call what.
 *
 * Store-to-load orders (A.8) are made of sequentially consistent operations
 * on both ends, not of fences, which ThreadSanitizer does not know. */

#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "wire/ring.h"

namespace netvsc {

/* From index `read` to index `write` of a ring with `size` bytes of data. */
[[nodiscard]] inline uint32_t
bytes_between(uint32_t read, uint32_t write, uint32_t size) noexcept
{
    return write >= read ? write - read : size - (read - write);
}

/* The words of a control page, as atomics. */
class RingControlPage {
public:
    RingControlPage() = default;
    explicit RingControlPage(uint8_t *page) : page_(page) {}

    auto
    write_index() const noexcept
    {
        return word(kWriteIndex);
    }
    auto
    read_index() const noexcept
    {
        return word(kReadIndex);
    }
    auto
    interrupt_mask() const noexcept
    {
        return word(kInterruptMask);
    }
    auto
    pending_send_sz() const noexcept
    {
        return word(kPendingSendSz);
    }
    auto
    feature_bits() const noexcept
    {
        return word(kFeatureBits);
    }

private:
    static constexpr size_t kWriteIndex =
        offsetof(wire::RingControl, write_index);
    static constexpr size_t kReadIndex =
        offsetof(wire::RingControl, read_index);
    static constexpr size_t kInterruptMask =
        offsetof(wire::RingControl, interrupt_mask);
    static constexpr size_t kPendingSendSz =
        offsetof(wire::RingControl, pending_send_sz);
    static constexpr size_t kFeatureBits =
        offsetof(wire::RingControl, feature_bits);

    std::atomic_ref<uint32_t>
    word(size_t offset) const noexcept
    {
        return std::atomic_ref(*reinterpret_cast<uint32_t *>(page_ + offset));
    }

    uint8_t *page_ = nullptr;
};

/* A packet of the inbound ring: a private copy of its descriptor. */
struct RingPacket {
    wire::PacketDescriptor desc{};
    uint32_t start = 0; /* In the data area. */

    uint32_t
    words() const noexcept
    {
        return desc.len8;
    }
    /* Payload bytes, padding included; meaningful if header_ok(). */
    uint32_t
    payload_size() const noexcept
    {
        return (desc.len8 - desc.offset8) * wire::kRingUnit;
    }
    /* Descriptor and length agree (A.4). */
    bool
    header_ok() const noexcept
    {
        return desc.offset8 * wire::kRingUnit >= sizeof desc &&
               desc.offset8 <= desc.len8;
    }
};

class RingReader {
public:
    RingReader() = default;
    /* `ring`: control page and data.  Starts at the shared read index. */
    explicit RingReader(std::span<uint8_t> ring) noexcept;

    enum class Next {
        kEmpty,
        kPacket,
        kBroken, /* Index or length impossible: nothing can be trusted. */
    };

    /* Looks at the next packet without consuming it. */
    [[nodiscard]] Next
    next(RingPacket *packet) noexcept
    {
        if (read_ == write_ && !refresh()) {
            return broken_ ? Next::kBroken : Next::kEmpty;
        }
        return load(packet);
    }

    /* The words (8 bytes) of a packet; each call loads one, once.  The
     * caller has checked the number against packet.words(). */
    class Words {
    public:
        uint64_t
        operator[](uint32_t i) const noexcept
        {
            uint32_t at = start_ + i * wire::kRingUnit;
            if (at >= size_) {
                at -= size_;
            }
            return std::atomic_ref(*reinterpret_cast<uint64_t *>(data_ + at))
                .load(std::memory_order_relaxed);
        }

    private:
        friend class RingReader;
        Words(uint8_t *data, uint32_t size, uint32_t start)
            : data_(data), size_(size), start_(start)
        {
        }
        uint8_t *data_;
        uint32_t size_;
        uint32_t start_;
    };
    [[nodiscard]] Words
    words(const RingPacket &packet) const noexcept
    {
        return {data_, size_, packet.start};
    }

    /* Copies words [first, first + to.size()) of a packet. */
    void copy(const RingPacket &packet, uint32_t first,
              std::span<uint64_t> to) const noexcept;

    /* Goes past `packet`: its words must not be read any more. */
    void
    consume(const RingPacket &packet) noexcept
    {
        uint32_t length =
            packet.desc.len8 * wire::kRingUnit + wire::kTrailerSize;
        read_ += length;
        if (read_ >= size_) {
            read_ -= size_;
        }
        consumed_ += length;
    }

    /* Gives everything consumed back to the host, with one store.  Returns
     * true if the host waits for the room and must be signalled (A.10). */
    [[nodiscard]] bool publish() noexcept;

    /* Asks for no interrupt while we poll. */
    void
    mask() noexcept
    {
        control_.interrupt_mask().store(1, std::memory_order_relaxed);
    }

    /* Asks for an interrupt.  Returns true if packets came meanwhile: then
     * none may follow, and the caller must poll again (A.9). */
    [[nodiscard]] bool unmask() noexcept;

private:
    [[nodiscard]] bool refresh() noexcept;
    [[nodiscard]] Next
    load(RingPacket *packet) noexcept
    {
        packet->start = read_;
        Words words(data_, size_, read_);
        packet->desc = std::bit_cast<wire::PacketDescriptor>(
            std::array{words[0], words[1]});
        uint32_t length = packet->desc.len8 * wire::kRingUnit;
        uint32_t available = bytes_between(read_, write_, size_);
        if (length < sizeof packet->desc ||
            length + wire::kTrailerSize > available) [[unlikely]] {
            /* Where the next packet starts is unknown from here on. */
            broken_ = true;
            write_ = read_;
            return Next::kBroken;
        }
        return Next::kPacket;
    }

    RingControlPage control_;
    uint8_t *data_ = nullptr;
    uint32_t size_ = 0;
    uint32_t read_ = 0;     /* Private read index. */
    uint32_t write_ = 0;    /* Last write index seen, checked. */
    uint32_t consumed_ = 0; /* Bytes since the last publish(). */
    bool broken_ = false;
};

class RingWriter {
public:
    RingWriter() = default;
    /* `ring`: control page and data.  Starts at the shared write index and
     * says that we never wait for room. */
    explicit RingWriter(std::span<uint8_t> ring) noexcept;

    /* Whether `bytes` (trailers included) fit and still leave more than
     * `keep_free`.  False also when the host's index is impossible. */
    [[nodiscard]] bool
    fits(uint32_t bytes, uint32_t keep_free) noexcept
    {
        if (free_ > bytes + keep_free) {
            return true;
        }
        refresh();
        return free_ > bytes + keep_free;
    }

    /* Bytes free now, 0 when the host's index is impossible. */
    [[nodiscard]] uint32_t
    free_bytes() noexcept
    {
        refresh();
        return free_;
    }

    /* Writes one packet (whole words, descriptor first) and its trailer.
     * The caller has asked fits(). */
    template <size_t Extent>
    void
    put(std::span<const uint64_t, Extent> packet) noexcept
    {
        uint64_t trailer = uint64_t{write_} << wire::kTrailerOffsetShift;
        auto bytes = static_cast<uint32_t>(packet.size_bytes());
        free_ -= bytes + wire::kTrailerSize;
        if (size_ - write_ > bytes + wire::kTrailerSize) [[likely]] {
            std::memcpy(data_ + write_, packet.data(), bytes);
            std::memcpy(data_ + write_ + bytes, &trailer, sizeof trailer);
            write_ += bytes + wire::kTrailerSize;
        } else {
            put_around(packet, trailer);
        }
    }

    /* Shows the host everything written since the last publish(), with one
     * store.  Returns true if the host must be signalled (A.9). */
    [[nodiscard]] bool publish() noexcept;

    /* Whether the host has read everything. */
    [[nodiscard]] bool
    drained() noexcept
    {
        refresh();
        return free_ == size_;
    }

    [[nodiscard]] bool
    broken() const noexcept
    {
        return broken_;
    }

private:
    void refresh() noexcept;
    void put_around(std::span<const uint64_t> packet,
                    uint64_t trailer) noexcept;

    RingControlPage control_;
    uint8_t *data_ = nullptr;
    uint32_t size_ = 0;
    uint32_t write_ = 0;     /* Private write index. */
    uint32_t published_ = 0; /* What the host knows. */
    uint32_t free_ = 0;      /* At least this much is free. */
    bool broken_ = false;
};

} // namespace netvsc
