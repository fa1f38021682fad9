/* A NIC's counters; written by its worker thread alone and read there. */

#pragma once

#include <cstdint>

namespace netvsc::host {

/* Host to guest.  Each frame that came from the wire is in `frames` or in
 * exactly one of the drop counters. */
struct ReceiveCounters {
    uint64_t frames = 0;
    uint64_t bytes = 0;
    uint64_t ring_packets = 0;
    uint64_t dropped_no_suballoc = 0; /* The guest kept its buffer. */
    uint64_t dropped_ring_full = 0;   /* The guest did not read its ring. */
    uint64_t dropped_filter = 0;      /* Not wanted by the packet filter. */
    uint64_t dropped_no_session = 0;  /* Nobody had the NIC open. */
    uint64_t dropped_link_down = 0;
    uint64_t dropped_oversize = 0; /* Longer than the session's MTU. */
};

/* Guest to host.  Each frame of a well-formed message is in `frames` and
 * either in `WireCounters::written` or in `dropped_backend`. */
struct TransmitCounters {
    uint64_t frames = 0;
    uint64_t bytes = 0;
    uint64_t messages = 0;  /* RNDIS_PKT messages, control included. */
    uint64_t completed = 0; /* Of these. */
    uint64_t malformed = 0; /* Of these: completed with status 2. */
    uint64_t dropped_backend = 0;
};

/* The wire's side: a tap device or another NIC. */
struct WireCounters {
    uint64_t read = 0;
    uint64_t written = 0;
    uint64_t write_errors = 0;
};

struct Counters {
    ReceiveCounters rx;
    TransmitCounters tx;
    WireCounters wire;
    uint64_t sessions = 0;
    uint64_t protocol_errors = 0;
    uint64_t signals = 0; /* Interrupts to the guest. */
    uint64_t wakeups = 0; /* Times the worker went from asleep to awake. */
    /* The worker's time in rounds with something to do and without; whoever
     * has idle time is not the bottleneck. */
    uint64_t busy_ns = 0;
    uint64_t idle_ns = 0;
};

} // namespace netvsc::host
