/* A channel of a NIC with all that belongs to it. */

#pragma once

#include <memory>
#include <span>
#include <vector>

#include "driver/channel.h"
#include "driver/counters.h"
#include "driver/reader_watch.h"
#include "driver/receive_buffer.h"
#include "driver/ring_consumer.h"
#include "driver/rx_queue.h"
#include "driver/send_sections.h"
#include "driver/session_context.h"

namespace netvsc {

/* What a channel has of the session's buffers. */
struct ChannelBuffers {
    ReceiveBuffer receive;
    SectionBuffer send;
    SectionRange sections;
};

/* Its rings, its send sections, its receive queue, and who reads; transmit
 * queues use one each.  Neither copied nor moved: the parts know each other.
 */
struct NetChannel {
    /* `rings`: both rings of the channel.  `control`: the control section on
     * the primary channel, else null. */
    NetChannel(const SessionContext &context, std::span<uint8_t> rings,
               HostSignal signal, const ChannelBuffers &buffers,
               ControlSection *control)
        : ring(rings, signal), sections(buffers.send, buffers.sections),
          consumer(context, &ring, buffers.receive, &sections, control,
                   &counters),
          rxq(&consumer), watch(&rxq, &consumer)
    {
    }
    NetChannel(const NetChannel &) = delete;
    NetChannel &operator=(const NetChannel &) = delete;

    /* Adds what was counted on the channel, but for transmit queues; any
     * thread. */
    void
    add_to(Statistics *statistics) const noexcept
    {
        counters.add_to(statistics);
        rxq.add_to(&statistics->rx);
        (*statistics)[Count::kSignals] += ring.signals();
    }

    Channel ring;
    SendSections sections;
    alignas(kCacheLine) Counters counters; /* Who reads the ring. */
    RingConsumer consumer;
    RxQueue rxq;
    ReaderWatch watch;
};

/* Those of a session; the first one is the primary channel. */
using NetChannels = std::vector<std::unique_ptr<NetChannel>>;

} // namespace netvsc
