/* A guest that polls: one contender with a NIC of a host in another process,
 * and a core of its own.
 *
 * Commands are lines of standard input; each is answered, when it is done,
 * with the counters as a line of JSON.
 *
 *   receive, forward, transmit   what the polling thread does from now on
 *   idle                         nothing: it sleeps
 *   count                        no change
 *
 * The end of standard input ends the program. */

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <sched.h>
#include <x86intrin.h>

#include "driver/counters.h"
#include "host/wires/test_frame.h"
#include "tests/bench/contender_dpdk.h"
#include "tests/bench/contender_netvsc.h"

namespace netvsc::bench {

namespace {

using Json = nlohmann::ordered_json;

/* One frame of so many is examined when it was received; of those that are
 * sent, the host does the same. */
constexpr unsigned kCheckEvery = 1000;

/* The frames that are sent, one after the other. */
constexpr unsigned kFrames = 96;
constexpr uint32_t kFrameBytes = 64;

struct Options {
    std::string root;
    std::string guid;
    std::string contender = "netvsc";
    int cpu = 0;
    bool huge_pages = false;
};

enum class Mode { kIdle, kReceive, kForward, kTransmit, kEnd };

/* Also for the thread: its caller waits for it. */
[[noreturn]] void
die(const std::string &why)
{
    std::cerr << "poller: " << why << std::endl;
    std::_Exit(1);
}

class Poller {
public:
    Poller(PollingContender &contender, int cpu)
        : contender_(contender), cpu_(cpu)
    {
        for (uint32_t i = 0; i < kFrames; i++) {
            host::make_test_frame(
                frames_[i], {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}, i, 0});
        }
        thread_ = std::thread([this] { run(); });
    }
    ~Poller()
    {
        set(Mode::kEnd);
        thread_.join();
    }
    Poller(const Poller &) = delete;
    Poller &operator=(const Poller &) = delete;

    /* Returns when the thread has ended what it did before. */
    void
    set(Mode mode)
    {
        Mode before = wanted_.exchange(mode);
        wanted_.notify_one();
        if (mode != before) {
            mode_.wait(before);
        }
    }

    [[nodiscard]] Json
    count() const
    {
        using namespace std::chrono;
        PollingContender::Books books = contender_.books();
        Json json;
        json["time_ns"] =
            nanoseconds(steady_clock::now().time_since_epoch()).count();
        json["tsc"] = __rdtsc();
        json["longest_tsc"] = longest_.load();
        json["received"] = received_.get();
        json["missed"] = books.missed;
        json["sent"] = books.sent;
        json["checked"] = checked_.get();
        json["damaged"] = damaged_.get();
        return json;
    }

private:
    void
    run()
    {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu_, &one);
        if (sched_setaffinity(0, sizeof one, &one) != 0) {
            die("cannot run on CPU " + std::to_string(cpu_));
        }
        contender_.enter_thread();
        uint64_t before = __rdtsc();
        for (Mode mode = Mode::kIdle; mode != Mode::kEnd;) {
            Mode wanted = wanted_.load(std::memory_order_relaxed);
            if (wanted != mode) {
                longest_ = 0;
                mode = wanted;
                mode_ = mode;
                mode_.notify_one();
            }
            step(mode);
            uint64_t now = __rdtsc();
            if (now - before > longest_.load(std::memory_order_relaxed)) {
                longest_ = now - before;
            }
            before = now;
        }
        contender_.leave_thread();
    }

    void
    step(Mode mode)
    {
        switch (mode) {
        case Mode::kIdle:
            wanted_.wait(Mode::kIdle);
            break;
        case Mode::kReceive:
            take(until_check_ ? contender_.receive() : receive_checked());
            break;
        case Mode::kForward:
            take(contender_.forward());
            break;
        case Mode::kTransmit:
            transmit();
            break;
        case Mode::kEnd:
            break;
        }
    }

    void
    take(unsigned received)
    {
        received_.add(received);
        until_check_ -= std::min(received, until_check_);
    }

    unsigned
    receive_checked()
    {
        return contender_.receive([this](std::span<const uint8_t> frame) {
            if (until_check_) {
                return;
            }
            until_check_ = kCheckEvery;
            std::vector<std::byte> copy(frame.size());
            std::memcpy(copy.data(), frame.data(), frame.size());
            checked_.add();
            damaged_.add(host::check_test_frame(copy) !=
                         host::TestFrameVerdict::kGood);
        });
    }

    void
    transmit()
    {
        std::array<netvsc_tx_frame, kBurst> burst;
        for (netvsc_tx_frame &frame : burst) {
            const auto &bytes = frames_[next_frame_++ % kFrames];
            frame = {reinterpret_cast<const uint8_t *>(bytes.data()),
                     kFrameBytes};
        }
        contender_.prepare(burst);
        /* The driver counts them. */
        (void) contender_.send();
    }

    PollingContender &contender_;
    const int cpu_;
    std::array<std::array<std::byte, kFrameBytes>, kFrames> frames_;
    std::atomic<Mode> wanted_ = Mode::kIdle; /* By the main thread. */
    std::atomic<Mode> mode_ = Mode::kIdle;   /* By the polling thread. */
    Counter received_, checked_, damaged_;
    /* Cycles of the call that took longest in this mode: a switch could not
     * have quiesced sooner. */
    std::atomic<uint64_t> longest_ = 0;
    /* The polling thread's. */
    unsigned until_check_ = kCheckEvery;
    unsigned next_frame_ = 0;
    std::thread thread_;
};

void
obey(Poller &poller, const std::string &command)
{
    static constexpr std::pair<const char *, Mode> kModes[] = {
        {"receive", Mode::kReceive},
        {"forward", Mode::kForward},
        {"transmit", Mode::kTransmit},
        {"idle", Mode::kIdle},
    };
    for (const auto &[name, mode] : kModes) {
        if (command == name) {
            return poller.set(mode);
        }
    }
    if (command != "count") {
        die("there is no command \"" + command + "\"");
    }
}

void
run(const Options &options)
{
    std::optional<Dpdk> dpdk;
    std::unique_ptr<PollingContender> contender;
    if (options.contender == "dpdk") {
        dpdk.emplace(options.root,
                     std::vector<Dpdk::Device>{{options.guid, ""}},
                     options.huge_pages);
        contender = dpdk->make(options.guid);
    } else {
        setenv("NETVSC_SYSROOT", options.root.c_str(), 1);
        contender = make_netvsc(options.guid);
    }
    Poller poller(*contender, options.cpu);
    std::cout << poller.count() << std::endl;
    for (std::string line; std::getline(std::cin, line);) {
        obey(poller, line);
        std::cout << poller.count() << std::endl;
    }
}

} // namespace

} // namespace netvsc::bench

int
main(int argc, char **argv)
{
    netvsc::bench::Options options;
    CLI::App app("A guest that polls one NIC of netvsc-host.");
    app.add_option("--root", options.root, "the host's --root")->required();
    app.add_option("--guid", options.guid, "the NIC")->required();
    app.add_option("--contender", options.contender)
        ->check(CLI::IsMember({"netvsc", "dpdk"}));
    app.add_option("--cpu", options.cpu, "where to poll")->required();
    app.add_flag("--huge-pages", options.huge_pages, "for DPDK");
    CLI11_PARSE(app, argc, argv);
    try {
        netvsc::bench::run(options);
    } catch (const std::exception &error) {
        std::cerr << "poller: " << error.what() << "\n";
        return 1;
    }
    return 0;
}
