/* What one burst costs, contender by contender.
 *
 * One process holds the emulated host with a NIC for each contender, and the
 * contenders.  One thread at a time works, all of them on one core: the host
 * fills the ring, a contender's call is timed, the host takes what came back,
 * and so on; so neither waits for the other and no cache line travels.
 * Contenders take turns, round by round.
 *
 * Standard output is a line of JSON for each contender and round.  A frame
 * that is missing or damaged ends the program with an error. */

#include <algorithm>
#include <array>
#include <cstring>
#include <iostream>
#include <list>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <sched.h>

#include "host/base/log.h"
#include "host/uio/machine.h"
#include "host/wires/test_frame.h"
#include "tests/bench/contender_dpdk.h"
#include "tests/bench/contender_netvsc.h"
#include "tests/bench/cycles.h"

namespace netvsc::bench {

namespace {

using Json = nlohmann::ordered_json;

/* Bursts that come before a turn's samples: caches, predictors, and a core
 * that has to speed up. */
constexpr unsigned kWarmUp = 200;

/* And before a contender's first turn: once through both rings, whose pages
 * come with the first touch and are in the cache then, as they never are
 * again.  The slowest way through 2 MiB is one receive completion of 32 bytes
 * for each burst. */
constexpr unsigned kRehearsal = 66'000;

/* One burst of so many is not timed, but its first frame examined: one of a
 * thousand frames. */
constexpr unsigned kShowEvery = 31;

/* All samples of a turn are kept. */
constexpr unsigned kMostBursts = 10'000'000;
constexpr unsigned kMostRounds = 10'000;

/* Far more than a section takes. */
constexpr uint32_t kMostAggregated = 1024;

/* The frames that are sent, one after the other. */
constexpr unsigned kFrames = 96;

/* Where the frames of measure_memcpy() lie: an odd number of cache lines
 * apart, so that all sets of a first-level cache are used. */
constexpr size_t kCopyBytes = 2048 + 64;

/* The host's name for sizes in turn (host/wires/generator.cc). */
constexpr uint32_t kImix = host::GeneratorConfig::kImix;
constexpr uint32_t kLongest = 1514; /* At the MTU that all of them have. */
constexpr uint32_t kImixSizes[] = {64, 594, 64, 64, 594, 64,
                                   64, 594, 64, 64, 594, 1514};

struct Options {
    std::string root;
    std::string mode = "rx";
    uint32_t size = 64; /* Or kImix. */
    uint32_t ranges = 32;
    uint32_t elements = 1;
    uint32_t suballocs = 256;
    uint32_t aggregation = 8;
    unsigned burst = kBurst;
    unsigned rehearsal = kRehearsal;
    unsigned rounds = 8;
    unsigned bursts = 2000;
    int cpu = -1;
    bool huge_pages = false;
    std::vector<std::string> contenders = {"netvsc", "dpdk"};
};

[[noreturn]] void
fail(const std::string &what)
{
    throw std::runtime_error(what);
}

/* --- What is timed, and counted by callgrind ----------------------------- */

[[gnu::noinline]] unsigned
counted_receive(Contender &contender)
{
    return contender.receive();
}

[[gnu::noinline]] unsigned
counted_send(Contender &contender)
{
    return contender.send();
}

/* --- A contender and its NIC --------------------------------------------- */

struct Entry {
    std::string name; /* "dpdk:tx_copybreak=2048" */
    std::string guid;
    host::Nic *nic = nullptr;
    std::unique_ptr<Contender> contender;
    uint64_t sent = 0;

    [[nodiscard]] bool
    is_dpdk() const
    {
        return name.starts_with("dpdk");
    }
    /* For the PMD. */
    [[nodiscard]] std::string
    arguments() const
    {
        size_t colon = name.find(':');
        return colon == std::string::npos ? "" : name.substr(colon + 1);
    }
};

class Bench {
public:
    explicit Bench(const Options &options)
        : options_(options),
          machine_(options.root, host::GpaMode::kProcess, nullptr)
    {
        setenv("NETVSC_SYSROOT", options.root.c_str(), 1);
        make_frames();
        for (const std::string &name : options.contenders) {
            Entry entry;
            entry.name = name;
            char guid[40];
            std::snprintf(guid, sizeof guid, "6f76736e-6265-6e63-0000-%012zx",
                          entries_.size() + 1);
            entry.guid = guid;
            entries_.push_back(std::move(entry));
        }
        start_contenders();
    }

