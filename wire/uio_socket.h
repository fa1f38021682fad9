/* The emulated UIO device: what goes over the SOCK_SEQPACKET socket that
 * stands at <root>/dev/uioN where the kernel has a character device.
 *
 * Ours alone.  A connection is one open(): the client sends Hello, the host
 * answers HelloReply; its ancillary data hold, in this order, the memfds of
 * the kUioMaps maps.  Each side demands of the other's memfds that they are
 * sealed (kSeals), so neither can make the other one fault.  The channel
 * opens with the first connection and closes with the last.  Interrupt stands
 * for read(): one message for each, or fewer while some wait unread.  A
 * hang-up means the device is gone.
 *
 * Nothing but that memory is shared: a file description that both hold, as
 * of an eventfd, has one O_NONBLOCK for both, and either could make the other
 * wait for ever.  After the hello, both send and receive with MSG_DONTWAIT. */

#pragma once

#include <fcntl.h>

#include "wire/vmbus.h"

namespace netvsc::wire::uio_socket {

inline constexpr uint32_t kMagic = 0x76736e75; /* "unsv" */
inline constexpr uint32_t kVersion = 2;

/* Of each memfd, in both directions. */
inline constexpr int kSeals = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;

/* Client to host. */
inline constexpr uint32_t kHello = 1;
inline constexpr uint32_t kIrqControl = 2; /* The 4-byte write(). */
inline constexpr uint32_t kDmaRegion = 3;  /* Ancillary data: one memfd. */
/* Host to client. */
inline constexpr uint32_t kHelloReply = 101;
inline constexpr uint32_t kRescind = 102;
inline constexpr uint32_t kInterrupt = 103;

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

/* When the client has left so many unread that its socket is full, the next
 * one is not sent: it would tell it nothing new. */
struct Interrupt {
    uint32_t type;
};
NETVSC_WIRE_SIZE(Interrupt, 4);

} // namespace netvsc::wire::uio_socket
