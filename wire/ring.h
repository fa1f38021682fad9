/* VMBus ring buffers: control page and packets (doc/protocol.md, A). */

#pragma once

#include "wire/layout.h"

namespace netvsc::wire {

/* A Hyper-V page, whatever the guest's own page size is. */
inline constexpr uint32_t kPageSize = 4096;

/* --- A.2 Control page -------------------------------------------------- */

/* First page of each ring.  `write_index` and `pending_send_sz` belong to the
 * producer, `read_index` and `interrupt_mask` to the consumer. */
struct [[gnu::packed]] RingControl {
    uint32_t write_index;     /* Byte offset of the next byte to write. */
    uint32_t read_index;      /* Byte offset of the next byte to read. */
    uint32_t interrupt_mask;  /* Nonzero: do not signal new packets. */
    uint32_t pending_send_sz; /* Bytes a blocked producer waits for, or 0. */
    uint32_t reserved[12];
    uint32_t feature_bits; /* kFeatPendingSendSz. */
    uint8_t reserved2[4028];
};
NETVSC_WIRE_SIZE(RingControl, 4096);
NETVSC_WIRE_AT(RingControl, write_index, 0);
NETVSC_WIRE_AT(RingControl, read_index, 4);
NETVSC_WIRE_AT(RingControl, interrupt_mask, 8);
NETVSC_WIRE_AT(RingControl, pending_send_sz, 12);
NETVSC_WIRE_AT(RingControl, feature_bits, 64);

/* The producer of this ring uses `pending_send_sz` (A.2). */
inline constexpr uint32_t kFeatPendingSendSz = 1;

/* --- A.4 Packet descriptor --------------------------------------------- */

/* Starts every packet.  Lengths count 8-byte units. */
struct [[gnu::packed]] PacketDescriptor {
    uint16_t type;
    uint16_t offset8; /* Payload, from the start of the packet. */
    uint16_t len8;    /* Whole packet without its trailer. */
    uint16_t flags;
    uint64_t trans_id; /* Echoed in the completion. */
};
NETVSC_WIRE_SIZE(PacketDescriptor, 16);
NETVSC_WIRE_AT(PacketDescriptor, type, 0);
NETVSC_WIRE_AT(PacketDescriptor, offset8, 2);
NETVSC_WIRE_AT(PacketDescriptor, len8, 4);
NETVSC_WIRE_AT(PacketDescriptor, flags, 6);
NETVSC_WIRE_AT(PacketDescriptor, trans_id, 8);

/* Everything in a ring is aligned to, and counted in, units of 8 bytes. */
inline constexpr uint32_t kRingUnit = 8;

/* Packet flag: the sender wants a completion.  No other bit is legal. */
inline constexpr uint16_t kCompletionRequested = 1;

/* --- A.5 Packet types that netvsc uses --------------------------------- */

inline constexpr uint16_t kPacketInband = 6;
inline constexpr uint16_t kPacketTransferPages = 7; /* Host to guest only. */
inline constexpr uint16_t kPacketGpaDirect = 9;     /* Guest to host only. */
inline constexpr uint16_t kPacketCompletion = 11;

/* A transfer-pages packet: this header, `range_count` ranges, then the NVSP
 * message at offset8 = 3 + range_count. */
struct [[gnu::packed]] TransferPagesHeader {
    PacketDescriptor desc;
    uint16_t set_id; /* nvsp::kReceiveBufferId. */
    uint8_t sender_owns_set;
    uint8_t reserved;
    uint32_t range_count;
};
NETVSC_WIRE_SIZE(TransferPagesHeader, 24);
NETVSC_WIRE_AT(TransferPagesHeader, set_id, 16);
NETVSC_WIRE_AT(TransferPagesHeader, range_count, 20);

struct [[gnu::packed]] TransferPageRange {
    uint32_t byte_count;
    uint32_t byte_offset; /* In the receive buffer. */
};
NETVSC_WIRE_SIZE(TransferPageRange, 8);
NETVSC_WIRE_AT(TransferPageRange, byte_count, 0);
NETVSC_WIRE_AT(TransferPageRange, byte_offset, 4);

/* A GPA-direct packet: this header, then per range a GpaRange and its page
 * frame numbers (u64 each, 4 KiB frames), then the NVSP message. */
struct [[gnu::packed]] GpaDirectHeader {
    PacketDescriptor desc;
    uint32_t reserved;
    uint32_t range_count;
};
NETVSC_WIRE_SIZE(GpaDirectHeader, 24);
NETVSC_WIRE_AT(GpaDirectHeader, range_count, 20);

struct [[gnu::packed]] GpaRange {
    uint32_t byte_count;
    uint32_t byte_offset; /* In the first page, at most 4095. */
};
NETVSC_WIRE_SIZE(GpaRange, 8);
NETVSC_WIRE_AT(GpaRange, byte_count, 0);
NETVSC_WIRE_AT(GpaRange, byte_offset, 4);

/* --- A.6 Trailer ------------------------------------------------------- */

/* After every packet: u32 0, then the u32 start offset of that packet. */
inline constexpr uint32_t kTrailerSize = 8;
inline constexpr unsigned kTrailerOffsetShift = 32;

/* --- A.12 Limits of each reader ---------------------------------------- */

/* Linux copies each host-to-guest packet to a buffer of this size and loses
 * synchronisation on a longer one, so no host sends one. */
inline constexpr uint32_t kMaxHostPacket = 4624;

} // namespace netvsc::wire