    void
    run()
    {
        for (Entry &entry : entries_) {
            run_on(entry, [&] { rehearse(entry); });
        }
        for (unsigned round = 0; round < options_.rounds; round++) {
            for (Entry &entry : entries_) {
                Json line;
                run_on(entry, [&] { line = measure(entry); });
                check_sink(entry);
                print(line, round);
            }
            Json line;
            run_on(entries_.front(), [&] { line = measure_memcpy(); });
            print(line, round);
        }
    }

private:
    static void
    print(Json &line, unsigned round)
    {
        line["round"] = round;
        std::cout << line << std::endl;
    }

    void
    make_frames()
    {
        for (uint32_t i = 0; i < kFrames; i++) {
            std::vector<std::byte> frame(
                options_.size == kImix ? kImixSizes[i % std::size(kImixSizes)]
                                       : options_.size);
            host::make_test_frame(
                frame, {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}, i, 0});
            frames_.push_back(std::move(frame));
        }
    }

    void
    add_nic(Entry &entry)
    {
        host::NicConfig config;
        config = host::parse_nic("guid=" + entry.guid);
        config.ranges = options_.ranges;
        config.packets_per_message = options_.aggregation;
        host::GeneratorConfig generator;
        generator.frame_size = options_.size;
        generator.elements = options_.elements;
        generator.suballocs = options_.suballocs;
        generator.pace.kind = host::Pace::Kind::kNone;
        config.generator = generator;
        machine_.add(config);
        entry.nic = &machine_.nic(entry.guid);
    }

    void
    start_contenders()
    {
        std::vector<Dpdk::Device> devices;
        for (Entry &entry : entries_) {
            if (entry.is_dpdk()) {
                add_nic(entry);
                devices.push_back({entry.guid, entry.arguments()});
            }
        }
        if (!devices.empty()) {
            dpdk_.emplace(options_.root, devices, options_.huge_pages);
        }
        for (Entry &entry : entries_) {
            if (entry.is_dpdk()) {
                entry.contender = dpdk_->make(entry.guid);
                continue;
            }
            add_nic(entry);
            if (entry.name == "netvsc") {
                entry.contender = make_netvsc(entry.guid);
            } else {
                fail("there is no contender \"" + entry.name +
                     "\": give netvsc, or dpdk, which can have arguments for "
                     "its driver: dpdk:tx_copybreak=2048.");
            }
        }
    }

    /* Runs on the NIC's worker thread, which is where the host works, on the
     * core of all measurements. */
    void
    run_on(Entry &entry, const std::function<void()> &work)
    {
        entry.nic->call([&] {
            cpu_set_t before, one;
            sched_getaffinity(0, sizeof before, &before);
            CPU_ZERO(&one);
            CPU_SET(options_.cpu, &one);
            if (sched_setaffinity(0, sizeof one, &one) != 0) {
                fail("cannot run on CPU " + std::to_string(options_.cpu));
            }
            entry.contender->enter_thread();
            /* There is somebody again: what comes when nobody has polled for
             * a second, the driver throws away. */
            (void) entry.contender->receive();
            work();
            entry.contender->leave_thread();
            sched_setaffinity(0, sizeof before, &before);
        });
    }

    /* What copying a burst of frames costs that are in the first-level cache,
     * one by one, by the C library: a copy cannot cost less. */
    Json
    measure_memcpy()
    {
        alignas(64) static std::array<uint8_t, kBurst * kCopyBytes> from, to;
        std::vector<double> samples;
        const uint64_t bracket = bracket_cycles();
        for (unsigned i = 0; i < kWarmUp + options_.bursts; i++) {
            uint64_t begin = read_cycles();
            for (unsigned k = 0; k < kBurst; k++) {
                /* Of no size that the compiler knows. */
                size_t size = frames_[k % kFrames].size();
                std::memcpy(to.data() + k * kCopyBytes,
                            from.data() + k * kCopyBytes, size);
            }
            asm volatile("" : : "r"(to.data()) : "memory");
            uint64_t cycles = read_cycles() - begin;
            if (i >= kWarmUp) {
                samples.push_back(static_cast<double>(cycles - bracket) /
                                  kBurst);
            }
        }
        return summarize("memcpy", samples);
    }

