#include "host/netvsp/ring.h"

#include <algorithm>

namespace netvsc::host {

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr auto kAcquire = std::memory_order_acquire;
constexpr auto kSeqCst = std::memory_order_seq_cst;

constexpr uint32_t kDescriptorSize = sizeof(wire::PacketDescriptor);
constexpr uint32_t kLongestPacket = UINT16_MAX * wire::kRingUnit;

/* How far ahead of a write its cache lines are asked for: the guest has them,
 * because it read them a lap ago.  A few packets of one frame. */
constexpr uint32_t kWriteAhead = 512;

} // namespace

/* --- RingMemory -------------------------------------------------------- */

RingMemory::RingMemory(MutableBytes memory)
    : control_(memory.data()), data_(memory.subspan(wire::kPageSize))
{
    assert(!data_.empty() && data_.size() % wire::kRingUnit == 0);
}

std::atomic_ref<uint32_t>
RingMemory::word(size_t offset) const
{
    return std::atomic_ref(*reinterpret_cast<uint32_t *>(control_ + offset));
}

std::atomic_ref<uint32_t>
RingMemory::write_index() const
{
    return word(offsetof(wire::RingControl, write_index));
}

std::atomic_ref<uint32_t>
RingMemory::read_index() const
{
    return word(offsetof(wire::RingControl, read_index));
}

std::atomic_ref<uint32_t>
RingMemory::interrupt_mask() const
{
    return word(offsetof(wire::RingControl, interrupt_mask));
}

std::atomic_ref<uint32_t>
RingMemory::pending_send_sz() const
{
    return word(offsetof(wire::RingControl, pending_send_sz));
}

std::atomic_ref<uint32_t>
RingMemory::feature_bits() const
{
    return word(offsetof(wire::RingControl, feature_bits));
}

uint32_t
RingMemory::bytes_to_read(uint32_t write, uint32_t read) const
{
    return write >= read ? write - read : size() - (read - write);
}

uint32_t
RingMemory::advance(uint32_t index, uint32_t bytes) const
{
    uint32_t next = index + bytes;
    return next >= size() ? next - size() : next;
}

void
RingMemory::copy_out(uint32_t index, MutableBytes to) const
{
    size_t first = size() - index;
    if (to.size() <= first) {
        std::memcpy(to.data(), data_.data() + index, to.size());
        return;
    }
    std::memcpy(to.data(), data_.data() + index, first);
    std::memcpy(to.data() + first, data_.data(), to.size() - first);
}

void
RingMemory::copy_in(uint32_t index, Bytes from) const
{
    size_t first = size() - index;
    if (from.size() <= first) {
        std::memcpy(data_.data() + index, from.data(), from.size());
        return;
    }
    std::memcpy(data_.data() + index, from.data(), first);
    std::memcpy(data_.data(), from.data() + first, from.size() - first);
}

void
RingMemory::format() const
{
    std::memset(control_, 0, wire::kPageSize);
    feature_bits().store(wire::kFeatPendingSendSz);
}

/* --- IncomingRing ------------------------------------------------------ */

IncomingRing::IncomingRing(MutableBytes memory)
    : ring_(memory), copy_(std::make_unique_for_overwrite<std::byte[]>(
                         kLongestPacket + wire::kTrailerSize))
{
    uint32_t read = ring_.read_index().load(kAcquire);
    if (!ring_.valid(read)) {
        broken("read index out of range");
        return;
    }
    read_ = write_ = published_ = read;
}

IncomingRing::Result
IncomingRing::broken(const char *fault)
{
    fault_ = fault;
    return Result::kBroken;
}

IncomingRing::Result
IncomingRing::read(RingPacket &packet)
{
    if (fault_) {
        return Result::kBroken;
    }
    if (read_ == write_) {
        uint32_t write = ring_.write_index().load(kAcquire);
        if (!ring_.valid(write)) {
            return broken("write index out of range");
        }
        write_ = write;
        if (read_ == write_) {
            return Result::kEmpty;
        }
    }

    uint32_t available = ring_.bytes_to_read(write_, read_);
    if (available < kDescriptorSize + wire::kTrailerSize) {
        return broken("less than a packet in the ring");
    }
    MutableBytes copy(copy_.get(), kLongestPacket + wire::kTrailerSize);
    ring_.copy_out(read_, copy.first(kDescriptorSize));
    auto desc = load<wire::PacketDescriptor>(copy);
    uint32_t length = desc.len8 * wire::kRingUnit;
    uint32_t offset = desc.offset8 * wire::kRingUnit;
    if (offset < kDescriptorSize || length < offset) {
        return broken("packet offset and length contradict each other");
    }
    if (length + wire::kTrailerSize > available) {
        return broken("packet longer than what is in the ring");
    }
    if (desc.flags & ~wire::kCompletionRequested) {
        return broken("packet flags that do not exist");
    }

    /* The descriptor is in the copy already: a second fetch could differ from
     * what was checked. */
    ring_.copy_out(ring_.advance(read_, kDescriptorSize),
                   copy.subspan(kDescriptorSize, length + wire::kTrailerSize -
                                                     kDescriptorSize));
    packet.desc = desc;
    packet.with_trailer = copy.first(length + wire::kTrailerSize);
    packet.bytes = copy.first(length);
    packet.payload = packet.bytes.subspan(offset);
    packet.position = read_;
    read_ = ring_.advance(read_, length + wire::kTrailerSize);
    return Result::kPacket;
}

