/* RNDIS over NVSP: control messages, packets, per-packet info
 * (doc/protocol.md, E).
 *
 * Every "offset" field is relative to byte 8 of its message, the first byte
 * after the common header; only an element's own offset is relative to the
 * element (E.1). */

#pragma once

#include "wire/layout.h"

namespace netvsc::wire::rndis {

struct [[gnu::packed]] Header {
    uint32_t type;
    uint32_t length; /* Whole message, padding between messages included. */
};
NETVSC_WIRE_SIZE(Header, 8);
NETVSC_WIRE_AT(Header, length, 4);

/* What message offsets are relative to. */
inline constexpr uint32_t kOffsetBase = 8;

/* --- E.1 Message types ------------------------------------------------- */

inline constexpr uint32_t kPacket = 0x00000001;
inline constexpr uint32_t kInitialize = 0x00000002;
inline constexpr uint32_t kHalt = 0x00000003;
inline constexpr uint32_t kQuery = 0x00000004;
inline constexpr uint32_t kSet = 0x00000005;
inline constexpr uint32_t kReset = 0x00000006;
inline constexpr uint32_t kIndicateStatus = 0x00000007;
inline constexpr uint32_t kKeepalive = 0x00000008;
inline constexpr uint32_t kInitializeComplete = 0x80000002;
inline constexpr uint32_t kQueryComplete = 0x80000004;
inline constexpr uint32_t kSetComplete = 0x80000005;
inline constexpr uint32_t kResetComplete = 0x80000006;
inline constexpr uint32_t kKeepaliveComplete = 0x80000008;

/* RNDIS 1.0. */
inline constexpr uint32_t kMajorVersion = 1;
inline constexpr uint32_t kMinorVersion = 0;

/* --- E.2 Control messages ---------------------------------------------- */

struct [[gnu::packed]] Initialize {
    Header header;
    uint32_t request_id;
    uint32_t major;
    uint32_t minor;
    uint32_t max_transfer_size;
};
NETVSC_WIRE_SIZE(Initialize, 24);
NETVSC_WIRE_AT(Initialize, request_id, 8);
NETVSC_WIRE_AT(Initialize, major, 12);
NETVSC_WIRE_AT(Initialize, minor, 16);
NETVSC_WIRE_AT(Initialize, max_transfer_size, 20);

/* What Linux and DPDK announce as their largest control message. */
inline constexpr uint32_t kGuestMaxTransferSize = 0x4000;

struct [[gnu::packed]] InitializeComplete {
    Header header;
    uint32_t request_id;
    uint32_t status;
    uint32_t major;
    uint32_t minor;
    uint32_t device_flags;
    uint32_t medium;
    uint32_t max_packets_per_message;
    uint32_t max_transfer_size;
    uint32_t packet_alignment_shift;
    uint32_t af_list_offset;
    uint32_t af_list_size;
};
NETVSC_WIRE_SIZE(InitializeComplete, 52);
NETVSC_WIRE_AT(InitializeComplete, status, 12);
NETVSC_WIRE_AT(InitializeComplete, major, 16);
NETVSC_WIRE_AT(InitializeComplete, minor, 20);
NETVSC_WIRE_AT(InitializeComplete, device_flags, 24);
NETVSC_WIRE_AT(InitializeComplete, medium, 28);
NETVSC_WIRE_AT(InitializeComplete, max_packets_per_message, 32);
NETVSC_WIRE_AT(InitializeComplete, max_transfer_size, 36);
NETVSC_WIRE_AT(InitializeComplete, packet_alignment_shift, 40);

inline constexpr uint32_t kDeviceFlagConnectionless = 1;
inline constexpr uint32_t kMedium8023 = 0;

struct [[gnu::packed]] Halt {
    Header header;
    uint32_t request_id;
};
NETVSC_WIRE_SIZE(Halt, 12);

/* Layout of kQuery and kSet; the data follow at byte 28. */
struct [[gnu::packed]] Request {
    Header header;
    uint32_t request_id;
    uint32_t oid;
    uint32_t info_length;
    uint32_t info_offset;
    uint32_t vc_handle;
};
NETVSC_WIRE_SIZE(Request, 28);
NETVSC_WIRE_AT(Request, request_id, 8);
NETVSC_WIRE_AT(Request, oid, 12);
NETVSC_WIRE_AT(Request, info_length, 16);
NETVSC_WIRE_AT(Request, info_offset, 20);
NETVSC_WIRE_AT(Request, vc_handle, 24);

/* Data at byte 28.  Sent even without data: real hosts fail a query whose
 * offset is 0 (E.2). */
inline constexpr uint32_t kRequestInfoOffset = 20;

struct [[gnu::packed]] QueryComplete {
    Header header;
    uint32_t request_id;
    uint32_t status;
    uint32_t info_length;
    uint32_t info_offset;
};
NETVSC_WIRE_SIZE(QueryComplete, 24);
NETVSC_WIRE_AT(QueryComplete, request_id, 8);
NETVSC_WIRE_AT(QueryComplete, status, 12);
NETVSC_WIRE_AT(QueryComplete, info_length, 16);
NETVSC_WIRE_AT(QueryComplete, info_offset, 20);

/* Data at byte 24; also in an answer without data (F.2: Linux). */
inline constexpr uint32_t kQueryCompleteInfoOffset = 16;

/* Layout of kSetComplete and kKeepaliveComplete. */
struct [[gnu::packed]] SetComplete {
    Header header;
    uint32_t request_id;
    uint32_t status;
};
NETVSC_WIRE_SIZE(SetComplete, 16);
NETVSC_WIRE_AT(SetComplete, request_id, 8);
NETVSC_WIRE_AT(SetComplete, status, 12);

struct [[gnu::packed]] IndicateStatus {
    Header header;
    uint32_t status;
    uint32_t buffer_length;
    uint32_t buffer_offset;
};
NETVSC_WIRE_SIZE(IndicateStatus, 20);
NETVSC_WIRE_AT(IndicateStatus, status, 8);
NETVSC_WIRE_AT(IndicateStatus, buffer_length, 12);
NETVSC_WIRE_AT(IndicateStatus, buffer_offset, 16);

/* Status buffer at byte 20. */
inline constexpr uint32_t kIndicateBufferOffset = 12;

/* --- E.3 PACKET -------------------------------------------------------- */

struct [[gnu::packed]] Packet {
    Header header;
    uint32_t data_offset;
    uint32_t data_length; /* Ethernet frame without FCS. */
    uint32_t oob_data_offset;
    uint32_t oob_data_length;
    uint32_t oob_elements;
    uint32_t ppi_offset; /* kPpiOffset, or 0 without elements. */
    uint32_t ppi_length;
    uint32_t vc_handle;
    uint32_t reserved;
};
NETVSC_WIRE_SIZE(Packet, 44);
NETVSC_WIRE_AT(Packet, data_offset, 8);
NETVSC_WIRE_AT(Packet, data_length, 12);
NETVSC_WIRE_AT(Packet, oob_data_offset, 16);
NETVSC_WIRE_AT(Packet, oob_data_length, 20);
NETVSC_WIRE_AT(Packet, oob_elements, 24);
NETVSC_WIRE_AT(Packet, ppi_offset, 28);
NETVSC_WIRE_AT(Packet, ppi_length, 32);
NETVSC_WIRE_AT(Packet, vc_handle, 36);
NETVSC_WIRE_AT(Packet, reserved, 40);

/* Elements directly after the 44-byte header. */
inline constexpr uint32_t kPpiOffset = sizeof(Packet) - kOffsetBase;

/* --- E.4 Per-packet info ----------------------------------------------- */

struct [[gnu::packed]] PerPacketInfo {
    uint32_t size; /* 12 + data, multiple of 4. */
    uint32_t type;
    uint32_t offset; /* Of the data, from the element: 12. */
};
NETVSC_WIRE_SIZE(PerPacketInfo, 12);
NETVSC_WIRE_AT(PerPacketInfo, type, 4);
NETVSC_WIRE_AT(PerPacketInfo, offset, 8);

/* An element with its 4 bytes of data: every element that netvsc uses. */
struct [[gnu::packed]] PerPacketInfo32 {
    PerPacketInfo info;
    uint32_t value;
};
NETVSC_WIRE_SIZE(PerPacketInfo32, 16);
NETVSC_WIRE_AT(PerPacketInfo32, value, 12);

inline constexpr uint32_t kPpiChecksum = 0;
inline constexpr uint32_t kPpiLargeSend = 2;
inline constexpr uint32_t kPpiVlan = 6;
inline constexpr uint32_t kPpiHashValue = 8;
inline constexpr uint32_t kPpiHashInfo = 9;
/* Internal element: packet id of a coalesced train (E.11). */
inline constexpr uint32_t kPpiInternal = 0x80000000;

/* --- E.5 Checksum value, guest to host --------------------------------- */

inline constexpr uint32_t kTxChecksumIpv4 = 1u << 0;
inline constexpr uint32_t kTxChecksumIpv6 = 1u << 1;
inline constexpr uint32_t kTxChecksumTcp = 1u << 2;
inline constexpr uint32_t kTxChecksumUdp = 1u << 3;
inline constexpr uint32_t kTxChecksumIpHeader = 1u << 4;
inline constexpr unsigned kTxChecksumOffsetShift = 16; /* 10 bits. */
inline constexpr uint32_t kTxChecksumOffsetMask = 0x3ff;

/* --- E.5 Checksum value, host to guest --------------------------------- */

inline constexpr uint32_t kRxChecksumTcpFailed = 1u << 0;
inline constexpr uint32_t kRxChecksumUdpFailed = 1u << 1;
inline constexpr uint32_t kRxChecksumIpFailed = 1u << 2;
inline constexpr uint32_t kRxChecksumTcpSucceeded = 1u << 3;
inline constexpr uint32_t kRxChecksumUdpSucceeded = 1u << 4;
inline constexpr uint32_t kRxChecksumIpSucceeded = 1u << 5;

/* --- E.7 VLAN value: not in the order of a TCI ------------------------- */

inline constexpr uint32_t kVlanPriorityMask = 0x7;
inline constexpr uint32_t kVlanCfi = 1u << 3;
inline constexpr unsigned kVlanIdShift = 4; /* 12 bits. */
inline constexpr uint32_t kVlanIdMask = 0xfff;

/* --- E.7 Hash info: NDIS hash function and type bits (F.5) ------------- */

inline constexpr uint32_t kHashToeplitz = 1;
inline constexpr uint32_t kHashIpv4 = 0x100;
inline constexpr uint32_t kHashTcpIpv4 = 0x200;
inline constexpr uint32_t kHashIpv6 = 0x400;
inline constexpr uint32_t kHashTcpIpv6 = 0x1000;
inline constexpr uint32_t kHashUdpIpv4 = 0x4000;
inline constexpr uint32_t kHashUdpIpv6 = 0x8000;
/* Of hash information: the function, and what it is over. */
inline constexpr uint32_t kHashFunctionMask = 0xff;

/* --- E.12 Status codes ------------------------------------------------- */

inline constexpr uint32_t kStatusSuccess = 0x00000000;
inline constexpr uint32_t kStatusMediaConnect = 0x4001000b;
inline constexpr uint32_t kStatusMediaDisconnect = 0x4001000c;
inline constexpr uint32_t kStatusLinkSpeedChange = 0x40010013;
inline constexpr uint32_t kStatusNetworkChange = 0x40010018;
inline constexpr uint32_t kStatusTaskOffloadCurrentConfig = 0x40020006;
inline constexpr uint32_t kStatusFailure = 0xc0000001;
inline constexpr uint32_t kStatusNotSupported = 0xc00000bb;
inline constexpr uint32_t kStatusInvalidLength = 0xc0010014;
inline constexpr uint32_t kStatusInvalidData = 0xc0010015;

} // namespace netvsc::wire::rndis
