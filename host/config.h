/* What one NIC of the host is like: KEY=VALUE,... of the command line, of the
 * configuration file and of the `add` command. */

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "host/wires/pace.h"
#include "wire/nvsp.h"
#include "wire/vmbus.h"

namespace netvsc::host {

using MacAddress = std::array<uint8_t, 6>;

[[nodiscard]] std::string to_text(const MacAddress &mac);

/* Lower case, 8-4-4-4-12, without braces.  Throws HostError. */
[[nodiscard]] std::string parse_guid(std::string_view text);

/* Largest L3 MTU of a NIC: openvmm takes 9,216 with the Ethernet header. */
inline constexpr uint32_t kMaxMtu = 9216 - 14;

/* Which kernel driver the NIC appears bound to. */
enum class DriverBinding { kNone, kUioHvGeneric, kHvNetvsc };

[[nodiscard]] const char *to_text(DriverBinding binding);
[[nodiscard]] DriverBinding parse_driver(std::string_view text);

/* Shortest frame of a generator: Ethernet's least, without its checksum. */
inline constexpr uint32_t kLeastTestFrame = 60;

/* A wire that makes frames itself and takes what it is sent. */
struct GeneratorConfig {
    static constexpr uint32_t kImix = 0;

    /* Without the Ethernet checksum; or kImix.  A session whose MTU is lower
     * gets shorter frames. */
    uint32_t frame_size = 64;
    uint32_t elements = 3;  /* Checksum; and hash value, hash info. */
    uint32_t suballocs = 0; /* Used in turn; 0 for the whole buffer. */
    uint32_t flows = 1;
    Pace pace;
};

/* A wire that replays a capture, and captures what it is sent; each file is
 * optional. */
struct PcapConfig {
    std::string read;
    bool loop = false;
    std::string write;
};

struct NicConfig {
    std::string guid;
    MacAddress mac{}; /* By default made from the GUID. */
    uint32_t mtu = 1500;
    uint64_t speed = 10'000'000'000; /* bit/s */
    DriverBinding driver = DriverBinding::kUioHvGeneric;

    /* The wire: one of these, or none. */
    std::string tap;
    std::string peer;
    std::optional<GeneratorConfig> generator;
    std::optional<PcapConfig> pcap;

    uint32_t receive_buffer = wire::kUioReceiveBufferSize;
    uint32_t send_buffer = wire::kUioSendBufferSize;
    /* Defaults from here on are openvmm's. */
    uint32_t section_size = 6144;
    uint32_t packets_per_message = 8;
    uint32_t alignment_shift = 3;
    uint32_t ranges = 375;
    uint32_t control_suballocs = 16;
    uint32_t latency_us = 100;
    /* Offered with a monitor id; else the guest signals by hypercall. */
    bool monitor = true;
    /* Whether the guest may have frames that are for others. */
    bool promiscuous = true;
    /* Channels that a guest can have, the primary one included. */
    uint32_t max_queues = 1;
    /* How long the offers of sub-channels come after the answer. */
    uint32_t subchannel_delay_ms = 0;
    /* Highest NVSP version that the host accepts. */
    uint32_t nvsp = wire::nvsp::kVersion61;
    /* Mean time before a send is completed; 0 completes at once. */
    uint32_t completion_delay_us = 0;
};

/* Throws HostError with the key at fault. */
[[nodiscard]] NicConfig parse_nic(std::string_view text);

} // namespace netvsc::host