bool
IncomingRing::publish()
{
    if (read_ == published_) {
        return false;
    }
    uint32_t freed = ring_.bytes_to_read(read_, published_);
    published_ = read_;

    /* A.8: the read index must be visible before pending_send_sz is looked
     * at, or both sides wait for each other. */
    ring_.read_index().store(read_, kSeqCst);
    uint32_t pending = ring_.pending_send_sz().load(kSeqCst);
    if (!pending ||
        !(ring_.feature_bits().load(kRelaxed) & wire::kFeatPendingSendSz)) {
        return false;
    }
    uint32_t write = ring_.write_index().load(kAcquire);
    if (!ring_.valid(write)) {
        return false; /* The next read() reports it. */
    }
    uint32_t after = ring_.bytes_free(write, read_);
    uint32_t before = after - std::min(after, freed);

    /* Guests differ on whether "enough" means more than what was asked for
     * (Linux, DPDK) or as much (openvmm, in units of 8); a crossing by either
     * rule signals. */
    uint32_t units = pending / wire::kRingUnit * wire::kRingUnit;
    return (before <= pending && after > pending) ||
           (before < units && after >= units);
}

void
IncomingRing::mask()
{
    ring_.interrupt_mask().store(1, kRelaxed);
}

bool
IncomingRing::unmask()
{
    /* A.8: the guest must see the clear mask before we look for packets a
     * last time. */
    ring_.interrupt_mask().store(0, kSeqCst);
    return readable();
}

bool
IncomingRing::readable() const
{
    return fault_ || ring_.write_index().load(kSeqCst) != read_;
}

/* --- OutgoingRing ------------------------------------------------------ */

OutgoingRing::OutgoingRing(MutableBytes memory) : ring_(memory)
{
    uint32_t write = ring_.write_index().load(kRelaxed);
    if (!ring_.valid(write) || !load_read_index(kAcquire)) {
        broken_ = true;
        return;
    }
    write_ = published_ = write;
}

bool
OutgoingRing::load_read_index(std::memory_order order)
{
    uint32_t read = ring_.read_index().load(order);
    if (!ring_.valid(read)) {
        broken_ = true;
        return false;
    }
    read_ = read;
    return true;
}

bool
OutgoingRing::has_room(uint32_t bytes)
{
    if (broken_) {
        return false;
    }
    /* The guest's index costs a cache miss; the last one seen often does. */
    if (!fits(bytes) && (!load_read_index(kAcquire) || !fits(bytes))) {
        return false;
    }
    if (waiting_) {
        ring_.pending_send_sz().store(0, kRelaxed);
        waiting_ = false;
    }
    return true;
}

void
OutgoingRing::write(Bytes packet)
{
    assert(packet.size() % wire::kRingUnit == 0);
    uint64_t trailer = ring_trailer(write_);
    auto length = static_cast<uint32_t>(packet.size());

    if (packet.data() != ring_.at(write_)) {
        ring_.copy_in(write_, packet);
    }
    ring_.copy_in(ring_.advance(write_, length), bytes_of(trailer));
    write_ = ring_.advance(write_, length + wire::kTrailerSize);
    ring_.prefetch_for_write(write_ + kWriteAhead);
}

bool
OutgoingRing::publish()
{
    if (write_ == published_) {
        return false;
    }
    /* A batch is judged by the ring before its first packet (A.9). */
    uint32_t old_write = published_;
    published_ = write_;

    /* A.8: the write index must be visible before the mask is looked at. */
    ring_.write_index().store(write_, kSeqCst);
    if (ring_.interrupt_mask().load(kSeqCst)) {
        return false;
    }
    return ring_.read_index().load(kSeqCst) == old_write;
}

bool
OutgoingRing::wait_for_room(uint32_t bytes)
{
    if (broken_) {
        return true;
    }
    /* A.8: the guest must see the request before we look for room a last
     * time. */
    ring_.pending_send_sz().store(bytes, kSeqCst);
    waiting_ = true;
    if (!load_read_index(kSeqCst)) {
        return true;
    }
    return !has_room(bytes);
}

} // namespace netvsc::host
