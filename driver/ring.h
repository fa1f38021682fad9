/* Guest end of a VMBus ring buffer (A).
 *
 * RingReader consumes the host-to-guest ring, RingWriter produces the
 * guest-to-host ring.  Both work on memory that the host writes at any time:
 * every word is loaded once and checked before it is used.  Neither locks;
 * Channel says who may call what.
 *
 * Store-to-load orders (A.8) are made of sequentially consistent operations
 * on both ends, not of fences, which ThreadSanitizer does not know. */

#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <tuple>

#include "wire/ring.h"

namespace netvsc {

/* From index `read` to index `write` of a ring with `size` bytes of data. */
[[nodiscard]] inline uint32_t
bytes_between(uint32_t read, uint32_t write, uint32_t size) noexcept
{
    return write >= read ? write - read : size - (read - write);
}

/* An index is a multiple of 8 below the size of the data (A.3). */
[[nodiscard]] inline bool
index_ok(uint32_t index, uint32_t size) noexcept
{
    return index < size && index % wire::kRingUnit == 0;
}

/* A word that the host may change at any time, loaded once. */
[[nodiscard]] inline uint64_t
load_word(uint64_t *word) noexcept
{
    return std::atomic_ref(*word).load(std::memory_order_relaxed);
}

/* The first word of the descriptor of a packet of `words` words (A.4). */
[[nodiscard]] constexpr uint64_t
descriptor_word(uint16_t type, uint32_t words, uint16_t flags) noexcept
{
    constexpr uint64_t kOffset =
        sizeof(wire::PacketDescriptor) / wire::kRingUnit;
    return type | kOffset << 16 | uint64_t{words} << 32 |
           uint64_t{flags} << 48;
}

/* The packet's words, out of the same word. */
[[nodiscard]] constexpr uint32_t
descriptor_words(uint64_t first) noexcept
{
    return static_cast<uint16_t>(first >> 32);
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

    /* The packets that can be read now without going around the end of the
     * ring: for those who know what to expect.  What they do not like is
     * left for next(). */
    class Run {
    public:
        /* Words from the next packet on; the last packet may be cut. */
        uint32_t
        words() const noexcept
        {
            return words_;
        }
        /* Loads word `i`, less than words(), once. */
        uint64_t
        operator[](uint32_t i) const noexcept
        {
            return load_word(at_ + i);
        }
        uint64_t *
        from(uint32_t i) const noexcept
        {
            return at_ + i;
        }
        /* Goes past a packet of `words` words, which is less than words():
         * its trailer follows. */
        void
        skip(uint32_t words) noexcept
        {
            at_ += words + 1;
            words_ -= words + 1;
        }

    private:
        friend class RingReader;
        Run(uint64_t *at, uint32_t words) : at_(at), words_(words) {}
        uint64_t *at_;
        uint32_t words_;
    };
    [[nodiscard]] Run
    run() noexcept
    {
        if (read_ == write_) {
            (void) refresh();
        }
        uint32_t end = write_ >= read_ ? write_ : size_;
        return {reinterpret_cast<uint64_t *>(data_ + read_),
                (end - read_) / wire::kRingUnit};
    }
    /* Type of the next packet.  None if the ring is empty, or broken. */
    [[nodiscard]] std::optional<uint16_t>
    next_type() noexcept
    {
        Run packets = run();
        if (packets.words() == 0) {
            return std::nullopt;
        }
        return static_cast<uint16_t>(packets[0]);
    }
    [[nodiscard]] bool
    broken() const noexcept
    {
        return broken_;
    }
    /* Consumes what `run`, the one given last, has gone past. */
    void
    consume(const Run &run) noexcept
    {
        auto end = reinterpret_cast<uint8_t *>(run.at_);
        advance(static_cast<uint32_t>(end - (data_ + read_)));
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
            return load_word(reinterpret_cast<uint64_t *>(data_ + at));
        }
        /* `to.size()` words from word `i` on in one piece: where they are,
         * or if they go around the end of the ring copied to `to`. */
        uint64_t *
        from(uint32_t i, std::span<uint64_t> to) const noexcept
        {
            uint32_t at = start_ + i * wire::kRingUnit;
            if (at < size_ && size_ - at < to.size_bytes()) {
                for (uint64_t &word : to) {
                    word = (*this)[i++];
                }
                return to.data();
            }
            return reinterpret_cast<uint64_t *>(
                data_ + (at < size_ ? at : at - size_));
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
        advance(packet.desc.len8 * wire::kRingUnit + wire::kTrailerSize);
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
    void
    advance(uint32_t bytes) noexcept
    {
        read_ += bytes;
        if (read_ >= size_) {
            read_ -= size_;
        }
        consumed_ += bytes;
    }
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

    /* Whether a packet of `bytes` (trailer included) fits and still leaves
     * more than `keep_free`.  Never when the host's index is impossible. */
    [[nodiscard]] bool
    fits(uint32_t bytes, uint32_t keep_free) noexcept
    {
        /* Strictly less than free: a full ring would look empty (A.3). */
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
    /* Any thread: the same behind a publication of this thread, or a later
     * one; what others are writing meanwhile is not taken off. */
    [[nodiscard]] uint32_t
    free_behind_published() const noexcept
    {
        uint32_t write = published_.load(std::memory_order_relaxed);
        uint32_t read = control_.read_index().load(std::memory_order_acquire);
        return index_ok(write, size_) && index_ok(read, size_)
                   ? size_ - bytes_between(read, write, size_)
                   : 0;
    }

    /* Writes one packet (whole words, descriptor first) and its trailer.
     * The caller has asked fits(). */
    void put(std::span<const uint64_t> packet) noexcept;

    /* Packets of any sizes, one after the other, with the indexes in
     * registers: nothing else may be done with the writer from begin() to
     * end(), which leaves the packets to be published. */
    class Batch {
    public:
        /* Writes a packet; false, and nothing is written, if it does not
         * fit beside what is kept free. */
        template <size_t Words>
        [[nodiscard]] bool
        put(const std::array<uint64_t, Words> &packet) noexcept
        {
            return std::apply(
                [this](auto... word) { return this->put_words(word...); },
                packet);
        }
        void
        end() noexcept
        {
            writer_->free_ -= write_ - writer_->write_;
            writer_->write_ = write_;
        }

    private:
        friend class RingWriter;
        Batch(RingWriter *writer, uint32_t keep_free)
            : writer_(writer), data_(writer->data_), keep_free_(keep_free)
        {
            look();
        }
        void
        look() noexcept
        {
            write_ = writer_->write_;
            const uint32_t free = writer_->free_;
            room_ = std::min(writer_->size_ - write_,
                             free > keep_free_ ? free - keep_free_ : 0);
        }
        /* By value, so that the words stay in registers. */
        template <typename... Word>
        bool
        put_words(Word... word) noexcept
        {
            constexpr auto kBytes = static_cast<uint32_t>(
                sizeof...(word) * wire::kRingUnit + wire::kTrailerSize);
            if (room_ <= kBytes) [[unlikely]] {
                /* The ring is full as far as we know, or goes on at its
                 * start. */
                const uint64_t packet[] = {word...};
                end();
                bool fits = writer_->fits(kBytes, keep_free_);
                if (fits) {
                    writer_->put(packet);
                }
                look();
                return fits;
            }
            uint8_t *to = data_ + write_;
            auto put_word = [&](uint64_t one) {
                std::memcpy(to, &one, sizeof one);
                to += sizeof one;
            };
            (put_word(word), ...);
            put_word(trailer(write_));
            room_ -= kBytes;
            write_ += kBytes;
            return true;
        }

        RingWriter *const writer_;
        uint8_t *const data_;
        const uint32_t keep_free_;
        uint32_t write_;
        uint32_t room_; /* Bytes that are free in one piece, from there. */
    };
    [[nodiscard]] Batch
    begin(uint32_t keep_free) noexcept
    {
        return Batch(this, keep_free);
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
    /* Of a packet that begins at `write` (A.6). */
    static uint64_t
    trailer(uint32_t write) noexcept
    {
        return uint64_t{write} << wire::kTrailerOffsetShift;
    }

    RingControlPage control_;
    uint8_t *data_ = nullptr;
    uint32_t size_ = 0;
    uint32_t write_ = 0;                 /* Private write index. */
    std::atomic<uint32_t> published_{0}; /* What the host knows. */
    uint32_t free_ = 0;                  /* At least this much is free. */
    bool broken_ = false;
};

} // namespace netvsc
