#include "host/config.h"

#include <charconv>
#include <cstdio>
#include <functional>
#include <map>

#include <net/if.h>

#include "host/base/error.h"
#include "host/base/ethernet.h"
#include "host/netvsp/channel.h"

namespace netvsc::host {

namespace {

/* Smallest L3 MTU: IPv4's, as the Linux and OVS stacks have it. */
constexpr uint32_t kMinMtu = 68;

/* Hosts align to a cache line at most (E.9); 7 would be 128 bytes. */
constexpr uint32_t kMaxAlignmentShift = 7;

/* More frames of 14 bytes do not fit a section anyway. */
constexpr uint32_t kMaxPacketsPerMessage = 64;

/* Linux and DPDK refuse smaller sections (D.5: NETVSC_MTU_MIN). */
constexpr uint32_t kMinSectionSize = 68;

/* A second of delay is a hang to every guest. */
constexpr uint32_t kMaxCompletionDelayUs = 1'000'000;

/* Ten seconds: a guest gives up before. */
constexpr uint32_t kMaxSubchannelDelayMs = 10'000;

/* The latency word has 16 bits of 100 ns. */
constexpr uint32_t kMaxLatencyUs = UINT16_MAX / 10;

constexpr uint32_t kMaxBuffer = 1u << 30;

/* Each has another source address in a /16. */
constexpr uint32_t kMaxFlows = 1u << 16;

[[noreturn]] void
reject(std::string_view key, std::string_view value, const char *wanted)
{
    throw HostError(std::string(key) + "=" + std::string(value) + " is not " +
                    wanted + ".");
}

/* Digits with an optional suffix, each letter worth `kilo` to a power. */
uint64_t
parse_scaled(std::string_view key, std::string_view value, uint64_t kilo)
{
    uint64_t number = 0;
    const char *end = value.data() + value.size();
    auto [rest, error] = std::from_chars(value.data(), end, number);
    uint64_t scale = 1;
    if (error == std::errc() && end - rest == 1) {
        size_t power = std::string_view("KMG").find(*rest);
        for (size_t i = 0; power != std::string_view::npos && i <= power;
             i++) {
            scale *= kilo;
        }
        rest += scale > 1;
    }
    if (error != std::errc() || rest != end || number > UINT64_MAX / scale) {
        reject(key, value, "a number with an optional suffix K, M or G");
    }
    return number * scale;
}

uint32_t
parse_number(std::string_view key, std::string_view value, uint32_t least,
             uint32_t most)
{
    uint64_t number = parse_scaled(key, value, 1024);
    if (number < least || number > most) {
        reject(key, value,
               ("between " + std::to_string(least) + " and " +
                std::to_string(most))
                   .c_str());
    }
    return static_cast<uint32_t>(number);
}

/* A buffer that has a GPADL: whole pages. */
uint32_t
parse_buffer(std::string_view key, std::string_view value)
{
    uint32_t size = parse_number(key, value, wire::kPageSize, kMaxBuffer);
    if (size % wire::kPageSize) {
        reject(key, value, "a multiple of 4096 bytes");
    }
    return size;
}

MacAddress
parse_mac(std::string_view value)
{
    MacAddress mac;
    unsigned parts[6];
    int used = 0;
    std::string text(value);
    if (std::sscanf(text.c_str(), "%2x:%2x:%2x:%2x:%2x:%2x%n", &parts[0],
                    &parts[1], &parts[2], &parts[3], &parts[4], &parts[5],
                    &used) != 6 ||
        static_cast<size_t>(used) != text.size()) {
        reject("mac", value, "a MAC address like 00:15:5d:00:00:01");
    }
    for (size_t i = 0; i < mac.size(); i++) {
        mac[i] = static_cast<uint8_t>(parts[i]);
    }
    if (mac[0] & 1) {
        reject("mac", value, "the address of one NIC, but a group's");
    }
    return mac;
}

/* Microsoft's prefix, then the end of the GUID. */
MacAddress
default_mac(const std::string &guid)
{
    std::string tail = guid.substr(guid.size() - 6);
    return parse_mac("00:15:5d:" + tail.substr(0, 2) + ":" +
                     tail.substr(2, 2) + ":" + tail.substr(4, 2));
}

bool
parse_yes(std::string_view key, std::string_view value)
{
    if (value != "yes" && value != "no") {
        reject(key, value, "yes or no");
    }
    return value == "yes";
}

/* As Windows' versions of the protocol are called (D.2). */
uint32_t
parse_nvsp(std::string_view value)
{
    static const std::map<std::string_view, uint32_t> versions = {
        {"6.1", wire::nvsp::kVersion61}, {"6", wire::nvsp::kVersion6},
        {"5", wire::nvsp::kVersion5},    {"4", wire::nvsp::kVersion4},
        {"2", wire::nvsp::kVersion2},
    };
    auto found = versions.find(value);
    if (found == versions.end()) {
        reject("nvsp", value, "6.1, 6, 5, 4 or 2");
    }
    return found->second;
}

/* Keys of one wire may come in any order. */
GeneratorConfig &
generator(NicConfig &nic)
{
    return nic.generator ? *nic.generator : nic.generator.emplace();
}

PcapConfig &
pcap(NicConfig &nic)
{
    return nic.pcap ? *nic.pcap : nic.pcap.emplace();
}

using Setter = std::function<void(NicConfig &, std::string_view)>;

Setter
number(const char *key, uint32_t NicConfig::*member, uint32_t least,
       uint32_t most)
{
    return [=](NicConfig &nic, std::string_view value) {
        nic.*member = parse_number(key, value, least, most);
    };
}

const std::map<std::string_view, Setter> &
setters()
{
    static const std::map<std::string_view, Setter> table = {
        {"guid", [](NicConfig &nic,
                    std::string_view value) { nic.guid = parse_guid(value); }},
        {"mac", [](NicConfig &nic,
                   std::string_view value) { nic.mac = parse_mac(value); }},
        {"mtu", number("mtu", &NicConfig::mtu, kMinMtu, kMaxMtu)},
        {"speed",
         [](NicConfig &nic, std::string_view value) {
             nic.speed = parse_scaled("speed", value, 1000);
         }},
        {"driver",
         [](NicConfig &nic, std::string_view value) {
             nic.driver = parse_driver(value);
         }},
        {"tap",
         [](NicConfig &nic, std::string_view value) {
             if (value.empty() || value.size() >= IFNAMSIZ ||
                 value.find('/') != std::string_view::npos) {
                 reject("tap", value, "the name of a network device");
             }
             nic.tap = value;
         }},
        {"peer", [](NicConfig &nic,
                    std::string_view value) { nic.peer = parse_guid(value); }},
        {"generate",
         [](NicConfig &nic, std::string_view value) {
             generator(nic).frame_size =
                 value == "imix"
                     ? GeneratorConfig::kImix
                     : parse_number("generate", value, kLeastTestFrame,
                                    kMaxMtu + kEthernetHeader);
         }},
        {"elements",
         [](NicConfig &nic, std::string_view value) {
             if (value != "1" && value != "3") {
                 reject("elements", value, "1 or 3");
             }
             generator(nic).elements = value == "1" ? 1 : 3;
         }},
        {"suballocs",
         [](NicConfig &nic, std::string_view value) {
             generator(nic).suballocs =
                 parse_number("suballocs", value, 0, kMaxBuffer);
         }},
        {"flows",
         [](NicConfig &nic, std::string_view value) {
             generator(nic).flows = parse_number("flows", value, 1, kMaxFlows);
         }},
        {"pace",
         [](NicConfig &nic, std::string_view value) {
             generator(nic).pace = parse_pace(value);
         }},
        {"pcap", [](NicConfig &nic,
                    std::string_view value) { pcap(nic).read = value; }},
        {"pcap-loop",
         [](NicConfig &nic, std::string_view value) {
             pcap(nic).loop = parse_yes("pcap-loop", value);
         }},
        {"pcap-write",
         [](NicConfig &nic, std::string_view value) {
             pcap(nic).write = value;
         }},
        {"receive-buffer",
         [](NicConfig &nic, std::string_view value) {
             nic.receive_buffer = parse_buffer("receive-buffer", value);
         }},
        {"send-buffer",
         [](NicConfig &nic, std::string_view value) {
             nic.send_buffer = parse_buffer("send-buffer", value);
         }},
        {"section-size",
         [](NicConfig &nic, std::string_view value) {
             nic.section_size = parse_number("section-size", value,
                                             kMinSectionSize, kMaxBuffer);
             if (nic.section_size % 4) {
                 /* DPDK's attach fails otherwise (D.5). */
                 reject("section-size", value, "a multiple of 4");
             }
         }},
        {"packets-per-message",
         number("packets-per-message", &NicConfig::packets_per_message, 1,
                kMaxPacketsPerMessage)},
        {"alignment-shift",
         number("alignment-shift", &NicConfig::alignment_shift, 0,
                kMaxAlignmentShift)},
        {"ranges", number("ranges", &NicConfig::ranges, 1, kMaxRanges)},
        {"control-suballocs",
         number("control-suballocs", &NicConfig::control_suballocs, 1, 1024)},
        {"latency-us",
         number("latency-us", &NicConfig::latency_us, 0, kMaxLatencyUs)},
        {"monitor",
         [](NicConfig &nic, std::string_view value) {
             nic.monitor = parse_yes("monitor", value);
         }},
        {"promiscuous",
         [](NicConfig &nic, std::string_view value) {
             nic.promiscuous = parse_yes("promiscuous", value);
         }},
        {"max-queues", number("max-queues", &NicConfig::max_queues, 1,
                              wire::nvsp::kMaxChannels)},
        {"subchannel-delay-ms",
         number("subchannel-delay-ms", &NicConfig::subchannel_delay_ms, 0,
                kMaxSubchannelDelayMs)},
        {"nvsp", [](NicConfig &nic,
                    std::string_view value) { nic.nvsp = parse_nvsp(value); }},
        {"completion-delay-us",
         number("completion-delay-us", &NicConfig::completion_delay_us, 0,
                kMaxCompletionDelayUs)},
    };
    return table;
}

} // namespace

std::string
to_text(const MacAddress &mac)
{
    char text[18];
    std::snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0],
                  mac[1], mac[2], mac[3], mac[4], mac[5]);
    return text;
}

