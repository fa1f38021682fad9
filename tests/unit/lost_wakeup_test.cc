/* Lost wake-ups: both ends of a ring on the same memory, each sleeping as
 * soon as the rules of A.8 to A.10 allow.
 *
 * When a full barrier is missing, sooner or later one end goes to sleep just
 * as the other decides that it need not be woken: the round never ends and
 * the deadline says so.  10 million rounds for each kind of sleep; fewer by
 * NETVSC_WAKEUP_ROUNDS. */

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "driver/ring.h"
#include "host/netvsp/ring.h"

namespace netvsc {
namespace {

using Clock = std::chrono::steady_clock;

/* A round takes well under a microsecond.  One that takes this long hangs,
 * however busy the machine is. */
constexpr std::chrono::seconds kHangs{20};

uint64_t
rounds()
{
    const char *text = std::getenv("NETVSC_WAKEUP_ROUNDS");
    return text ? std::strtoull(text, nullptr, 10) : 10'000'000;
}

/* What a signal does: wakes one sleeper, and is not lost if it comes before
 * the sleep.  Spins, because the race is over before a futex would wake. */
class Doorbell {
public:
    void
    ring()
    {
        rung_.store(true, std::memory_order_release);
    }

    /* False if nobody rang for kHangs, or `stop` was set. */
    bool
    sleep(const std::atomic<bool> &stop)
    {
        Clock::time_point start = Clock::now();
        for (unsigned spins = 1; !rung_.load(std::memory_order_acquire);
             spins++) {
            if (spins % 4096 == 0) {
                if (stop.load() || Clock::now() - start > kHangs) {
                    return false;
                }
                std::this_thread::yield();
            }
        }
        rung_.store(false, std::memory_order_relaxed);
        return true;
    }

private:
    alignas(64) std::atomic<bool> rung_{false};
};

/* A control page and `data` bytes of ring, shared by both ends. */
class SharedRing {
public:
    explicit SharedRing(uint32_t data)
        : size_(wire::kPageSize + data),
          memory_(static_cast<uint8_t *>(
              std::aligned_alloc(wire::kPageSize, size_)))
    {
        host::RingMemory(host_end()).format();
    }
    ~SharedRing() { std::free(memory_); }
    SharedRing(const SharedRing &) = delete;

