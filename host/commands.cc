#include "host/commands.h"

#include <nlohmann/json.hpp>

#include "host/base/error.h"

namespace netvsc::host {

using Json = Commands::Json;

namespace {

std::string
one_argument(const std::vector<std::string> &words, const char *usage)
{
    if (words.size() != 2) {
        throw HostError(std::string("Usage: ") + usage + ".");
    }
    return words[1];
}

bool
parse_link(const std::string &word)
{
    if (word != "up" && word != "down") {
        throw HostError("A link is up or down, not '" + word + "'.");
    }
    return word == "up";
}

} // namespace

Json
run_command(Commands &host, const std::vector<std::string> &words)
{
    const std::string &command = words.empty() ? std::string() : words[0];
    Json done = Json::object();
    if (command == "list") {
        return host.list();
    }
    if (command == "stats") {
        return words.size() == 1 ? host.stats()
                                 : host.stats(parse_guid(
                                       one_argument(words, "stats [GUID]")));
    }
    if (command == "add") {
        host.add(parse_nic(one_argument(words, "add KEY=VALUE,...")));
        return done;
    }
    if (command == "remove") {
        host.remove(parse_guid(one_argument(words, "remove GUID")));
        return done;
    }
    if (command == "reoffer") {
        host.reoffer(parse_guid(one_argument(words, "reoffer GUID")));
        return done;
    }
    if (command == "link" || command == "bind" || command == "pace") {
        if (words.size() != 3) {
            throw HostError("Usage: link GUID up|down, bind GUID "
                            "uio_hv_generic|hv_netvsc|none, or pace GUID "
                            "none|max|window:FRAMES|loop:FRAMES|rate:FRAMES.");
        }
        std::string guid = parse_guid(words[1]);
        if (command == "link") {
            host.set_link(guid, parse_link(words[2]));
        } else if (command == "pace") {
            host.set_pace(guid, parse_pace(words[2]));
        } else {
            host.bind(guid, parse_driver(words[2]));
        }
        return done;
    }
    throw HostError("There is no command '" + command +
                    "'; there are list, stats, add, remove, reoffer, link, "
                    "bind, pace and quit.");
}

/* --- What they print --------------------------------------------------- */

Json
describe(const NicConfig &config, const NicStatus &status)
{
    Json nic;
    nic["guid"] = config.guid;
    nic["mac"] = to_text(config.mac);
    nic["mtu"] = config.mtu;
    nic["speed"] = config.speed;
    nic["tap"] = config.tap.empty() ? Json(nullptr) : Json(config.tap);
    nic["peer"] = config.peer.empty() ? Json(nullptr) : Json(config.peer);
    nic["pace"] =
        status.load ? Json(to_text(status.load->pace)) : Json(nullptr);
    nic["link"] = status.link_up ? "up" : "down";
    nic["state"] = status.state;
    nic["max_queues"] = config.max_queues;
    return nic;
}

Json
count(const NicStatus &status)
{
    const Counters &counters = status.counters;
    Json json;
    json["sessions"] = counters.sessions;
    json["state"] = status.state;
    json["nvsp_version"] = status.nvsp_version;
    json["filter"] = status.filter;
    json["link"] = status.link_up ? "up" : "down";
    const SessionBooks &books = status.books;
    const ReceiveCounters &rx = counters.rx;
    json["rx"] = {{"frames", rx.frames},
                  {"bytes", rx.bytes},
                  {"ring_packets", rx.ring_packets},
                  {"suballocs", books.suballocs},
                  {"suballocs_outstanding", books.suballocs_outstanding},
                  {"issued", books.issued},
                  {"returned", books.returned},
                  {"dropped_no_suballoc", rx.dropped_no_suballoc},
                  {"dropped_ring_full", rx.dropped_ring_full},
                  {"dropped_filter", rx.dropped_filter},
                  {"dropped_no_session", rx.dropped_no_session},
                  {"dropped_link_down", rx.dropped_link_down},
                  {"dropped_oversize", rx.dropped_oversize}};
    const TransmitCounters &tx = counters.tx;
    json["tx"] = {{"frames", tx.frames},
                  {"bytes", tx.bytes},
                  {"messages", tx.messages},
                  {"completed", tx.completed},
                  {"outstanding", books.sends_outstanding},
                  {"malformed", tx.malformed},
                  {"dropped_backend", tx.dropped_backend}};
    json["channels"] = Json::array();
    for (const ChannelBooks &channel : books.channels) {
        json["channels"].push_back({{"index", channel.index},
                                    {"rx_frames", channel.rx_frames},
                                    {"rx_bytes", channel.rx_bytes},
                                    {"tx_messages", channel.tx_messages},
                                    {"tx_frames", channel.tx_frames}});
    }
    json["tap"] = {{"read", counters.wire.read},
                   {"written", counters.wire.written},
                   {"write_errors", counters.wire.write_errors}};
    if (status.load) {
        const GeneratorCounters &generator = status.load->generator;
        json["generator"] = {{"pace", to_text(status.load->pace)},
                             {"frames", generator.frames},
                             {"rounds", generator.rounds},
                             {"full_rounds", generator.full_rounds},
                             {"empty_rounds", generator.empty_rounds},
                             {"late", generator.late},
                             {"lost", generator.lost}};
        const RoundTripTimes &trips = status.load->round_trips;
        json["round_trips"] = {{"count", trips.count},
                               {"median_ns", trips.median},
                               {"p99_ns", trips.p99},
                               {"p999_ns", trips.p999}};
        const SinkCounters &sink = status.load->sink;
        json["sink"] = {{"frames", sink.frames},
                        {"checked", sink.checked},
                        {"damaged", sink.damaged},
                        {"foreign", sink.foreign}};
    }
    json["busy_ns"] = counters.busy_ns;
    json["idle_ns"] = counters.idle_ns;
    json["protocol_errors"] = counters.protocol_errors;
    json["signals"] = counters.signals;
    json["wakeups"] = counters.wakeups;
    return json;
}

} // namespace netvsc::host
