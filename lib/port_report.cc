#include "lib/port_report.h"

#include <algorithm>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>

#include "driver/ethernet.h"
#include "driver/kernel/sysfs.h"

namespace netvsc::provider {

static_assert(kSizeBinLimits.size() == NETVSC_SIZE_BINS);

namespace {

/* RFC 2863's ethernetCsmacd. */
constexpr char kIfType[] = "6";

/* netdev-netvsc/show: where values begin, and where lines end. */
constexpr size_t kColumn = 14;
constexpr size_t kWidth = 79;

[[gnu::format(printf, 1, 2)]] std::string
format(const char *pattern, ...)
{
    /* Longer than all fixed texts below; sentences are not formatted. */
    char text[160];
    va_list args;
    va_start(args, pattern);
    std::vsnprintf(text, sizeof text, pattern, args);
    va_end(args);
    return text;
}

std::string
nvsp_text(const DeviceStatus &status)
{
    return format("%u.%u", status.nvsp_version >> 16,
                  status.nvsp_version & 0xffff);
}

std::string
ndis_text(const DeviceStatus &status)
{
    return format("%u.%u", status.ndis_major, status.ndis_minor);
}

std::string
monitor_text(const DeviceStatus &status)
{
    return status.monitor_id ? std::to_string(*status.monitor_id) : "none";
}

std::string
uio_path(const DeviceStatus &status)
{
    return system_root() + "/dev/uio" + std::to_string(status.uio);
}

/* One line of netdev-netvsc/show, folded between words.  A word that is
 * longer than a line (a path) stands alone. */
void
add_line(std::string *text, const std::string &title, const std::string &value)
{
    std::string line = "    " + title;
    line.resize(std::max(line.size() + 1, kColumn + 4), ' ');
    bool first = true;
    for (size_t begin = 0; begin < value.size();) {
        size_t end = std::min(value.find(' ', begin), value.size());
        std::string word = value.substr(begin, end - begin);
        if (!first && line.size() + 1 + word.size() > kWidth) {
            *text += line + "\n";
            line.assign(kColumn + 4, ' ');
            first = true;
        }
        line += (first ? "" : " ") + word;
        first = false;
        begin = end + 1;
    }
    *text += line + "\n";
}

/* What is wrong: with the device, and with what was asked of it. */
std::vector<std::string>
errors(const PortView &port)
{
    std::vector<std::string> all = {
        port.status.error, port.refused_mtu,
        describe_mtu(port.status, port.wanted_mtu)};
    std::erase(all, "");
    return all;
}

void
add_session(std::string *text, const DeviceStatus &status)
{
    add_line(text, "channel",
             format("relid %u, monitor id %s, NUMA node %s", status.relid,
                    monitor_text(status).c_str(),
                    status.numa_node < 0
                        ? "unknown"
                        : std::to_string(status.numa_node).c_str()));
    add_line(text, "versions",
             "NVSP " + nvsp_text(status) + ", NDIS " + ndis_text(status));
    add_line(text, "receive",
             format("%" PRIu32 " sections of %" PRIu32 " bytes",
                    status.receive_suballocs, status.receive_suballoc_size));
    add_line(text, "send",
             format("%" PRIu32 " sections of %" PRIu32 " bytes, %" PRIu32
                    " in use, up to %" PRIu32 " frames in each",
                    status.send_sections, status.send_section_size,
                    status.send_sections_in_use,
                    status.max_packets_per_message));
}

void
add_statistics(std::string *text, const PortView &port)
{
    netvsc_port_stats s = standard_statistics(port);
    add_line(text, "received",
             format("%" PRIu64 " frames, %" PRIu64 " bytes, %" PRIu64
                    " dropped, %" PRIu64 " errors",
                    s.rx_packets, s.rx_bytes, s.rx_dropped, s.rx_errors));
    add_line(text, "sent",
             format("%" PRIu64 " frames, %" PRIu64 " bytes, %" PRIu64
                    " dropped, %" PRIu64 " errors",
                    s.tx_packets, s.tx_bytes, s.tx_dropped, s.tx_errors));
    std::string counters;
    for (const auto &[name, value] : custom_statistics(port)) {
        if (value) {
            counters += (counters.empty() ? "" : ", ") + name + " " +
                        std::to_string(value);
        }
    }
    add_line(text, "counters", counters.empty() ? "all 0" : counters);
}

} // namespace

std::string
speed_text(uint64_t bits_per_second)
{
    constexpr uint64_t kGiga = 1'000'000'000, kMega = 1'000'000;
    if (bits_per_second == 0) {
        return "Unknown";
    }
    if (bits_per_second % kGiga == 0) {
        return std::to_string(bits_per_second / kGiga) + "Gbps";
    }
    return std::to_string(bits_per_second / kMega) + "Mbps";
}

std::string
describe_mtu(const DeviceStatus &status, uint32_t wanted)
{
    if (status.state != DeviceState::kReady || wanted <= status.max_mtu) {
        return {};
    }
    return "The MTU is " + std::to_string(status.mtu) + ", not " +
           std::to_string(wanted) + ": adapter, host and driver carry up to " +
           std::to_string(status.max_mtu) +
           ".  Lower mtu_request to that, or allow larger frames for this "
           "network adapter on the host.";
}

std::string
describe_too_big(const PortView &port, uint64_t n)
{
    const uint64_t frame = port.statistics.tx_biggest_refused;
    const uint64_t mtu = frame - std::min<uint64_t>(frame, kEthernetHeader);
    std::string text =
        std::to_string(n) +
        (n == 1 ? " frame was too big to be sent and was dropped"
                : " frames were too big to be sent and were dropped") +
        ", the largest so far of " + std::to_string(frame) +
        " bytes, Ethernet header included; the port's MTU is " +
        std::to_string(port.status.mtu) + ".  ";
    if (mtu > port.status.max_mtu) {
        return text + "This host carries an MTU of up to " +
               std::to_string(port.status.max_mtu) +
               ": lower that of whoever sends such frames.";
    }
    return text + "Raise it with mtu_request=" + std::to_string(mtu) +
           ", or lower that of whoever sends such frames.";
}

netvsc_port_stats
standard_statistics(const PortView &port)
{
    const Statistics &s = port.statistics;
    const PortDrops &drops = port.drops;
    netvsc_port_stats stats = {};
    stats.rx_packets = s.rx.packets() - drops.rx_policed;
    stats.rx_bytes = s.rx.bytes - drops.rx_policed_bytes;
    stats.rx_dropped = s[Count::kRxDiscarded] + drops.rx_policed;
    stats.rx_errors = s.all_malformed();
    stats.rx_multicast = s.rx.multicast;
    stats.tx_packets = s.tx.packets();
    stats.tx_bytes = s.tx.bytes;
    stats.tx_dropped = drops.not_taken + drops.no_session + drops.down +
                       drops.not_ethernet + drops.tx_policed +
                       s[Count::kTxTooBig] + s[Count::kTxTooSmall];
    stats.tx_errors = s[Count::kTxFailed];
    std::copy(s.rx.size_bins.begin(), s.rx.size_bins.end(), stats.rx_bins);
    std::copy(s.tx.size_bins.begin(), s.tx.size_bins.end(), stats.tx_bins);
    return stats;
}

Counters
custom_statistics(const PortView &port)
{
    const Statistics &s = port.statistics;
    Counters counters = {
        {"netvsc_sessions", port.status.sessions},
        {"netvsc_tx_sections_in_use", port.status.send_sections_in_use},
        {"netvsc_tx_not_taken", port.drops.not_taken},
        {"netvsc_tx_no_session", port.drops.no_session},
        {"netvsc_tx_down", port.drops.down},
        {"netvsc_tx_not_ethernet", port.drops.not_ethernet},
        {"netvsc_rx_policed", port.drops.rx_policed},
        {"netvsc_tx_policed", port.drops.tx_policed},
    };
    auto add = [&](const auto &names, const auto &values) {
        for (size_t i = 0; i < names.size(); i++) {
            counters.emplace_back(std::string("netvsc_") + names[i],
                                  values[i]);
        }
    };
    add(kCountNames, s.counts);
    add(kMalformedNames, s.malformed);
    return counters;
}

Pairs
status_pairs(const PortView &port)
{
    const DeviceStatus &s = port.status;
    auto number = [](auto value) { return std::to_string(value); };
    Pairs pairs = {
        {"driver_name", "netvsc"},
        {"bus_info", "bus_name=vmbus, " + port.device.str()},
        {"vmbus_guid", port.device.str()},
        {"if_type", kIfType},
        {"state", device_state_name(s.state)},
        {"numa_id", number(s.numa_node)},
        {"n_txq", number(port.n_txq)},
        {"requested_n_rxq", number(s.n_rxq_requested)},
        {"sessions", number(s.sessions)},
    };
    std::string error;
    for (const std::string &sentence : errors(port)) {
        error += (error.empty() ? "" : "  ") + sentence;
    }
    if (!error.empty()) {
        pairs.emplace_back("error", error);
    }
    if (!port.ignored_options.empty()) {
        pairs.emplace_back("ignored_options", enumerate(port.ignored_options));
    }
    if (!has_session(s)) {
        return pairs; /* The rest is the host's to say. */
    }
    Pairs negotiated = {
        {"if_descr", "Hyper-V network adapter, NVSP " + nvsp_text(s) +
                         ", NDIS " + ndis_text(s)},
        {"uio_device", uio_path(s)},
        {"vmbus_relid", number(s.relid)},
        {"monitor_id", monitor_text(s)},
        {"nvsp_version", nvsp_text(s)},
        {"ndis_version", ndis_text(s)},
        {"link_speed", speed_text(s.link_speed)},
        {"n_rxq", number(s.n_rxq)},
        {"max_rx_queues", number(s.max_rx_queues)},
        {"max_mtu", number(s.max_mtu)},
        {"max_rx_pktlen", number(s.max_frame + kVlanTag)},
        {"receive_sections", number(s.receive_suballocs)},
        {"receive_section_size", number(s.receive_suballoc_size)},
        {"send_sections", number(s.send_sections)},
        {"send_section_size", number(s.send_section_size)},
        {"packets_per_message", number(s.max_packets_per_message)},
    };
    pairs.insert(pairs.end(), negotiated.begin(), negotiated.end());
    return pairs;
}

std::string
describe(const PortView &port)
{
    const DeviceStatus &s = port.status;
    std::string text = port.name + ":\n";
    std::string device = port.device.str();
    if (has_session(s)) {
        device += " at " + uio_path(s);
    }
    add_line(&text, "device", device);
    add_line(&text, "state",
             format("%s, attached %u %s", device_state_name(s.state),
                    s.sessions, s.sessions == 1 ? "time" : "times"));
    for (const std::string &sentence : errors(port)) {
        add_line(&text, "error", sentence);
    }
    if (!port.ignored_options.empty()) {
        add_line(&text, "ignored",
                 "options " + enumerate(port.ignored_options));
    }
    add_line(&text, "link",
             format("%s, speed %s, went down %u %s; port %s%s",
                    s.link_up ? "up" : "down",
                    speed_text(has_session(s) ? s.link_speed : 0).c_str(),
                    s.link_resets, s.link_resets == 1 ? "time" : "times",
                    port.up ? "up" : "down",
                    port.promiscuous ? ", promiscuous" : ""));
    if (s.sessions) {
        add_line(&text, "address", mac_text(s.mac));
    } else if (port.known_mac) {
        add_line(&text, "address",
                 mac_text(*port.known_mac) + ", as it was last time");
    }
    if (has_session(s)) {
        add_line(&text, "MTU",
                 format("%" PRIu32 ", asked for %" PRIu32
                        ", this host carries up to %" PRIu32,
                        s.mtu, port.wanted_mtu, s.max_mtu));
        add_line(&text, "queues",
                 format("%u receive (asked for %u, the host has %u), "
                        "%u transmit",
                        s.n_rxq, s.n_rxq_requested, s.max_rx_queues,
                        port.n_txq));
        add_session(&text, s);
    }
    add_statistics(&text, port);
    return text;
}

} // namespace netvsc::provider
