/* OIDs and their objects (doc/protocol.md, F). */

#pragma once

#include "wire/layout.h"

namespace netvsc::wire::oid {

/* --- F.1 Numbers ------------------------------------------------------- */

inline constexpr uint32_t kGenSupportedList = 0x00010101;
inline constexpr uint32_t kGenHardwareStatus = 0x00010102;
inline constexpr uint32_t kGenMediaSupported = 0x00010103;
inline constexpr uint32_t kGenMediaInUse = 0x00010104;
inline constexpr uint32_t kGenMaximumLookahead = 0x00010105;
inline constexpr uint32_t kGenMaximumFrameSize = 0x00010106;
inline constexpr uint32_t kGenLinkSpeed = 0x00010107;
inline constexpr uint32_t kGenTransmitBufferSpace = 0x00010108;
inline constexpr uint32_t kGenReceiveBufferSpace = 0x00010109;
inline constexpr uint32_t kGenTransmitBlockSize = 0x0001010a;
inline constexpr uint32_t kGenReceiveBlockSize = 0x0001010b;
inline constexpr uint32_t kGenVendorId = 0x0001010c;
inline constexpr uint32_t kGenVendorDescription = 0x0001010d;
inline constexpr uint32_t kGenCurrentPacketFilter = 0x0001010e;
inline constexpr uint32_t kGenCurrentLookahead = 0x0001010f;
inline constexpr uint32_t kGenDriverVersion = 0x00010110;
inline constexpr uint32_t kGenMaximumTotalSize = 0x00010111;
inline constexpr uint32_t kGenMacOptions = 0x00010113;
inline constexpr uint32_t kGenMediaConnectStatus = 0x00010114;
inline constexpr uint32_t kGenMaximumSendPackets = 0x00010115;
inline constexpr uint32_t kGenVendorDriverVersion = 0x00010116;
inline constexpr uint32_t kGenReceiveScaleCapabilities = 0x00010203;
inline constexpr uint32_t kGenReceiveScaleParameters = 0x00010204;
inline constexpr uint32_t kGenFriendlyName = 0x00020216;
inline constexpr uint32_t kGenRndisConfigParameter = 0x0001021b;
inline constexpr uint32_t k8023PermanentAddress = 0x01010101;
inline constexpr uint32_t k8023CurrentAddress = 0x01010102;
inline constexpr uint32_t k8023MaximumListSize = 0x01010104;
inline constexpr uint32_t kTcpOffloadCurrentConfig = 0xfc01020b;
inline constexpr uint32_t kTcpOffloadParameters = 0xfc01020c;
inline constexpr uint32_t kTcpOffloadHardwareCapabilities = 0xfc01020d;

/* --- F.1, F.6 Simple payloads ------------------------------------------ */

/* GEN_LINK_SPEED counts 100 bit/s. */
inline constexpr uint64_t kLinkSpeedUnit = 100;

/* GEN_MEDIA_CONNECT_STATUS: 0 is up. */
inline constexpr uint32_t kMediaConnected = 0;
inline constexpr uint32_t kMediaDisconnected = 1;

/* GEN_CURRENT_PACKET_FILTER bits; 0 stops delivery at once. */
inline constexpr uint32_t kFilterDirected = 0x01;
inline constexpr uint32_t kFilterMulticast = 0x02;
inline constexpr uint32_t kFilterAllMulticast = 0x04;
inline constexpr uint32_t kFilterBroadcast = 0x08;
inline constexpr uint32_t kFilterPromiscuous = 0x20;

/* --- F.3 Offload capability object ------------------------------------- */

struct [[gnu::packed]] ObjectHeader {
    uint8_t type;
    uint8_t revision;
    uint16_t size;
};
NETVSC_WIRE_SIZE(ObjectHeader, 4);
NETVSC_WIRE_AT(ObjectHeader, revision, 1);
NETVSC_WIRE_AT(ObjectHeader, size, 2);

struct [[gnu::packed]] Offload {
    ObjectHeader header;
    uint32_t ipv4_tx_encapsulation;
    uint32_t ipv4_tx_flags;
    uint32_t ipv4_rx_encapsulation;
    uint32_t ipv4_rx_flags;
    uint32_t ipv6_tx_encapsulation;
    uint32_t ipv6_tx_flags;
    uint32_t ipv6_rx_encapsulation;
    uint32_t ipv6_rx_flags;
    uint8_t lsov1[16];
    uint8_t ipsec_v1[28];
    uint32_t lsov2_ipv4_encapsulation;
    uint32_t lsov2_ipv4_max_size;
    uint32_t lsov2_ipv4_min_segments;
    uint32_t lsov2_ipv6_encapsulation;
    uint32_t lsov2_ipv6_max_size;
    uint32_t lsov2_ipv6_min_segments;
    uint32_t lsov2_ipv6_options;
    uint32_t flags;
    uint8_t ipsec_v2[32]; /* Revision 2 and up. */
    uint8_t rsc_ipv4;     /* Revision 3 and up. */
    uint8_t rsc_ipv6;
    uint16_t padding;
    uint32_t nvgre_flags;
    uint32_t nvgre_max_header;
};
NETVSC_WIRE_SIZE(Offload, 156);
NETVSC_WIRE_AT(Offload, ipv4_tx_flags, 8);
NETVSC_WIRE_AT(Offload, ipv4_rx_flags, 16);
NETVSC_WIRE_AT(Offload, ipv6_tx_flags, 24);
NETVSC_WIRE_AT(Offload, ipv6_rx_flags, 32);
NETVSC_WIRE_AT(Offload, lsov2_ipv4_encapsulation, 80);
NETVSC_WIRE_AT(Offload, lsov2_ipv6_encapsulation, 92);
NETVSC_WIRE_AT(Offload, lsov2_ipv6_options, 104);
NETVSC_WIRE_AT(Offload, ipsec_v2, 112);
NETVSC_WIRE_AT(Offload, rsc_ipv4, 144);

inline constexpr uint8_t kOffloadType = 0xa7;
inline constexpr uint8_t kOffloadRevision3 = 3; /* NVSP 5 and up. */
inline constexpr uint16_t kOffloadSize1 = 112;
inline constexpr uint16_t kOffloadSize2 = 144;
inline constexpr uint16_t kOffloadSize3 = 156;

/* Encapsulation: IEEE 802.3. */
inline constexpr uint32_t kEncapsulation8023 = 2;
/* Flag words: IPv4 0x100 IP header, 0x40 UDP, 0x10 TCP, 0x4 TCP options,
 * 0x1 IP options; IPv6 the same without 0x100. */
inline constexpr uint32_t kChecksumTcp = 0x10;
inline constexpr uint32_t kChecksumUdp = 0x40;
inline constexpr uint32_t kChecksumIpHeader = 0x100;
inline constexpr uint32_t kChecksumTcpOptions = 0x4;
inline constexpr uint32_t kChecksumIpOptions = 0x1;

/* --- F.4 Offload parameters -------------------------------------------- */

struct [[gnu::packed]] OffloadParameters {
    ObjectHeader header;
    uint8_t ipv4_header_checksum;
    uint8_t tcp_ipv4_checksum;
    uint8_t udp_ipv4_checksum;
    uint8_t tcp_ipv6_checksum;
    uint8_t udp_ipv6_checksum;
    uint8_t lsov1;
    uint8_t ipsec_v1;
    uint8_t lsov2_ipv4;
    uint8_t lsov2_ipv6;
    uint8_t tcp_connection_ipv4;
    uint8_t tcp_connection_ipv6;
    uint8_t padding;
    uint32_t flags;
    uint8_t ipsec_v2;
    uint8_t ipsec_v2_ipv4;
    uint8_t rsc_ipv4;
    uint8_t rsc_ipv6;
    uint8_t encapsulated_offload;
    uint8_t encapsulation_types;
    uint16_t padding2;
};
NETVSC_WIRE_SIZE(OffloadParameters, 28);
NETVSC_WIRE_AT(OffloadParameters, ipv4_header_checksum, 4);
NETVSC_WIRE_AT(OffloadParameters, udp_ipv6_checksum, 8);
NETVSC_WIRE_AT(OffloadParameters, lsov2_ipv4, 11);
NETVSC_WIRE_AT(OffloadParameters, lsov2_ipv6, 12);
NETVSC_WIRE_AT(OffloadParameters, flags, 16);
NETVSC_WIRE_AT(OffloadParameters, rsc_ipv4, 22);

inline constexpr uint8_t kOffloadParametersType = 0x80;
inline constexpr uint8_t kOffloadParametersRevision = 3;
/* Checksum fields. */
inline constexpr uint8_t kOffloadNoChange = 0;
inline constexpr uint8_t kOffloadOff = 1;
inline constexpr uint8_t kChecksumTxOn = 2;
inline constexpr uint8_t kChecksumRxOn = 3;
inline constexpr uint8_t kChecksumBothOn = 4;
/* LSO and RSC fields. */
inline constexpr uint8_t kOffloadOn = 2;

/* --- F.5 Receive scaling ----------------------------------------------- */

struct [[gnu::packed]] RssCapabilities {
    ObjectHeader header;
    uint32_t capability_flags;
    uint32_t interrupt_messages;
    uint32_t receive_queues;
    uint16_t indirection_entries;
};
NETVSC_WIRE_SIZE(RssCapabilities, 18);
NETVSC_WIRE_AT(RssCapabilities, capability_flags, 4);
NETVSC_WIRE_AT(RssCapabilities, interrupt_messages, 8);
NETVSC_WIRE_AT(RssCapabilities, receive_queues, 12);
NETVSC_WIRE_AT(RssCapabilities, indirection_entries, 16);

inline constexpr uint8_t kRssCapabilitiesType = 0x88;
inline constexpr uint8_t kRssCapabilitiesRevision = 2;
/* Capability flags: Toeplitz and what it can be over.  These are other bits
 * than those of the hash information. */
inline constexpr uint32_t kRssToeplitz = 1u << 0;
inline constexpr uint32_t kRssTcpIpv4 = 0x100;
inline constexpr uint32_t kRssTcpIpv6 = 0x200;
inline constexpr uint32_t kRssUdpIpv4 = 0x800;
inline constexpr uint32_t kRssUdpIpv6 = 0x1000;
/* DPDK refuses more than 128 and takes 0 for "no queue" (H.1). */
inline constexpr uint16_t kRssIndirectionEntries = 128;

/* The header of SET GEN_RECEIVE_SCALE_PARAMETERS; table and key follow where
 * it says, from its own start. */
struct [[gnu::packed]] RssParameters {
    ObjectHeader header;
    uint16_t flags;
    uint16_t base_cpu;
    uint32_t hash_info;
    uint16_t table_size; /* Bytes. */
    uint16_t padding1;
    uint32_t table_offset;
    uint16_t key_size; /* Bytes. */
    uint16_t padding2;
    uint32_t key_offset;
    uint32_t masks_offset;
    uint32_t masks;
    uint32_t mask_size;
};
NETVSC_WIRE_SIZE(RssParameters, 40);
NETVSC_WIRE_AT(RssParameters, flags, 4);
NETVSC_WIRE_AT(RssParameters, hash_info, 8);
NETVSC_WIRE_AT(RssParameters, table_size, 12);
NETVSC_WIRE_AT(RssParameters, table_offset, 16);
NETVSC_WIRE_AT(RssParameters, key_size, 20);
NETVSC_WIRE_AT(RssParameters, key_offset, 24);
NETVSC_WIRE_AT(RssParameters, masks_offset, 28);

inline constexpr uint8_t kRssParametersType = 0x89;
inline constexpr uint8_t kRssParametersRevision = 2;
/* Bytes of a Toeplitz key. */
inline constexpr uint16_t kRssKeySize = 40;
/* Flags: what stays as it is, and RSS off. */
inline constexpr uint16_t kRssHashInfoUnchanged = 0x2;
inline constexpr uint16_t kRssTableUnchanged = 0x4;
inline constexpr uint16_t kRssKeyUnchanged = 0x8;
inline constexpr uint16_t kRssDisable = 0x10;

} // namespace netvsc::wire::oid
