/* Frames as they pass between the driver and its user: views, never copies.
 *
 * Plain C types, because OVS's glue (C) and the driver (C++) share them; the
 * driver knows no dp_packet and the glue no RNDIS. */

#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A piece of a received frame, in the receive buffer that the host can
 * write: read each byte once. */
struct netvsc_fragment {
    const uint8_t *data;
    uint32_t size;
};

enum netvsc_rx_flags {
    NETVSC_RX_HASH = 1 << 0,    /* `rss_hash` is valid. */
    NETVSC_RX_VLAN = 1 << 1,    /* `vlan_tci`: a tag the host took out. */
    NETVSC_RX_IP_GOOD = 1 << 2, /* IPv4 header checksum verified. */
    NETVSC_RX_IP_BAD = 1 << 3,  /* ... and found wrong. */
    NETVSC_RX_L4_GOOD = 1 << 4, /* TCP or UDP checksum verified. */
    NETVSC_RX_L4_BAD = 1 << 5,  /* ... and found wrong. */
    NETVSC_RX_ALL = (1 << 6) - 1,
};

/* The longest frame that is received; a longer one is malformed.  A dp_packet
 * counts its bytes with 16 bits, and of these 4 are for a tag that the host
 * took out, and 1024 for what OVS puts in front. */
#define NETVSC_MAX_RX_FRAME (UINT16_MAX - 4 - 1024)

/* A received frame.  Valid from RxQueue::poll() to RxQueue::release();
 * the fragments belong to the queue.  One fragment for an ordinary frame,
 * several for a coalesced train. */
struct netvsc_rx_frame {
    const struct netvsc_fragment *fragments;
    uint32_t n_fragments;
    uint32_t size; /* Sum of the fragments' sizes, without the tag. */
    uint32_t rss_hash;
    uint16_t vlan_tci; /* Host byte order, as in an 802.1Q tag. */
    uint16_t flags;    /* enum netvsc_rx_flags. */
};

/* A frame to send, in the caller's memory, which is free again as soon as
 * the call returns.  Tags are in the frame: the driver moves an outer 802.1Q
 * tag to the VLAN element.  Offload requests will be further members. */
struct netvsc_tx_frame {
    const uint8_t *data;
    uint32_t size;
};

#ifdef __cplusplus
}
#endif
