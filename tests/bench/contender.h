/* Who takes part: something that receives and sends bursts of frames on a NIC
 * of the emulated host.
 *
 * Only receive() and send() are timed.  All calls come from one thread, with
 * the host doing its part in between. */

#pragma once

#include <functional>
#include <span>
#include <string>

#include "driver/frame.h"

namespace netvsc::bench {

/* OVS's burst, and DPDK's in OVS. */
inline constexpr unsigned kBurst = 32;

/* Shows the bytes of a frame that was received. */
using ShowFrame = std::function<void(std::span<const uint8_t>)>;

class Contender {
public:
    virtual ~Contender() = default;

    /* The thread of the calls that follow, first and last. */
    virtual void
    enter_thread()
    {
    }
    virtual void
    leave_thread()
    {
    }

    /* Timed: receives a burst into packets of its own, with checksum verdict
     * and RSS hash, and frees the packets.  Returns how many. */
    [[nodiscard]] virtual unsigned receive() = 0;

    /* Not timed: the same, and shows each frame before its end. */
    [[nodiscard]] virtual unsigned receive(const ShowFrame &show) = 0;

    /* Not timed: allocates packets with these bytes for send(). */
    virtual void prepare(std::span<const netvsc_tx_frame> frames) = 0;

    /* Timed: sends the packets, frees them, and reads the completions of the
     * burst before.  Returns how many were taken. */
    [[nodiscard]] virtual unsigned send() = 0;
};

/* One that can run by itself, against a host on another core. */
class PollingContender : public Contender {
public:
    /* Receives a burst and sends the packets on as they are.  Those that are
     * not taken are dropped, as a switch does.  Returns how many came. */
    [[nodiscard]] virtual unsigned forward() = 0;

    /* What the driver counts: frames that it took from the host and dropped
     * before anybody could receive them, and frames sent. */
    struct Books {
        uint64_t missed;
        uint64_t sent;
    };
    /* Any thread. */
    [[nodiscard]] virtual Books books() const = 0;
};

} // namespace netvsc::bench