std::string
parse_guid(std::string_view text)
{
    constexpr std::string_view kShape = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    std::string_view body = text;
    if (body.size() == kShape.size() + 2 && body.front() == '{' &&
        body.back() == '}') {
        body = body.substr(1, kShape.size());
    }
    std::string guid(body);
    bool good = guid.size() == kShape.size();
    for (size_t i = 0; good && i < guid.size(); i++) {
        auto c = static_cast<unsigned char>(guid[i]);
        good = kShape[i] == '-' ? c == '-' : std::isxdigit(c);
        guid[i] = static_cast<char>(std::tolower(c));
    }
    if (!good) {
        throw HostError("'" + std::string(text) +
                        "' is not a GUID like "
                        "f8615163-0000-1000-2000-00155d000001.");
    }
    return guid;
}

const char *
to_text(DriverBinding binding)
{
    switch (binding) {
    case DriverBinding::kUioHvGeneric:
        return "uio_hv_generic";
    case DriverBinding::kHvNetvsc:
        return "hv_netvsc";
    case DriverBinding::kNone:
        break;
    }
    return "none";
}

DriverBinding
parse_driver(std::string_view text)
{
    for (DriverBinding binding :
         {DriverBinding::kNone, DriverBinding::kUioHvGeneric,
          DriverBinding::kHvNetvsc}) {
        if (text == to_text(binding)) {
            return binding;
        }
    }
    reject("driver", text, "uio_hv_generic, hv_netvsc or none");
}

