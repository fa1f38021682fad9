/* The data path between a prefilled ring and a reader that keeps nothing:
 * what `tests/bench/instructions` counts under callgrind.
 *
 * usage: instructions-probe rx|mix|tx BURSTS FRAME-BYTES PER-PACKET
 *                           [TIMES [QUEUES]]
 *
 * The far end is played on the same thread between the counted calls, which
 * are those of counted_receive() and counted_send() and nothing else.
 * PER-PACKET: ranges in a transfer-pages packet, or frames that the host
 * takes in one message.  TIMES: how many times as large rings and buffers are
 * as by default.  QUEUES: transmit queues, which take turns. */

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "driver/control_mailbox.h"
#include "driver/net_channel.h"
#include "driver/session_context.h"
#include "driver/session_fault.h"
#include "driver/tx_queue.h"
#include "tests/unit/fake_uio.h"
#include "tests/unit/far_ring.h"

namespace netvsc {
namespace {

using namespace test;

constexpr uint32_t kSuballocSize = 2048;
constexpr uint32_t kSectionSize = 6144;
/* Sub-allocations used in turn, as few as a host that reuses them hot. */
constexpr uint32_t kSuballocs = 256;
constexpr uint32_t kSections = 256;
constexpr uint32_t kRingData = 1 << 20;
constexpr uint16_t kGeneration = 1;

[[noreturn]] void
die(const char *what)
{
    std::fprintf(stderr, "instructions-probe: %s\n", what);
    std::exit(1);
}

/* An RNDIS PACKET as hosts send it: checksum, hash value and hash info in
 * front of the frame (E.3 to E.7). */
Bytes
three_element_frame(uint32_t size)
{
    Bytes message(44 + 3 * 16 + size);
    uint32_t words[] = {1,
                        static_cast<uint32_t>(message.size()),
                        36 + 3 * 16,
                        size,
                        0,
                        0,
                        0,
                        36,
                        3 * 16,
                        0,
                        0};
    std::memcpy(message.data(), words, sizeof words);
    uint32_t elements[] = {16, 0, 12, 0x28,       /* Checksum: IP, TCP good. */
                           16, 8, 12, 0x12345678, /* Hash value. */
                           16, 9, 12, 0x101};     /* Hash info. */
    std::memcpy(message.data() + 44, elements, sizeof elements);
    for (uint32_t i = 0; i < size; i++) {
        message[44 + 48 + i] = static_cast<uint8_t>(i);
    }
    return message;
}

struct Rig {
    explicit Rig(uint32_t times)
        : uio({.rings = 2 * (4096 + size_t{times} * kRingData),
               .receive = size_t{times} * kSuballocs * kSuballocSize,
               .send = size_t{times} * kSections * kSectionSize}),
          fault(&uio),
          mailbox(&uio), context{&uio, &fault, &mailbox, kGeneration},
          send_buffer(uio.map(wire::kUioMapSendBuffer), kSectionSize),
          net(context, uio.map(wire::kUioMapRings), HostSignal(&uio, 15, 35),
              {{uio.map(wire::kUioMapReceiveBuffer), kSuballocSize},
               send_buffer,
               channel_sections(send_buffer.count(), 0, 1)},
              &control_section),
          out(uio.out_ring()), in(uio.in_ring())
    {
    }

