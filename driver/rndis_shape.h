/* The form of the last good RNDIS PACKET, so that the next one need not be
 * walked.
 *
 * Hosts send the same header and the same per-packet info elements frame
 * after frame; only the two lengths and the elements' values change.  What
 * must be the same is compared in vectors of 16 bytes, and what changes is
 * checked by itself.  A message of another form, and any that is wrong, takes
 * the full checks of parse_rndis_packet(), which also learns its form. */

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "driver/cache_line.h"
#include "driver/ethernet.h"
#include "driver/frame.h"
#include "driver/range.h"
#include "wire/rndis.h"

namespace netvsc {

inline constexpr uint32_t kMaxRxFrame = NETVSC_MAX_RX_FRAME;

/* VLAN value of RNDIS (priority, CFI, id from bit 0 on) to TCI (E.7). */
[[nodiscard]] inline uint16_t
vlan_to_tci(uint32_t value) noexcept
{
    using namespace wire::rndis;
    return static_cast<uint16_t>((value & kVlanPriorityMask) << 13 |
                                 (value & kVlanCfi ? 1u << 12 : 0) |
                                 (value >> kVlanIdShift & kVlanIdMask));
}

/* netvsc_rx_flags for the value of a checksum element (E.6). */
[[nodiscard]] uint16_t rx_checksum_flags(uint32_t value) noexcept;

class RndisShape {
public:
    /* True if `range` holds a good message of this form: then `fragment` and
     * `frame` are filled in.  False says nothing about the message.  Each
     * word that counts is read once: the host can write meanwhile. */
    [[nodiscard]] bool
    parse(std::span<const uint8_t> range, netvsc_fragment *fragment,
          netvsc_rx_frame *frame) noexcept
    {
        using namespace wire::rndis;
        const uint8_t *at = range.data();
        if (range.size() < readable_ || !matches(at)) {
            return false;
        }
        uint32_t length = load32(at + offsetof(Header, length));
        uint32_t size = load32(at + offsetof(Packet, data_length));
        if (length > range.size() ||
            !netvsc_in_range(size, kEthernetHeader,
                             kMaxRxFrame - kEthernetHeader + 1) ||
            data_at_ + size > length) {
            return false;
        }
        uint32_t checksum = load32(at + checksum_at_);
        if (checksum != last_checksum_) {
            set_verdict(checksum);
        }
        uint16_t flags = flags_;
        frame->flags = flags;
        frame->rss_hash = load32(at + hash_at_);
        if (flags & NETVSC_RX_VLAN) {
            frame->vlan_tci = vlan_to_tci(load32(at + vlan_at_));
        }
        fragment->data = at + data_at_;
        fragment->size = size;
        frame->fragments = fragment;
        frame->n_fragments = 1;
        frame->size = size;
        return true;
    }

    /* Fetches what parse() and whoever copies a small frame will need of a
     * message that is expected `at` this place; nothing is believed, and it
     * may be anywhere.  The frame's first 64 bytes may lie in two lines. */
    void
    prefetch(const uint8_t *at) const noexcept
    {
        __builtin_prefetch(at);
        __builtin_prefetch(at + data_at_);
        __builtin_prefetch(at + data_at_ + kCacheLine - 1);
    }

    /* Whether a message that parse() did not know is to be learned: the
     * first, and then now and then.  Where forms alternate, to learn each
     * anew would cost more than the walk. */
    [[nodiscard]] bool
    wants_to_learn() noexcept
    {
        return misses_++ % kMissesToLearn == 0;
    }

    /* --- Learning, in this order; forgets the form before --- */

    void begin(const wire::rndis::Packet &packet) noexcept;
    /* An element `at` bytes into the message; `value_at`: where its value
     * is, 0 if nobody uses it. */
    void add(uint32_t at, const wire::rndis::PerPacketInfo &element,
             uint32_t value_at) noexcept;
    /* The message was good: from now on its form is known, unless it is one
     * of those that have to be walked. */
    void end() noexcept;

private:
    using Vector [[gnu::vector_size(16)]] = uint64_t;
    /* Room for the header and five elements; hosts send three. */
    static constexpr unsigned kMaxVectors = 8;
    static constexpr uint32_t kMaxBytes = kMaxVectors * sizeof(Vector);
    /* No range is this long. */
    static constexpr size_t kNever = SIZE_MAX;

    /* One load, wherever it lies: the host may change it a moment later, and
     * the compiler must not look again. */
    static uint32_t
    load32(const uint8_t *at) noexcept
    {
        struct [[gnu::packed, gnu::may_alias]] Unaligned
        {
            uint32_t value;
        };
        return reinterpret_cast<const volatile Unaligned *>(at)->value;
    }

    [[nodiscard]] Vector
    difference(const uint8_t *at, unsigned i) const noexcept
    {
        Vector value;
        std::memcpy(&value, at + i * sizeof value, sizeof value);
        return (value ^ expected_[i]) & mask_[i];
    }
    /* Reads `readable_` bytes. */
    [[nodiscard]] bool
    matches(const uint8_t *at) const noexcept
    {
        Vector sum = difference(at, 0) | difference(at, 1) | difference(at, 2);
        /* Unrolled: the number is the same each time, and a jump that is
         * always taken the same way is cheaper than a loop. */
        switch (vectors_) {
        case 8:
            sum |= difference(at, 7);
            [[fallthrough]];
        case 7:
            sum |= difference(at, 6);
            [[fallthrough]];
        case 6:
            sum |= difference(at, 5);
            [[fallthrough]];
        case 5:
            sum |= difference(at, 4);
            [[fallthrough]];
        case 4:
            sum |= difference(at, 3);
            [[fallthrough]];
        case 3:
            break;
        default:
            __builtin_unreachable();
        }
        return (sum[0] | sum[1]) == 0;
    }
    void set_verdict(uint32_t checksum) noexcept;
    void expect(uint32_t at, const void *bytes, uint32_t size) noexcept;

    /* Few enough that a new form is soon known. */
    static constexpr unsigned kMissesToLearn = 8;

    unsigned misses_ = 0;
    size_t readable_ = kNever; /* Bytes that matches() reads. */
    unsigned vectors_ = 3;     /* The header takes as many. */
    size_t data_at_ = 0;       /* The frame, from the message's start. */
    /* Where values are; 0, which can be read, for an element that is not
     * there. */
    size_t checksum_at_ = 0, hash_at_ = 0, vlan_at_ = 0;
    uint16_t element_flags_ = 0; /* Of the hash and the tag. */
    uint16_t verdict_mask_ = 0;  /* All bits if there is a verdict. */
    /* Both, with the verdict of this value: most frames have that of the one
     * before. */
    uint16_t flags_ = 0;
    uint32_t last_checksum_ = 0;

    std::array<Vector, kMaxVectors> expected_{};
    std::array<Vector, kMaxVectors> mask_{};

    /* Of what is being learned. */
    uint32_t end_ = 0; /* Of header and elements. */
    bool known_form_ = false;
};

} // namespace netvsc