    Json
    measure(Entry &entry)
    {
        std::vector<double> samples;
        const uint64_t bracket = bracket_cycles();
        for (unsigned i = 0; i < kWarmUp + options_.bursts; i++) {
            if (std::optional<uint64_t> cycles = burst(entry, i)) {
                samples.push_back((static_cast<double>(*cycles) -
                                   static_cast<double>(bracket)) /
                                  options_.burst);
            }
        }
        return summarize(entry.name, samples);
    }

    void
    rehearse(Entry &entry)
    {
        for (unsigned i = 0; i < options_.rehearsal; i++) {
            (void) burst(entry, i % kWarmUp);
        }
    }

    /* Returns what it took, if it is a sample. */
    std::optional<uint64_t>
    burst(Entry &entry, unsigned number)
    {
        return options_.mode == "rx" ? receive_burst(entry, number)
                                     : send_burst(entry, number);
    }

    static Json
    summarize(const std::string &contender, std::vector<double> &samples)
    {
        std::sort(samples.begin(), samples.end());
        auto quantile = [&](double q) {
            return samples[static_cast<size_t>(
                q * static_cast<double>(samples.size() - 1))];
        };
        /* The mean of the middle half: a median that does not move in the
         * steps of the counter, which are 26 cycles on some machines. */
        auto middle =
            std::span(samples).subspan(samples.size() / 4, samples.size() / 2);
        Json line;
        line["contender"] = contender;
        line["cycles"] = std::accumulate(middle.begin(), middle.end(), 0.0) /
                         static_cast<double>(middle.size());
        line["p10"] = quantile(0.1);
        line["p90"] = quantile(0.9);
        line["bursts"] = samples.size();
        return line;
    }

    /* What it takes to read the counter twice. */
    static uint64_t
    bracket_cycles()
    {
        std::vector<uint64_t> samples(1001);
        for (uint64_t &sample : samples) {
            uint64_t begin = read_cycles();
            sample = read_cycles() - begin;
        }
        std::nth_element(samples.begin(), samples.begin() + 500,
                         samples.end());
        return samples[500];
    }

    std::optional<uint64_t>
    receive_burst(Entry &entry, unsigned number)
    {
        if (entry.nic->fill(options_.burst) != options_.burst) {
            fail(entry.name + ": the host had no room for a burst");
        }
        unsigned got;
        std::optional<uint64_t> cycles;
        if (number < kWarmUp) {
            got = entry.contender->receive();
        } else if (number % kShowEvery == 0) {
            got = entry.contender->receive(
                [&, first = true](std::span<const uint8_t> frame) mutable {
                    if (std::exchange(first, false)) {
                        check_frame(entry, frame);
                    }
                });
        } else {
            uint64_t begin = read_cycles();
            got = counted_receive(*entry.contender);
            cycles = read_cycles() - begin;
        }
        if (got != options_.burst) {
            fail(entry.name + ": received " + std::to_string(got) + " of " +
                 std::to_string(options_.burst) + " frames");
        }
        return cycles;
    }

    std::optional<uint64_t>
    send_burst(Entry &entry, unsigned number)
    {
        std::array<netvsc_tx_frame, kBurst> burst;
        for (unsigned i = 0; i < options_.burst; i++) {
            const auto &frame = frames_[next_frame_++ % kFrames];
            burst[i] = {reinterpret_cast<const uint8_t *>(frame.data()),
                        static_cast<uint32_t>(frame.size())};
        }
        entry.contender->prepare(std::span(burst).first(options_.burst));
        unsigned sent;
        std::optional<uint64_t> cycles;
        if (number < kWarmUp) {
            sent = entry.contender->send();
        } else {
            uint64_t begin = read_cycles();
            sent = counted_send(*entry.contender);
            cycles = read_cycles() - begin;
        }
        (void) entry.nic->fill(0);
        if (sent != options_.burst) {
            fail(entry.name + ": sent " + std::to_string(sent) + " of " +
                 std::to_string(options_.burst) + " frames");
        }
        entry.sent += sent;
        return cycles;
    }