    FakeUio uio;
    SessionFault fault;
    ControlMailbox mailbox;
    SessionContext context;
    SectionBuffer send_buffer;
    ControlSection control_section;
    NetChannel net;
    RxQueue &rxq = net.rxq;
    FarRing out, in;
};

/* A PMD thread's call, without what OVS does with the frames. */
[[gnu::noinline]] unsigned
counted_receive(RxQueue *rxq, std::span<netvsc_rx_frame> frames)
{
    unsigned n = rxq->poll(frames);
    rxq->release();
    return n;
}

/* The completions of the burst before come back by the receive side. */
[[gnu::noinline]] unsigned
counted_send(TxQueue *txq, RxQueue *rxq,
             std::span<const netvsc_tx_frame> frames,
             std::span<netvsc_rx_frame> none)
{
    unsigned n = txq->send(frames);
    (void) rxq->poll(none);
    rxq->release();
    return n;
}

/* With `mixed`, every other frame has no elements. */
void
receive(unsigned bursts, uint32_t size, uint32_t ranges, bool mixed,
        uint32_t times)
{
    const uint32_t suballocs = times * kSuballocs;
    Rig rig(times);
    const Bytes messages[] = {three_element_frame(size),
                              mixed ? rndis_frame(make_frame(size))
                                    : three_element_frame(size)};
    auto buffer = rig.uio.map(wire::kUioMapReceiveBuffer);
    for (uint32_t i = 0; i < suballocs; i++) {
        std::copy(messages[i % 2].begin(), messages[i % 2].end(),
                  buffer.begin() + i * kSuballocSize);
    }
    uint32_t next = 0;
    for (unsigned i = 0; i < bursts; i++) {
        for (uint32_t put = 0; put < kMaxBurst; put += ranges) {
            std::vector<Range> list;
            for (uint32_t j = 0; j < ranges; j++) {
                uint32_t i = next++ % suballocs;
                list.push_back({static_cast<uint32_t>(messages[i % 2].size()),
                                i * kSuballocSize});
            }
            rig.in.write(transfer_packet(i + 1, list));
        }
        std::array<netvsc_rx_frame, kMaxBurst> frames;
        if (counted_receive(&rig.rxq, frames) != kMaxBurst ||
            frames[0].size != size ||
            frames[0].flags !=
                (NETVSC_RX_HASH | NETVSC_RX_IP_GOOD | NETVSC_RX_L4_GOOD)) {
            die("a burst was not received as it was sent");
        }
        if (rig.out.read_all().size() != kMaxBurst / ranges) {
            die("the receive completions are not there");
        }
    }
}

void
send(unsigned bursts, uint32_t size, uint32_t per_packet, uint32_t times,
     unsigned queues)
{
    Rig rig(times);
    rig.net.sections.partition(queues);
    TxLimits limits;
    limits.max_frame = 1514;
    limits.max_message = kSectionSize;
    limits.max_packets = per_packet;
    limits.alignment = 8;
    std::vector<std::unique_ptr<TxQueue>> txqs;
    for (unsigned i = 0; i < queues; i++) {
        txqs.push_back(
            std::make_unique<TxQueue>(rig.context, &rig.net, i, limits));
    }
    Bytes frame(size, 0x5a);
    std::array<netvsc_tx_frame, kMaxBurst> frames;
    frames.fill({frame.data(), size});
    for (unsigned i = 0; i < bursts; i++) {
        std::array<netvsc_rx_frame, kMaxBurst> none;
        TxQueue *txq = txqs[i % queues].get();
        if (counted_send(txq, &rig.rxq, frames, none) != kMaxBurst) {
            die("a burst was not sent");
        }
        auto packets = rig.out.read_all();
        if (packets.size() != kMaxBurst / per_packet) {
            die("the frames were not aggregated as the host allows");
        }
        for (const Bytes &packet : packets) {
            rig.in.write(
                completion_packet(get64(packet, 8), nvsp_message({108, 1})));
        }
    }
}

} // namespace
} // namespace netvsc

int
main(int argc, char **argv)
{
    if (argc < 5 || argc > 7) {
        netvsc::die("wants rx|mix|tx BURSTS FRAME-BYTES PER-PACKET "
                    "[TIMES [QUEUES]]");
    }
    auto number = [&](int i) {
        return static_cast<uint32_t>(std::strtoul(argv[i], nullptr, 10));
    };
    uint32_t times = argc > 5 ? number(5) : 1;
    unsigned queues = argc > 6 ? number(6) : 1;
    std::string mode = argv[1];
    if (mode == "rx" || mode == "mix") {
        netvsc::receive(number(2), number(3), number(4), mode == "mix", times);
    } else if (mode == "tx") {
        netvsc::send(number(2), number(3), number(4), times, queues);
    } else {
        netvsc::die("knows rx, mix and tx");
    }
    return 0;
}
