/* VMBus channel messages: what a guest's kernel and its host say to each other
 * before, and besides, the rings (doc/protocol.md, B). */

#pragma once

#include "wire/vmbus.h"

namespace netvsc::wire::vmbus {

/* --- B.1 How messages travel ------------------------------------------- */

/* Payload of a SynIC message and of HvPostMessage. */
inline constexpr uint32_t kMaxMessage = 240;

/* Hypervisor message type of every channel message; 0 is a free slot. */
inline constexpr uint32_t kMessageType = 1;

/* The synthetic interrupt that VMBus uses. */
inline constexpr uint32_t kSint = 2;

/* --- B.4 Versions ------------------------------------------------------ */

[[nodiscard]] constexpr uint32_t
version(uint16_t major, uint16_t minor)
{
    return uint32_t{major} << 16 | minor;
}

/* Those with dedicated interrupts and sub-channels, oldest first. */
inline constexpr uint32_t kVersion24 = version(2, 4); /* Windows 8 */
inline constexpr uint32_t kVersion30 = version(3, 0); /* Windows 8.1 */
inline constexpr uint32_t kVersion40 = version(4, 0); /* Windows 10 */
inline constexpr uint32_t kVersion41 = version(4, 1);
inline constexpr uint32_t kVersion50 = version(5, 0);
inline constexpr uint32_t kVersion51 = version(5, 1);
inline constexpr uint32_t kVersion52 = version(5, 2);
inline constexpr uint32_t kVersion53 = version(5, 3);

/* Connection ids that messages are posted to: first contact from 5.0 on goes
 * to the new one, before to the old one. */
inline constexpr uint32_t kConnectionOld = 1;
inline constexpr uint32_t kConnection = 4;

/* --- B.2 Message numbers ----------------------------------------------- */

inline constexpr uint32_t kOfferChannel = 1;
inline constexpr uint32_t kRescindOffer = 2;
inline constexpr uint32_t kRequestOffers = 3;
inline constexpr uint32_t kAllOffersDelivered = 4;
inline constexpr uint32_t kOpenChannel = 5;
inline constexpr uint32_t kOpenChannelResult = 6;
inline constexpr uint32_t kCloseChannel = 7;
inline constexpr uint32_t kGpadlHeader = 8;
inline constexpr uint32_t kGpadlBody = 9;
inline constexpr uint32_t kGpadlCreated = 10;
inline constexpr uint32_t kGpadlTeardown = 11;
inline constexpr uint32_t kGpadlTorndown = 12;
inline constexpr uint32_t kRelidReleased = 13;
inline constexpr uint32_t kInitiateContact = 14;
inline constexpr uint32_t kVersionResponse = 15;
inline constexpr uint32_t kUnload = 16;
inline constexpr uint32_t kUnloadResponse = 17;
inline constexpr uint32_t kModifyChannel = 22;         /* From 4.1. */
inline constexpr uint32_t kModifyChannelResponse = 24; /* From 5.3. */

/* --- B.3 Layouts ------------------------------------------------------- */

/* Starts every message, and is all of kRequestOffers, kAllOffersDelivered,
 * kUnload and kUnloadResponse (B.3.3, B.3.11). */
struct [[gnu::packed]] Header {
    uint32_t type;
    uint32_t padding;
};
NETVSC_WIRE_SIZE(Header, 8);

/* A GUID in its mixed-endian byte order. */
struct [[gnu::packed]] Guid {
    uint8_t bytes[16];
};
NETVSC_WIRE_SIZE(Guid, 16);

/* B.3.1.  The class and instance of a sub-channel are its primary's. */
struct [[gnu::packed]] OfferChannel {
    Header header;
    Guid device_class;
    Guid instance;
    uint64_t reserved1[2];
    uint16_t flags;
    uint16_t mmio_mib;
    uint8_t user_defined[120];
    uint16_t subchannel;
    uint16_t reserved2;
    uint32_t relid;
    uint8_t monitor_id;
    uint8_t monitor_allocated;
    uint16_t dedicated_interrupt;
    uint32_t connection_id; /* Of the signal hypercall. */
};
NETVSC_WIRE_SIZE(OfferChannel, 196);
NETVSC_WIRE_AT(OfferChannel, device_class, 8);
NETVSC_WIRE_AT(OfferChannel, instance, 24);
NETVSC_WIRE_AT(OfferChannel, flags, 56);
NETVSC_WIRE_AT(OfferChannel, user_defined, 60);
NETVSC_WIRE_AT(OfferChannel, subchannel, 180);
NETVSC_WIRE_AT(OfferChannel, relid, 184);
NETVSC_WIRE_AT(OfferChannel, monitor_id, 188);
NETVSC_WIRE_AT(OfferChannel, monitor_allocated, 189);
NETVSC_WIRE_AT(OfferChannel, dedicated_interrupt, 190);
NETVSC_WIRE_AT(OfferChannel, connection_id, 192);

/* `flags`: user space of the guest may find the device by its class. */
inline constexpr uint16_t kOfferEnumerate = 0x0001;
/* `monitor_id` of a channel that has none. */
inline constexpr uint8_t kNoMonitor = 0xff;

/* The NIC's class, kNicClassGuid, as an offer has it. */
inline constexpr Guid kNicClass = {{0x63, 0x51, 0x61, 0xf8, 0x3e, 0xdf, 0xc5,
                                    0x46, 0x91, 0x3f, 0xf2, 0xd2, 0xf9, 0x65,
                                    0xed, 0x0e}};

/* kRescindOffer, kCloseChannel and kRelidReleased (B.3.2, B.3.6, B.3.10). */
struct [[gnu::packed]] Channel {
    Header header;
    uint32_t relid;
};
NETVSC_WIRE_SIZE(Channel, 12);
NETVSC_WIRE_AT(Channel, relid, 8);

/* B.3.4 */
struct [[gnu::packed]] InitiateContact {
    Header header;
    uint32_t version;
    uint32_t target_vcpu;
    uint64_t interrupt_page; /* Before 5.0; then SINT, VTL and features. */
    uint64_t monitor_to_guest;
    uint64_t monitor_to_host;
};
NETVSC_WIRE_SIZE(InitiateContact, 40);
NETVSC_WIRE_AT(InitiateContact, version, 8);
NETVSC_WIRE_AT(InitiateContact, target_vcpu, 12);
NETVSC_WIRE_AT(InitiateContact, interrupt_page, 16);
NETVSC_WIRE_AT(InitiateContact, monitor_to_guest, 24);
NETVSC_WIRE_AT(InitiateContact, monitor_to_host, 32);

/* B.3.8: never shorter than this, or Linux 6.1 waits for ever. */
struct [[gnu::packed]] VersionResponse {
    Header header;
    uint8_t supported;
    uint8_t state;
    uint16_t padding;
    uint32_t connection_id; /* From 5.0: where to post from now on. */
};
NETVSC_WIRE_SIZE(VersionResponse, 16);
NETVSC_WIRE_AT(VersionResponse, supported, 8);
NETVSC_WIRE_AT(VersionResponse, state, 9);
NETVSC_WIRE_AT(VersionResponse, connection_id, 12);

/* B.3.5 */
struct [[gnu::packed]] OpenChannel {
    Header header;
    uint32_t relid;
    uint32_t open_id;
    uint32_t ring_gpadl;
    uint32_t target_vcpu;
    uint32_t downstream_page; /* Where the ring to the guest begins. */
    uint8_t user_data[120];
};
NETVSC_WIRE_SIZE(OpenChannel, 148);
NETVSC_WIRE_AT(OpenChannel, relid, 8);
NETVSC_WIRE_AT(OpenChannel, open_id, 12);
NETVSC_WIRE_AT(OpenChannel, ring_gpadl, 16);
NETVSC_WIRE_AT(OpenChannel, target_vcpu, 20);
NETVSC_WIRE_AT(OpenChannel, downstream_page, 24);

struct [[gnu::packed]] OpenChannelResult {
    Header header;
    uint32_t relid;
    uint32_t open_id;
    uint32_t status; /* 0 is success. */
};
NETVSC_WIRE_SIZE(OpenChannelResult, 20);
NETVSC_WIRE_AT(OpenChannelResult, open_id, 12);
NETVSC_WIRE_AT(OpenChannelResult, status, 16);

/* B.3.7: followed by `ranges` of a GpadlRange and its page numbers each, the
 * beginning in this message and the rest in kGpadlBody ones. */
struct [[gnu::packed]] GpadlHeader {
    Header header;
    uint32_t relid;
    uint32_t gpadl;
    uint16_t range_bytes; /* Of all ranges. */
    uint16_t ranges;
};
NETVSC_WIRE_SIZE(GpadlHeader, 20);
NETVSC_WIRE_AT(GpadlHeader, relid, 8);
NETVSC_WIRE_AT(GpadlHeader, gpadl, 12);
NETVSC_WIRE_AT(GpadlHeader, range_bytes, 16);
NETVSC_WIRE_AT(GpadlHeader, ranges, 18);

struct [[gnu::packed]] GpadlRange {
    uint32_t byte_count;
    uint32_t byte_offset;
};
NETVSC_WIRE_SIZE(GpadlRange, 8);
NETVSC_WIRE_AT(GpadlRange, byte_offset, 4);

/* What `range_bytes` can express. */
inline constexpr uint32_t kMaxGpadlPages =
    (UINT16_MAX - sizeof(GpadlRange)) / sizeof(uint64_t);
static_assert(kMaxGpadlPages == 8190);

struct [[gnu::packed]] GpadlBody {
    Header header;
    uint32_t number; /* Linux sends 0. */
    uint32_t gpadl;
};
NETVSC_WIRE_SIZE(GpadlBody, 16);
NETVSC_WIRE_AT(GpadlBody, gpadl, 12);

struct [[gnu::packed]] GpadlCreated {
    Header header;
    uint32_t relid;
    uint32_t gpadl;
    uint32_t status; /* 0 is success. */
};
NETVSC_WIRE_SIZE(GpadlCreated, 20);
NETVSC_WIRE_AT(GpadlCreated, gpadl, 12);
NETVSC_WIRE_AT(GpadlCreated, status, 16);

struct [[gnu::packed]] GpadlTeardown {
    Header header;
    uint32_t relid;
    uint32_t gpadl;
};
NETVSC_WIRE_SIZE(GpadlTeardown, 16);
NETVSC_WIRE_AT(GpadlTeardown, gpadl, 12);

struct [[gnu::packed]] GpadlTorndown {
    Header header;
    uint32_t gpadl;
};
NETVSC_WIRE_SIZE(GpadlTorndown, 12);
NETVSC_WIRE_AT(GpadlTorndown, gpadl, 8);

/* B.3.9 */
struct [[gnu::packed]] ModifyChannel {
    Header header;
    uint32_t relid;
    uint32_t target_vcpu;
};
NETVSC_WIRE_SIZE(ModifyChannel, 16);
NETVSC_WIRE_AT(ModifyChannel, target_vcpu, 12);

struct [[gnu::packed]] ModifyChannelResponse {
    Header header;
    uint32_t relid;
    uint32_t status; /* 0 is success. */
};
NETVSC_WIRE_SIZE(ModifyChannelResponse, 16);
NETVSC_WIRE_AT(ModifyChannelResponse, status, 12);

/* Any value but 0 means failure; this is E_UNEXPECTED, which real hosts
 * answer (B.3.7). */
inline constexpr uint32_t kStatusFailure = 0x8000ffff;

} // namespace netvsc::wire::vmbus
