#include "driver/ring.h"

namespace netvsc {

RingReader::RingReader(std::span<uint8_t> ring) noexcept
    : control_(ring.data()), data_(ring.data() + wire::kPageSize),
      size_(static_cast<uint32_t>(ring.size() - wire::kPageSize)),
      read_(control_.read_index().load(std::memory_order_relaxed)),
      write_(read_), broken_(!index_ok(read_, size_))
{
}

bool
RingReader::refresh() noexcept
{
    /* Acquire: the packets up to this index were stored before it (A.8). */
    uint32_t write = control_.write_index().load(std::memory_order_acquire);
    if (broken_ || !index_ok(write, size_)) {
        broken_ = true;
        return false;
    }
    write_ = write;
    return read_ != write_;
}

void
RingReader::copy(const RingPacket &packet, uint32_t first,
                 std::span<uint64_t> to) const noexcept
{
    Words from = words(packet);
    for (uint64_t &value : to) {
        value = from[first++];
    }
}

bool
RingReader::publish() noexcept
{
    if (consumed_ == 0) {
        return false;
    }
    /* Sequentially consistent against the producer that stores
     * pending_send_sz and then looks at read_index: one of us sees the
     * other (A.8).  The release part keeps our loads before it. */
    control_.read_index().store(read_, std::memory_order_seq_cst);
    uint32_t pending =
        control_.pending_send_sz().load(std::memory_order_seq_cst);
    uint32_t consumed = consumed_;
    consumed_ = 0;
    if (pending == 0 ||
        !(control_.feature_bits().load(std::memory_order_relaxed) &
          wire::kFeatPendingSendSz)) {
        return false;
    }
    /* Signal only when this publish crossed the threshold (A.10). */
    uint32_t write = control_.write_index().load(std::memory_order_relaxed);
    uint32_t after = size_ - bytes_between(read_, write, size_);
    uint32_t before = after > consumed ? after - consumed : 0;
    return before <= pending && after > pending;
}

bool
RingReader::unmask() noexcept
{
    /* Sequentially consistent against the producer that stores write_index
     * and then looks at the mask (A.8). */
    control_.interrupt_mask().store(0, std::memory_order_seq_cst);
    return control_.write_index().load(std::memory_order_seq_cst) != read_;
}

RingWriter::RingWriter(std::span<uint8_t> ring) noexcept
    : control_(ring.data()), data_(ring.data() + wire::kPageSize),
      size_(static_cast<uint32_t>(ring.size() - wire::kPageSize)),
      write_(control_.write_index().load(std::memory_order_relaxed)),
      published_(write_), broken_(!index_ok(write_, size_))
{
    /* Left over by a dead process on Linux 6.1 (C.8).  We drop what does not
     * fit and wait for completions, never for room. */
    control_.pending_send_sz().store(0, std::memory_order_relaxed);
}

void
RingWriter::refresh() noexcept
{
    /* Acquire: the consumer's loads of these bytes came before it. */
    uint32_t read = control_.read_index().load(std::memory_order_acquire);
    if (broken_ || !index_ok(read, size_)) {
        broken_ = true;
        free_ = 0;
        return;
    }
    free_ = size_ - bytes_between(read, write_, size_);
}

/* Anywhere, also where the ring goes on at its start. */
void
RingWriter::put(std::span<const uint64_t> packet) noexcept
{
    auto put_word = [&](uint64_t word) {
        std::memcpy(data_ + write_, &word, sizeof word);
        free_ -= wire::kRingUnit;
        write_ += wire::kRingUnit;
        if (write_ == size_) {
            write_ = 0;
        }
    };
    const uint64_t last = trailer(write_);
    for (uint64_t word : packet) {
        put_word(word);
    }
    put_word(last);
}

bool
RingWriter::publish() noexcept
{
    uint32_t old = published_.load(std::memory_order_relaxed);
    if (old == write_) {
        return false;
    }
    published_.store(write_, std::memory_order_relaxed);
    /* Sequentially consistent against the consumer that clears its mask and
     * then looks at write_index (A.8). */
    control_.write_index().store(write_, std::memory_order_seq_cst);
    if (control_.interrupt_mask().load(std::memory_order_seq_cst) != 0) {
        return false;
    }
    /* Only from empty to non-empty, seen from the first packet of the
     * batch: hosts throttle guests that signal without need (A.9). */
    return control_.read_index().load(std::memory_order_seq_cst) == old;
}

} // namespace netvsc
