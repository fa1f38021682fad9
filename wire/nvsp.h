/* NVSP, the network virtual service protocol (D). */

#pragma once

#include "wire/layout.h"

namespace netvsc::wire::nvsp {

/* Every message goes out with this length, zero padded; guests that send
 * less are accepted, replies shorter than 28 bytes hang Linux 6.1 (D.4). */
inline constexpr uint32_t kMessageSize = 40;

/* --- D.2 Versions, newest first ---------------------------------------- */

inline constexpr uint32_t kVersion61 = 0x00060001; /* WS2019 */
inline constexpr uint32_t kVersion6 = 0x00060000;  /* WS2016 */
inline constexpr uint32_t kVersion5 = 0x00050000;  /* WS2012 R2 */
inline constexpr uint32_t kVersion4 = 0x00040000;  /* WS2012 */
inline constexpr uint32_t kVersion2 = 0x00030002;  /* WS2008 R2 */
inline constexpr uint32_t kVersion1 = 0x00000002;  /* WS2008 */

/* --- D.2 Message types ------------------------------------------------- */

/* Version 1 */
inline constexpr uint32_t kInit = 1;
inline constexpr uint32_t kInitComplete = 2;
inline constexpr uint32_t kSendNdisVersion = 100;
inline constexpr uint32_t kSendReceiveBuffer = 101;
inline constexpr uint32_t kSendReceiveBufferComplete = 102;
inline constexpr uint32_t kRevokeReceiveBuffer = 103;
inline constexpr uint32_t kSendSendBuffer = 104;
inline constexpr uint32_t kSendSendBufferComplete = 105;
inline constexpr uint32_t kRevokeSendBuffer = 106;
inline constexpr uint32_t kSendRndisPacket = 107;
inline constexpr uint32_t kSendRndisPacketComplete = 108;
/* Version 2 */
inline constexpr uint32_t kSendNdisConfig = 125;
/* Version 4 */
inline constexpr uint32_t kSendVfAssociation = 128;
inline constexpr uint32_t kSwitchDataPath = 129;
/* Version 5 */
inline constexpr uint32_t kSubchannel = 133;
inline constexpr uint32_t kSendIndirectionTable = 134;

/* Status values (D.2). */
inline constexpr uint32_t kStatusNone = 0;
inline constexpr uint32_t kStatusSuccess = 1;
inline constexpr uint32_t kStatusFailure = 2;

/* --- D.3 Layouts ------------------------------------------------------- */

struct [[gnu::packed]] Init {
    uint32_t type;
    uint32_t min_version;
    uint32_t max_version;
};
NETVSC_WIRE_SIZE(Init, 12);
NETVSC_WIRE_AT(Init, min_version, 4);
NETVSC_WIRE_AT(Init, max_version, 8);

struct [[gnu::packed]] InitComplete {
    uint32_t type;
    uint32_t version; /* Deprecated: 2 for v1, else 0xFFFFFFFF. */
    uint32_t max_mdl_chain;
    uint32_t status;
};
NETVSC_WIRE_SIZE(InitComplete, 16);
NETVSC_WIRE_AT(InitComplete, version, 4);
NETVSC_WIRE_AT(InitComplete, max_mdl_chain, 8);
NETVSC_WIRE_AT(InitComplete, status, 12);

/* What real hosts write to `version` from NVSP 2 on. */
inline constexpr uint32_t kInitVersionUnused = 0xffffffff;
/* And to `max_mdl_chain`. */
inline constexpr uint32_t kMaxMdlChain = 34;

struct [[gnu::packed]] SendNdisVersion {
    uint32_t type;
    uint32_t major;
    uint32_t minor;
};
NETVSC_WIRE_SIZE(SendNdisVersion, 12);
NETVSC_WIRE_AT(SendNdisVersion, major, 4);
NETVSC_WIRE_AT(SendNdisVersion, minor, 8);

/* NDIS 6.1 goes with NVSP up to 4, NDIS 6.30 with newer ones. */
inline constexpr uint32_t kNdisMajor = 6;
inline constexpr uint32_t kNdisMinorOld = 1;
inline constexpr uint32_t kNdisMinor = 30;

/* Layout of kSendReceiveBuffer and kSendSendBuffer. */
struct [[gnu::packed]] SendBuffer {
    uint32_t type;
    uint32_t gpadl;
    uint16_t id;
};
NETVSC_WIRE_SIZE(SendBuffer, 10);
NETVSC_WIRE_AT(SendBuffer, gpadl, 4);
NETVSC_WIRE_AT(SendBuffer, id, 8);

/* Receive buffer id: also the set id of every transfer-pages packet. */
inline constexpr uint16_t kReceiveBufferId = 0xcafe;
/* Send buffer id; hosts accept any (Linux sends 0, DPDK 0xface). */
inline constexpr uint16_t kSendBufferId = 0;

struct [[gnu::packed]] ReceiveBufferSection {
    uint32_t offset; /* 0 */
    uint32_t suballoc_size;
    uint32_t suballocs;
    uint32_t end_offset;
};
NETVSC_WIRE_SIZE(ReceiveBufferSection, 16);
NETVSC_WIRE_AT(ReceiveBufferSection, suballoc_size, 4);
NETVSC_WIRE_AT(ReceiveBufferSection, suballocs, 8);
NETVSC_WIRE_AT(ReceiveBufferSection, end_offset, 12);

struct [[gnu::packed]] SendReceiveBufferComplete {
    uint32_t type;
    uint32_t status;
    uint32_t sections; /* Always 1. */
    ReceiveBufferSection section;
};
NETVSC_WIRE_SIZE(SendReceiveBufferComplete, 28);
NETVSC_WIRE_AT(SendReceiveBufferComplete, status, 4);
NETVSC_WIRE_AT(SendReceiveBufferComplete, sections, 8);
NETVSC_WIRE_AT(SendReceiveBufferComplete, section, 12);

struct [[gnu::packed]] SendSendBufferComplete {
    uint32_t type;
    uint32_t status;
    uint32_t section_size;
};
NETVSC_WIRE_SIZE(SendSendBufferComplete, 12);
NETVSC_WIRE_AT(SendSendBufferComplete, status, 4);
NETVSC_WIRE_AT(SendSendBufferComplete, section_size, 8);

/* Layout of kRevokeReceiveBuffer and kRevokeSendBuffer. */
struct [[gnu::packed]] RevokeBuffer {
    uint32_t type;
    uint16_t id;
};
NETVSC_WIRE_SIZE(RevokeBuffer, 6);
NETVSC_WIRE_AT(RevokeBuffer, id, 4);

struct [[gnu::packed]] SendRndisPacket {
    uint32_t type;
    uint32_t channel_type;
    uint32_t section_index;
    uint32_t section_size; /* Bytes used in the section. */
};
NETVSC_WIRE_SIZE(SendRndisPacket, 16);
NETVSC_WIRE_AT(SendRndisPacket, channel_type, 4);
NETVSC_WIRE_AT(SendRndisPacket, section_index, 8);
NETVSC_WIRE_AT(SendRndisPacket, section_size, 12);

inline constexpr uint32_t kChannelTypeData = 0;
inline constexpr uint32_t kChannelTypeControl = 1;
inline constexpr uint32_t kNoSection = 0xffffffff;

struct [[gnu::packed]] SendRndisPacketComplete {
    uint32_t type;
    uint32_t status;
};
NETVSC_WIRE_SIZE(SendRndisPacketComplete, 8);
NETVSC_WIRE_AT(SendRndisPacketComplete, status, 4);

struct [[gnu::packed]] SendNdisConfig {
    uint32_t type;
    uint32_t mtu; /* Including the 14-byte Ethernet header. */
    uint32_t reserved;
    uint64_t capabilities;
};
NETVSC_WIRE_SIZE(SendNdisConfig, 20);
NETVSC_WIRE_AT(SendNdisConfig, mtu, 4);
NETVSC_WIRE_AT(SendNdisConfig, capabilities, 12);

inline constexpr uint64_t kCapabilitySriov = 1u << 2;
inline constexpr uint64_t kCapabilityIeee8021q = 1u << 3;
inline constexpr uint64_t kCapabilityTeaming = 1u << 5;
inline constexpr uint64_t kCapabilityRsc = 1u << 7; /* NVSP 6.1 */

struct [[gnu::packed]] SendVfAssociation {
    uint32_t type;
    uint32_t allocated;
    uint32_t serial;
};
NETVSC_WIRE_SIZE(SendVfAssociation, 12);

struct [[gnu::packed]] SwitchDataPath {
    uint32_t type;
    uint32_t active_path; /* 0 synthetic, 1 VF. */
};
NETVSC_WIRE_SIZE(SwitchDataPath, 8);

struct [[gnu::packed]] SubchannelRequest {
    uint32_t type;
    uint32_t operation;
    uint32_t requested;
};
NETVSC_WIRE_SIZE(SubchannelRequest, 12);
NETVSC_WIRE_AT(SubchannelRequest, operation, 4);
NETVSC_WIRE_AT(SubchannelRequest, requested, 8);

inline constexpr uint32_t kSubchannelAllocate = 1;

struct [[gnu::packed]] SubchannelComplete {
    uint32_t type;
    uint32_t status;
    uint32_t granted;
};
NETVSC_WIRE_SIZE(SubchannelComplete, 12);
NETVSC_WIRE_AT(SubchannelComplete, status, 4);
NETVSC_WIRE_AT(SubchannelComplete, granted, 8);

/* Channels of a NIC, the primary one included (D.7). */
inline constexpr uint32_t kMaxChannels = 64;

/* The queue for each of 16 hash buckets of what the guest sends.  The table is
 * where `offset` says, from the start of the message. */
inline constexpr uint32_t kSendTableEntries = 16;

struct [[gnu::packed]] SendIndirectionTable {
    uint32_t type;
    uint32_t count;
    uint32_t offset;
    uint32_t table[kSendTableEntries];
};
NETVSC_WIRE_SIZE(SendIndirectionTable, 76);
NETVSC_WIRE_AT(SendIndirectionTable, count, 4);
NETVSC_WIRE_AT(SendIndirectionTable, offset, 8);
NETVSC_WIRE_AT(SendIndirectionTable, table, 12);

} // namespace netvsc::wire::nvsp
