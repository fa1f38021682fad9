/* The emulated UIO device: what goes over the SOCK_SEQPACKET socket that
 * stands at <root>/dev/uioN where the kernel has a character device.
 *
 * Ours alone (design, seam 1).  A connection is one open(): the client sends
 * Hello, the host answers HelloReply; its ancillary data hold, in this order,
 * the memfds of the kUioMaps maps and one eventfd.  The memfds are sealed
 * (F_SEAL_GROW, F_SEAL_SHRINK, F_SEAL_SEAL), so neither side can make the
 * other one fault; the client checks the seals.  The channel opens with the
 * first connection and closes with the last.  The eventfd stands for read():
 * the host adds 1 for each interrupt.  A hang-up means the device is gone. */

#pragma once

#include "wire/vmbus.h"

namespace netvsc::wire::uio_socket {

inline constexpr uint32_t kMagic = 0x76736e75; /* "unsv" */
inline constexpr uint32_t kVersion = 1;

/* Client to host. */
inline constexpr uint32_t kHello = 1;
inline constexpr uint32_t kIrqControl = 2; /* The 4-byte write(). */
inline constexpr uint32_t kDmaRegion = 3;  /* Ancillary data: one memfd. */
/* Host to client. */
inline constexpr uint32_t kHelloReply = 101;
inline constexpr uint32_t kRescind = 102;

struct Hello {
    uint32_t type;
    uint32_t magic;
    uint32_t version;
    uint32_t size; /* sizeof(Hello): room for later fields. */
};
NETVSC_WIRE_SIZE(Hello, 16);

struct HelloReply {
    uint32_t type;
    uint32_t magic;
    uint32_t version;
    uint32_t size;
    uint32_t error; /* errno of the open(), 0 with the descriptors. */
    uint32_t maps;  /* kUioMaps */
    uint64_t map_size[kUioMaps];
};
NETVSC_WIRE_SIZE(HelloReply, 64);

struct IrqControl {
    uint32_t type;
    uint32_t value; /* 1 unmask (and signal without a monitor), 0 mask. */
};
NETVSC_WIRE_SIZE(IrqControl, 8);

/* The memfd holds guest memory from page `first_page` on. */
struct DmaRegion {
    uint32_t type;
    uint32_t reserved;
    uint64_t first_page;
    uint64_t pages;
};
NETVSC_WIRE_SIZE(DmaRegion, 24);

struct Rescind {
    uint32_t type;
};
NETVSC_WIRE_SIZE(Rescind, 4);

} // namespace netvsc::wire::uio_socket