    static void
    check_frame(const Entry &entry, std::span<const uint8_t> frame)
    {
        std::vector<std::byte> copy(frame.size());
        std::memcpy(copy.data(), frame.data(), frame.size());
        if (host::check_test_frame(copy) != host::TestFrameVerdict::kGood) {
            fail(entry.name + ": a frame was received damaged");
        }
    }

    /* All frames that were sent reached the host, as they were. */
    void
    check_sink(Entry &entry)
    {
        const host::SinkCounters sink = entry.nic->status().load->sink;
        if (sink.frames != entry.sent || sink.damaged || sink.foreign) {
            fail(entry.name + ": of " + std::to_string(entry.sent) +
                 " frames sent, " + std::to_string(sink.frames) +
                 " reached the host, of which " +
                 std::to_string(sink.damaged + sink.foreign) + " of " +
                 std::to_string(sink.checked) + " examined were damaged");
        }
    }

    Options options_;
    host::Machine machine_;
    std::optional<Dpdk> dpdk_;
    std::list<Entry> entries_;
    std::vector<std::vector<std::byte>> frames_;
    unsigned next_frame_ = 0;
};

int
main(int argc, char **argv)
{
    Options options;
    CLI::App app("Measures what a burst of frames costs: cycles for a frame, "
                 "a line of JSON for each contender and round.",
                 "cost_bench");
    app.add_option("--root", options.root,
                   "Where the emulated host has its tree")
        ->required();
    app.add_option("--mode", options.mode, "rx or tx")
        ->check(CLI::IsMember({"rx", "tx"}));
    app.add_option("--size", options.size,
                   "Bytes of a frame without its checksum; 0 is IMIX")
        ->check(CLI::Range(host::kLeastTestFrame, kLongest) |
                CLI::IsMember({kImix}));
    app.add_option("--ranges", options.ranges,
                   "Frames of a transfer-pages packet")
        ->check(CLI::Range(1u, kBurst));
    app.add_option("--elements", options.elements,
                   "Per-packet info of a received frame: 1 or 3")
        ->check(CLI::IsMember({1, 3}));
    app.add_option("--suballocs", options.suballocs,
                   "Sub-allocations that the host uses in turn; 0 for all");
    app.add_option("--aggregation", options.aggregation,
                   "Frames that the host takes in one message")
        ->check(CLI::Range(1u, kMostAggregated));
    app.add_option("--burst", options.burst, "Frames of a call")
        ->check(CLI::Range(1u, kBurst));
    app.add_option("--rehearsal", options.rehearsal,
                   "Bursts before the first turn");
    app.add_option("--rounds", options.rounds, "Turns of each contender")
        ->check(CLI::Range(1u, kMostRounds));
    app.add_option("--bursts", options.bursts, "Bursts of a turn")
        ->check(CLI::Range(2u, kMostBursts));
    app.add_option("--cpu", options.cpu,
                   "Where to measure; by default the last there is");
    app.add_flag("--huge-pages", options.huge_pages,
                 "Memory for DPDK comes from reserved huge pages");
    app.add_option("--contender", options.contenders,
                   "netvsc, dpdk or dpdk:ARGUMENT=VALUE,...");
    CLI11_PARSE(app, argc, argv);
    try {
        host::open_log(options.root + ".log");
        if (options.cpu < 0) {
            cpu_set_t cpus;
            sched_getaffinity(0, sizeof cpus, &cpus);
            for (int i = 0; i < CPU_SETSIZE; i++) {
                options.cpu = CPU_ISSET(i, &cpus) ? i : options.cpu;
            }
        }
        Bench(options).run();
        return 0;
    } catch (const std::exception &error) {
        std::cerr << "cost_bench: " << error.what() << "\n";
        return 1;
    }
}

} // namespace

} // namespace netvsc::bench

int
main(int argc, char **argv)
{
    return netvsc::bench::main(argc, argv);
}