    std::span<uint8_t>
    driver_end()
    {
        return {memory_, size_};
    }
    host::MutableBytes
    host_end()
    {
        return {reinterpret_cast<std::byte *>(memory_), size_};
    }

private:
    size_t size_;
    uint8_t *memory_;
};

/* An in-band packet of `words` words. */
std::vector<uint64_t>
make_packet(uint16_t words)
{
    std::vector<uint64_t> packet(words);
    wire::PacketDescriptor desc = {wire::kPacketInband, 2, words, 0, 0};
    std::memcpy(packet.data(), &desc, sizeof desc);
    return packet;
}

/* One producer, one consumer; each function runs its end for all rounds and
 * returns false when it was never woken. */
template <typename Producer, typename Consumer>
void
run_both(Producer producer, Consumer consumer)
{
    std::atomic<bool> stop{false};
    bool consumed = false;
    std::thread thread([&] {
        consumed = consumer(stop);
        if (!consumed) {
            stop = true;
        }
    });
    bool produced = producer(stop);
    if (!produced) {
        stop = true;
    }
    thread.join();
    EXPECT_TRUE(produced) << "the producer was never woken";
    EXPECT_TRUE(consumed) << "the consumer was never woken";
}

/* The producer lets the consumer reach the brink of sleep before each round:
 * waits until it has taken what there was, and then for a moment that varies,
 * so that the publication meets every point of the unmasking. */
bool
wait_taken(const std::atomic<uint64_t> &taken, uint64_t n,
           const std::atomic<bool> &stop)
{
    for (unsigned spins = 1; taken.load(std::memory_order_acquire) < n;
         spins++) {
        if (spins % 4096 == 0) {
            if (stop.load()) {
                return false;
            }
            std::this_thread::yield();
        }
    }
    for (unsigned i = static_cast<uint32_t>(n) * 2654435761u >> 27; i > 0;
         i--) {
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    return true;
}

TEST(LostWakeup, HostSleepsWhileTheDriverSends)
{
    SharedRing ring(4096);
    RingWriter writer(ring.driver_end());
    host::IncomingRing reader(ring.host_end());
    Doorbell doorbell;
    alignas(64) std::atomic<uint64_t> taken{0};
    auto packet = make_packet(2);

    run_both(
        [&](const std::atomic<bool> &stop) {
            for (uint64_t i = 0; i < rounds(); i++) {
                if (!wait_taken(taken, i, stop) || !writer.fits(24, 0)) {
                    return false;
                }
                writer.put(packet);
                if (writer.publish()) {
                    doorbell.ring();
                }
            }
            return true;
        },
        [&](const std::atomic<bool> &stop) {
            uint64_t n = 0;
            reader.mask();
            while (n < rounds()) {
                host::RingPacket got;
                if (reader.read(got) == host::IncomingRing::Result::kPacket) {
                    (void) reader.publish();
                    taken.store(++n, std::memory_order_release);
                } else if (!reader.unmask() && !doorbell.sleep(stop)) {
                    return false;
                } else {
                    reader.mask();
                }
            }
            return true;
        });
}

TEST(LostWakeup, DriverSleepsWhileTheHostSends)
{
    SharedRing ring(4096);
    host::OutgoingRing writer(ring.host_end());
    RingReader reader(ring.driver_end());
    Doorbell doorbell;
    alignas(64) std::atomic<uint64_t> taken{0};
    auto packet = make_packet(2);

    run_both(
        [&](const std::atomic<bool> &stop) {
            for (uint64_t i = 0; i < rounds(); i++) {
                if (!wait_taken(taken, i, stop) || !writer.has_room(24)) {
                    return false;
                }
                writer.write(std::as_bytes(std::span(packet)));
                if (writer.publish()) {
                    doorbell.ring();
                }
            }
            return true;
        },
        [&](const std::atomic<bool> &stop) {
            uint64_t n = 0;
            reader.mask();
            while (n < rounds()) {
                RingPacket got;
                if (reader.next(&got) == RingReader::Next::kPacket) {
                    reader.consume(got);
                    (void) reader.publish();
                    taken.store(++n, std::memory_order_release);
                } else if (!reader.unmask() && !doorbell.sleep(stop)) {
                    return false;
                } else {
                    reader.mask();
                }
            }
            return true;
        });
}

TEST(LostWakeup, HostSleepsWhileTheDriverFreesRoom)
{
    /* Two packets would fill the ring, which is never full: the host waits
     * for room before every packet but the first. */
    SharedRing ring(4096);
    host::OutgoingRing writer(ring.host_end());
    RingReader reader(ring.driver_end());
    Doorbell doorbell;
    constexpr uint32_t kBytes = 2048; /* Trailer included. */
    auto packet = make_packet((kBytes - wire::kTrailerSize) / 8);

    run_both(
        [&](const std::atomic<bool> &stop) {
            for (uint64_t i = 0; i < rounds(); i++) {
                while (!writer.has_room(kBytes)) {
                    if (writer.wait_for_room(kBytes) &&
                        !doorbell.sleep(stop)) {
                        return false;
                    }
                }
                writer.write(std::as_bytes(std::span(packet)));
                (void) writer.publish();
            }
            return true;
        },
        [&](const std::atomic<bool> &stop) {
            Clock::time_point last = Clock::now();
            for (uint64_t n = 0, idle = 1; n < rounds(); idle++) {
                RingPacket got;
                if (reader.next(&got) == RingReader::Next::kPacket) {
                    reader.consume(got);
                    if (reader.publish()) {
                        doorbell.ring();
                    }
                    n++;
                    idle = 0;
                    if (n % 4096 == 0) {
                        last = Clock::now();
                    }
                } else if (idle % 4096 == 0) {
                    /* Outlasts the producer's own deadline. */
                    if (stop.load() || Clock::now() - last > 2 * kHangs) {
                        return false;
                    }
                    std::this_thread::yield();
                }
            }
            return true;
        });
}

} // namespace
} // namespace netvsc