NicConfig
parse_nic(std::string_view text)
{
    NicConfig nic;
    bool mac_given = false;
    std::map<std::string_view, bool> seen;
    while (!text.empty()) {
        std::string_view item = text.substr(0, text.find(','));
        text.remove_prefix(std::min(text.size(), item.size() + 1));

        size_t equals = item.find('=');
        std::string_view key = item.substr(0, equals);
        auto setter = setters().find(key);
        if (setter == setters().end()) {
            throw HostError("A NIC has no property '" + std::string(key) +
                            "'; netvsc-host(8) lists them.");
        }
        if (equals == std::string_view::npos) {
            throw HostError("A NIC's '" + std::string(key) +
                            "' has no value; write " + std::string(key) +
                            "=VALUE, as netvsc-host(8) says.");
        }
        if (std::exchange(seen[setter->first], true)) {
            throw HostError("A NIC has two values for '" + std::string(key) +
                            "'; give one.");
        }
        setter->second(nic, item.substr(equals + 1));
        mac_given = mac_given || key == "mac";
    }
    if (nic.guid.empty()) {
        throw HostError("A NIC needs a guid=; it is its name on the VMBus.");
    }
    if (!nic.tap.empty() + !nic.peer.empty() + nic.generator.has_value() +
            nic.pcap.has_value() >
        1) {
        throw HostError("NIC " + nic.guid +
                        " has more than one of tap=, peer=, generate= and "
                        "pcap=; it can have one wire.");
    }
    if (nic.pcap && nic.pcap->read.empty() &&
        (nic.pcap->loop || nic.pcap->write.empty())) {
        throw HostError("NIC " + nic.guid +
                        " has no capture to read; give it pcap=FILE.");
    }
    if (nic.generator && !seen["generate"]) {
        throw HostError("NIC " + nic.guid +
                        " has properties of a generator, but no generate=.");
    }
    if (nic.generator && nic.generator->suballocs &&
        nic.generator->suballocs < nic.generator->flows) {
        throw HostError("NIC " + nic.guid +
                        " has more flows than suballocs=, each of which "
                        "carries one.");
    }
    if (nic.peer == nic.guid) {
        throw HostError("NIC " + nic.guid + " cannot be its own peer.");
    }
    if (nic.section_size > nic.send_buffer) {
        throw HostError("NIC " + nic.guid +
                        " has sections larger than its send buffer.");
    }
    if (!mac_given) {
        nic.mac = default_mac(nic.guid);
    }
    return nic;
}

} // namespace netvsc::host
