/* The host's ends of a ring buffer (A).
 *
 * IncomingRing consumes what the guest writes, OutgoingRing produces what it
 * reads.  Both work on plain memory (control page, then data), so a test can
 * run both ends on the same bytes.  Neither trusts the other end: indices are
 * validated at each load, a packet is copied to private memory once and used
 * from there only, and the own index lives in the object, so that what the
 * guest writes over it in the shared page does not matter.
 *
 * The full barriers of A.8 are sequentially consistent operations: a seq_cst
 * store before a seq_cst load is ordered for both ends, and ThreadSanitizer
 * understands it, which it does not for fences.  One thread for each object.
 */

#pragma once

#include <atomic>
#include <memory>

#include "host/base/bytes.h"
#include "wire/ring.h"

namespace netvsc::host {

/* The control words and the data area of one ring. */
class RingMemory {
public:
    /* `memory` is the control page and at least one unit of data; it must
     * outlive the object and be aligned to 8 bytes. */
    explicit RingMemory(MutableBytes memory);

    [[nodiscard]] std::atomic_ref<uint32_t> write_index() const;
    [[nodiscard]] std::atomic_ref<uint32_t> read_index() const;
    [[nodiscard]] std::atomic_ref<uint32_t> interrupt_mask() const;
    [[nodiscard]] std::atomic_ref<uint32_t> pending_send_sz() const;
    [[nodiscard]] std::atomic_ref<uint32_t> feature_bits() const;

    /* Data bytes. */
    [[nodiscard]] uint32_t
    size() const
    {
        return static_cast<uint32_t>(data_.size());
    }
    /* Could be an index: A.3 allows multiples of 8 below the size. */
    [[nodiscard]] bool
    valid(uint32_t index) const
    {
        return index < size() && index % wire::kRingUnit == 0;
    }
    [[nodiscard]] uint32_t bytes_to_read(uint32_t write, uint32_t read) const;
    [[nodiscard]] uint32_t
    bytes_free(uint32_t write, uint32_t read) const
    {
        return size() - bytes_to_read(write, read);
    }
    [[nodiscard]] uint32_t advance(uint32_t index, uint32_t bytes) const;

    [[nodiscard]] std::byte *
    at(uint32_t index) const
    {
        return data_.data() + index;
    }
    void
    prefetch_for_write(uint32_t index) const
    {
        if (index < size()) {
            __builtin_prefetch(at(index), 1);
        }
    }
    /* Copies around the end of the data area (A.7). */
    void copy_out(uint32_t index, MutableBytes to) const;
    void copy_in(uint32_t index, Bytes from) const;

    /* What the kernel does when it opens a channel: zeroes the control page
     * (6.12; 6.1 only the indices, C.8) and sets the feature bit. */
    void format() const;

private:
    [[nodiscard]] std::atomic_ref<uint32_t> word(size_t offset) const;

    std::byte *control_;
    MutableBytes data_;
};

/* A packet in private memory; valid until the next read(). */
struct RingPacket {
    wire::PacketDescriptor desc{};
    Bytes bytes; /* Descriptor to padding, without the trailer. */
    Bytes payload;
    Bytes with_trailer;
    uint32_t position = 0; /* Where it started in the data area. */
};

/* What follows a packet that starts at `position` (A.6). */
[[nodiscard]] constexpr uint64_t
ring_trailer(uint32_t position)
{
    return static_cast<uint64_t>(position) << wire::kTrailerOffsetShift;
}

/* The consumer's end: guest to host. */
class IncomingRing {
public:
    enum class Result { kPacket, kEmpty, kBroken };

    explicit IncomingRing(MutableBytes memory);

    /* The next packet.  kBroken is final: an index or a descriptor that no
     * working guest writes; fault() says which. */
    [[nodiscard]] Result read(RingPacket &packet);

    /* Gives the space of all packets read so far back.  True when the guest
     * waits for that space and must be signalled (A.10). */
    [[nodiscard]] bool publish();

    /* Asks the guest not to signal new packets. */
    void mask();

    /* Asks for signals again.  True when packets wait all the same: they may
     * have come without one, so the caller must read them (A.9). */
    [[nodiscard]] bool unmask();

    /* Packets wait, or the guest broke the ring. */
    [[nodiscard]] bool readable() const;

    [[nodiscard]] const char *
    fault() const
    {
        return fault_;
    }

private:
    Result broken(const char *fault);

    RingMemory ring_;
    uint32_t read_ = 0;      /* Next byte to read, not yet published. */
    uint32_t write_ = 0;     /* Last write index seen. */
    uint32_t published_ = 0; /* The read index that the guest sees. */
    const char *fault_ = nullptr;
    /* The longest packet that len8 can express, and its trailer. */
    std::unique_ptr<std::byte[]> copy_;
};

/* The producer's end: host to guest. */
class OutgoingRing {
public:
    explicit OutgoingRing(MutableBytes memory);

    /* Room for packets that take `bytes` together, trailers included. */
    [[nodiscard]] bool has_room(uint32_t bytes);

    /* Where the next packet will be, unless it goes around the end; then
     * empty.  The guest can write there, too: what is put there must not be
     * read again. */
    [[nodiscard]] MutableBytes
    place(size_t size) const
    {
        return size <= ring_.size() - write_
                   ? MutableBytes(ring_.at(write_), size)
                   : MutableBytes();
    }
    /* Appends a packet (a multiple of 8 bytes), perhaps in its place already,
     * and its trailer, for which has_room() must have been true.  The guest
     * sees it at publish(). */
    void write(Bytes packet);

    /* Shows the guest what was written.  True when it must be signalled: the
     * ring went from empty to non-empty and its mask is clear (A.9). */
    [[nodiscard]] bool publish();

    /* Asks the guest to signal when `bytes` are free (A.10).  True when they
     * are not: the caller may sleep.  False when they came meanwhile. */
    [[nodiscard]] bool wait_for_room(uint32_t bytes);

    /* The guest has read everything that it was shown. */
    [[nodiscard]] bool
    drained() const
    {
        return ring_.read_index().load(std::memory_order_relaxed) ==
               published_;
    }

    /* Where the next packet will start. */
    [[nodiscard]] uint32_t
    position() const
    {
        return write_;
    }
    /* The guest's read index was one that no working guest writes. */
    [[nodiscard]] bool
    broken() const
    {
        return broken_;
    }

private:
    bool load_read_index(std::memory_order order);
    [[nodiscard]] bool
    fits(uint32_t bytes) const
    {
        /* Strict: a write must never make the ring look empty (A.3). */
        return ring_.bytes_free(write_, read_) > bytes;
    }

    RingMemory ring_;
    uint32_t write_ = 0;
    uint32_t published_ = 0;
    uint32_t read_ = 0; /* Last read index seen. */
    bool waiting_ = false;
    bool broken_ = false;
};

} // namespace netvsc::host
