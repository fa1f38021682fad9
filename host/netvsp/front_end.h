/* What stands between a NIC of the host and its guest.
 *
 * NetVSP, RNDIS and the two data paths know a guest only by these interfaces:
 * the memory that a NIC shares with it, and for each channel two rings and a
 * way to interrupt.  The `uio` front end plays kernel and hypervisor for a
 * process on this machine; a front end for a kernel in a VM differs in where
 * the memory is and how signals travel, and in nothing else. */

#pragma once

#include "host/netvsp/guest_memory.h"

namespace netvsc::host {

/* One channel, from open to close.  Used by the NIC's thread. */
class ChannelLink {
public:
    virtual ~ChannelLink() = default;

    /* The two rings, control pages included (A.1). */
    [[nodiscard]] virtual MutableBytes to_host_ring() = 0;
    [[nodiscard]] virtual MutableBytes to_guest_ring() = 0;

    /* Interrupts the guest. */
    virtual void interrupt() = 0;

    /* True once for each time, or several times, that the guest signalled
     * this channel. */
    [[nodiscard]] virtual bool take_signal() = 0;
    /* How often a sleeping host asks take_signal(), in nanoseconds. */
    [[nodiscard]] virtual uint64_t signal_interval_ns() = 0;
};

/* What the channels of a NIC have in common.  Used by the NIC's thread. */
class FrontEnd {
public:
    virtual ~FrontEnd() = default;

    /* The memory behind a GPADL of the primary channel; empty for a handle
     * that the guest did not establish.  Stays valid while that channel is
     * open. */
    [[nodiscard]] virtual MutableBytes gpadl(uint32_t handle) = 0;

    /* Memory for GPA-direct packets. */
    [[nodiscard]] virtual GuestMemory &memory() = 0;

    /* Offers the guest sub-channels 1 to `count`.  Each that the guest opens
     * is told to the session, perhaps before this returns.  They end with the
     * session. */
    virtual void offer_subchannels(uint32_t count) = 0;
};

} // namespace netvsc::host
