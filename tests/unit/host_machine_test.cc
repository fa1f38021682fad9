/* The emulated machine from outside: its tree, its commands, and a guest that
 * opens a NIC over the socket, misbehaves and dies. */

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "host/base/error.h"
#include "host/base/unix_socket.h"
#include "host/control.h"
#include "host/uio/machine.h"
#include "tests/unit/host_guest.h"

namespace netvsc::host::test {

namespace {

namespace fs = std::filesystem;

constexpr char kFirst[] = "f8615163-0000-1000-2000-00155d000001";
constexpr char kSecond[] = "f8615163-0000-1000-2000-00155d000002";
constexpr int kPatienceMs = 10'000;

/* A directory of the test's own. */
class Directory {
public:
    Directory()
    {
        char name[] = "/tmp/host-machine-XXXXXX";
        path_ = mkdtemp(name);
    }
    ~Directory() { fs::remove_all(path_); }
    fs::path
    path() const
    {
        return path_;
    }

private:
    fs::path path_;
};

std::string
contents(const fs::path &path)
{
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
}

size_t
open_descriptors()
{
    return static_cast<size_t>(std::distance(
        fs::directory_iterator("/proc/self/fd"), fs::directory_iterator()));
}

/* A connection to dev/uioN, from literal offsets. */
class SocketGuest {
public:
    explicit SocketGuest(const fs::path &path)
        : socket_(connect_to(path, SOCK_SEQPACKET))
    {
    }
    ~SocketGuest()
    {
        for (MutableBytes map : maps_) {
            munmap(map.data(), map.size());
        }
    }

    void
    send(Bytes message, std::vector<int> fds = {})
    {
        if (fds.empty()) {
            ::send(socket_.get(), message.data(), message.size(),
                   MSG_NOSIGNAL);
        } else {
            EXPECT_TRUE(send_with_fds(socket_.get(), message, fds));
        }
    }
    /* The next message; empty for a hang-up. */
    Buffer
    receive(std::vector<UniqueFd> &fds)
    {
        pollfd wait = {socket_.get(), POLLIN, 0};
        EXPECT_EQ(poll(&wait, 1, kPatienceMs), 1) << "no answer";
        Buffer buffer(256);
        ssize_t size = receive_with_fds(socket_.get(), buffer, fds);
        buffer.resize(size > 0 ? static_cast<size_t>(size) : 0);
        return buffer;
    }
    Buffer
    hello(uint32_t version = 2)
    {
        send(Message().u32(1).u32(0x76736e75).u32(version).u32(16));
        std::vector<UniqueFd> fds;
        Buffer reply = receive(fds);
        /* Memory and nothing else: see below. */
        if (fds.size() == 5) {
            for (size_t i = 0; i < 5; i++) {
                int seals = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
                EXPECT_EQ(fcntl(fds[i].get(), F_GET_SEALS) & seals, seals);
                auto size = load<uint64_t>(reply, 24 + 8 * i);
                void *at = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                                MAP_SHARED, fds[i].get(), 0);
                EXPECT_NE(at, MAP_FAILED);
                maps_.emplace_back(static_cast<std::byte *>(at), size);
            }
        }
        return reply;
    }
    MutableBytes
    map(size_t i)
    {
        return maps_.at(i);
    }
    MutableBytes
    to_host_ring()
    {
        return map(0).first(2u << 20);
    }
    MutableBytes
    to_guest_ring()
    {
        return map(0).subspan(2u << 20);
    }
    /* The way of a guest: a bit in the monitor page. */
    void
    signal(uint32_t monitor_id)
    {
        std::atomic_ref(*reinterpret_cast<uint32_t *>(map(2).data() + 8 +
                                                      8 * (monitor_id / 32)))
            .fetch_or(1u << monitor_id % 32);
    }
    /* Waits for an interrupt, then reads. */
    std::optional<HostPacket>
    wait_packet()
    {
        for (;;) {
            if (auto packet = read_packet(to_guest_ring())) {
                return packet;
            }
            std::vector<UniqueFd> fds;
            if (to_hex(receive(fds)) != to_hex(Message().u32(103))) {
                return std::nullopt;
            }
        }
    }
    /* INIT, and its answer. */
    bool
    init(uint32_t monitor_id)
    {
        write_packet(to_host_ring(), 6, 5, 1, {},
                     Message().u32(1).u32(0x60001).u32(0x60001).zeros(28));
        signal(monitor_id);
        std::optional<HostPacket> reply = wait_packet();
        return reply && reply->trans_id == 5 &&
               load<uint32_t>(reply->payload, 12) == 1;
    }

private:
    UniqueFd socket_;
    std::vector<MutableBytes> maps_;
};

class HostMachine : public testing::Test {
protected:
    void
    SetUp() override
    {
        machine.emplace(root(), GpaMode::kDma, nullptr);
    }
    void
    add(const std::string &guid, const std::string &rest = "")
    {
        machine->add(parse_nic("guid=" + guid + rest));
    }
    std::string
    root() const
    {
        return directory.path() / "vm";
    }
    fs::path
    device(const std::string &guid = kFirst) const
    {
        return fs::path(root()) / "sys/bus/vmbus/devices" / guid;
    }
    fs::path
    uio(int number = 0) const
    {
        return fs::path(root()) / "dev" / ("uio" + std::to_string(number));
    }
    uint32_t
    monitor_id(const std::string &guid = kFirst) const
    {
        return static_cast<uint32_t>(
            std::stoul(contents(device(guid) / "monitor_id")));
    }
    /* The counters once `done` says that they are as they should be. */
    Machine::Json
    wait_stats(const std::function<bool(const Machine::Json &)> &done,
               const std::string &guid = kFirst)
    {
        auto deadline = std::chrono::steady_clock::now() +
                        std::chrono::milliseconds(kPatienceMs);
        for (;;) {
            Machine::Json stats = machine->stats(guid);
            if (done(stats)) {
                return stats;
            }
            if (std::chrono::steady_clock::now() > deadline) {
                ADD_FAILURE() << "never came: " << stats.dump(2);
                return stats;
            }
            std::this_thread::yield();
        }
    }
    void
    wait_state(const std::string &state)
    {
        wait_stats([&](const Machine::Json &stats) {
            return stats["state"] == state;
        });
    }

    /* Until the NIC's worker has taken every signal and sleeps again.  A
     * command is executed between two of the worker's steps: after one, what
     * was seen before it is complete. */
    void
    wait_asleep(SocketGuest &guest)
    {
        uint32_t bit = 1u << monitor_id() % 32;
        size_t pending = 8 + 8 * (monitor_id() / 32);
        while (load<uint32_t>(guest.map(2), pending) & bit) {
            std::this_thread::yield();
        }
        (void) machine->stats(kFirst);
        while (load<uint32_t>(guest.to_host_ring(), 8)) {
            std::this_thread::yield();
        }
        (void) machine->stats(kFirst);
    }

    Directory directory;
    std::optional<Machine> machine;
};

/* --- The tree ---------------------------------------------------------- */

TEST_F(HostMachine, LaysOutWhatSysfsHas)
{
    add(kFirst, ",send-buffer=1M");
    std::string relid = contents(device() / "id");
    relid.pop_back();
    std::string monitor = contents(device() / "monitor_id");
    EXPECT_EQ(contents(device() / "class_id"),
              "{f8615163-df3e-46c5-913f-f2d2f965ed0e}\n");
    EXPECT_EQ(contents(device() / "device_id"),
              "{" + std::string(kFirst) + "}\n");
    EXPECT_EQ(contents(device() / "state"), "2\n");
    EXPECT_EQ(contents(device() / "numa_node"), "0\n");
    EXPECT_EQ(contents(device() / "driver_override"), "(null)\n");
    EXPECT_EQ(contents(device() / "channel_vp_mapping"), relid + ":0\n");
    EXPECT_EQ(contents(device() / "modalias"),
              "vmbus:635161f83edfc546913ff2d2f965ed0e\n");
    fs::path channel = device() / "channels" / relid;
    EXPECT_EQ(contents(channel / "subchannel_id"), "0\n");
    EXPECT_EQ(contents(channel / "monitor_id"), monitor);
    EXPECT_EQ(contents(channel / "cpu"), "0\n");
    EXPECT_EQ(fs::file_size(channel / "ring"), 4u << 20);
    EXPECT_EQ(fs::canonical(device() / "driver"),
              fs::canonical(fs::path(root()) /
                            "sys/bus/vmbus/drivers/uio_hv_generic"));
    EXPECT_EQ(fs::canonical(fs::path(root()) / "sys/class/uio/uio0"),
              fs::canonical(device() / "uio/uio0"));
    EXPECT_TRUE(
        fs::is_directory(fs::path(root()) / "sys/module/uio_hv_generic"));

    fs::path maps = device() / "uio/uio0/maps";
    EXPECT_EQ(contents(maps / "map0/name"), "txrx_rings\n");
    EXPECT_EQ(contents(maps / "map0/size"), "0x0000000000400000\n");
    EXPECT_EQ(contents(maps / "map1/name"), "int_page\n");
    EXPECT_EQ(contents(maps / "map2/name"), "monitor_page\n");
    EXPECT_EQ(contents(maps / "map3/name").substr(0, 5), "recv:");
    EXPECT_EQ(contents(maps / "map3/size"), "0x0000000001f00000\n");
    EXPECT_EQ(contents(maps / "map4/name").substr(0, 5), "send:");
    EXPECT_EQ(contents(maps / "map4/size"), "0x0000000000100000\n");
}

TEST_F(HostMachine, ShowsTheBinding)
{
    add(kFirst, ",driver=hv_netvsc");
    EXPECT_EQ(fs::read_symlink(device() / "driver").filename(), "hv_netvsc");
    EXPECT_FALSE(fs::exists(device() / "uio"));
    EXPECT_FALSE(fs::exists(uio()));
    machine->bind(kFirst, DriverBinding::kUioHvGeneric);
    EXPECT_EQ(fs::read_symlink(device() / "driver").filename(),
              "uio_hv_generic");
    EXPECT_TRUE(fs::exists(device() / "uio/uio0/maps/map4/size"));
    EXPECT_TRUE(fs::is_socket(uio()));
    machine->bind(kFirst, DriverBinding::kNone);
    EXPECT_FALSE(fs::is_symlink(device() / "driver"));
    EXPECT_FALSE(fs::exists(uio()));
    EXPECT_FALSE(fs::is_symlink(fs::path(root()) / "sys/class/uio/uio0"));
    EXPECT_FALSE(fs::is_symlink(
        fs::path(root()) / "sys/bus/vmbus/drivers/uio_hv_generic" / kFirst));
}

TEST_F(HostMachine, NumbersNicsApart)
{
    add(kFirst);
    add(kSecond);
    EXPECT_NE(contents(device(kFirst) / "id"),
              contents(device(kSecond) / "id"));
    EXPECT_NE(monitor_id(kFirst), monitor_id(kSecond));
    EXPECT_TRUE(fs::is_socket(uio(1)));
    EXPECT_THROW(add(kFirst), HostError);
    machine->remove(kFirst);
    EXPECT_FALSE(fs::exists(device(kFirst)));
    EXPECT_FALSE(fs::exists(uio(0)));
    EXPECT_TRUE(fs::exists(device(kSecond)));
    EXPECT_THROW(machine->remove(kFirst), HostError);
}

TEST_F(HostMachine, OffersANicAgainAsANewChannel)
{
    add(kFirst);
    std::string before = contents(device() / "id");
    machine->reoffer(kFirst);
    EXPECT_NE(contents(device() / "id"), before);
}

TEST_F(HostMachine, LosesNoNumbersWhenAnOfferFails)
{
    add(kSecond, ",driver=hv_netvsc");
    fs::path dev = fs::path(root()) / "dev";
    fs::remove(dev);
    for (int i = 0; i < 300; i++) {
        EXPECT_THROW(add(kFirst), HostError);
    }
    EXPECT_THROW(machine->bind(kSecond, DriverBinding::kUioHvGeneric),
                 HostError);
    EXPECT_EQ(machine->list()[0]["driver"], "none");
    fs::create_directory(dev);
    add(kFirst);
    EXPECT_EQ(monitor_id(kFirst), 1u);
    EXPECT_TRUE(fs::is_socket(uio(0)));
    /* A NIC that cannot be offered again is gone, and so is what it had. */
    fs::remove_all(dev);
    EXPECT_THROW(machine->reoffer(kFirst), HostError);
    EXPECT_EQ(machine->list().size(), 1u);
    fs::create_directory(dev);
    add(kFirst);
    EXPECT_EQ(monitor_id(kFirst), 1u);
    EXPECT_TRUE(fs::is_socket(uio(0)));
}

TEST_F(HostMachine, SignalsWithoutAMonitorByIrqControl)
{
    add(kFirst, ",monitor=no");
    EXPECT_FALSE(fs::exists(device() / "monitor_id"));
    EXPECT_FALSE(fs::exists(device() / "channels/1/monitor_id"));
    EXPECT_TRUE(machine->list()[0]["monitor_id"].is_null());
    SocketGuest guest(uio());
    (void) guest.hello();
    write_packet(guest.to_host_ring(), 6, 5, 1, {},
                 Message().u32(1).u32(0x00060001).u32(0x00060001).zeros(28));
    guest.send(Message().u32(2).u32(1));
    EXPECT_TRUE(guest.wait_packet());
    add(kSecond);
    EXPECT_EQ(monitor_id(kSecond), 0u);
}

TEST_F(HostMachine, RefusesALiveRootAndForeignOnes)
{
    EXPECT_THROW(Machine(root(), GpaMode::kDma, nullptr), HostError);
    fs::path foreign = directory.path() / "foreign";
    fs::create_directories(foreign / "sys/kernel");
    EXPECT_THROW(Machine(foreign, GpaMode::kDma, nullptr), HostError);
    EXPECT_TRUE(fs::exists(foreign / "sys/kernel"));
    EXPECT_FALSE(fs::exists(foreign / "netvsc-host.lock"));
}

TEST_F(HostMachine, RemovesWhatADeadHostLeft)
{
    fs::path dead = directory.path() / "dead";
    fs::create_directories(dead / "sys/bus/vmbus/devices/old");
    std::ofstream(dead / "netvsc-host.lock");
    Machine next(dead, GpaMode::kDma, nullptr);
    EXPECT_TRUE(fs::exists(dead / "sys/bus/vmbus/devices"));
    EXPECT_FALSE(fs::exists(dead / "sys/bus/vmbus/devices/old"));
}

TEST_F(HostMachine, LeavesNothingBehind)
{
    add(kFirst);
    machine.reset();
    EXPECT_TRUE(fs::is_empty(root()));
}

/* --- Commands ---------------------------------------------------------- */

TEST_F(HostMachine, TakesCommandsAsWords)
{
    (void) run_command(*machine,
                       {"add", "guid=" + std::string(kFirst) + ",mtu=9000"});
    Machine::Json list = run_command(*machine, {"list"});
    ASSERT_EQ(list.size(), 1u);
    EXPECT_EQ(list[0]["guid"], kFirst);
    EXPECT_EQ(list[0]["mtu"], 9000);
    EXPECT_EQ(list[0]["driver"], "uio_hv_generic");
    (void) run_command(*machine, {"link", kFirst, "down"});
    EXPECT_EQ(machine->list()[0]["link"], "down");
    (void) run_command(*machine, {"bind", kFirst, "none"});
    EXPECT_EQ(machine->list()[0]["driver"], "none");
    Machine::Json stats = run_command(*machine, {"stats", kFirst});
    for (const char *key :
         {"sessions", "state", "nvsp_version", "filter", "rx", "tx", "tap",
          "protocol_errors", "signals", "wakeups"}) {
        EXPECT_TRUE(stats.contains(key)) << key;
    }
    EXPECT_EQ(run_command(*machine, {"stats"})[kFirst]["state"], "closed");
    (void) run_command(*machine, {"remove", kFirst});
    EXPECT_TRUE(machine->list().empty());
}

TEST_F(HostMachine, ExplainsWhatIsWrongWithACommand)
{
    std::vector<std::vector<std::string>> wrong = {
        {},
        {"dance"},
        {"add"},
        {"add", "mtu=1"},
        {"remove"},
        {"remove", kFirst},
        {"link", kFirst},
        {"link", kFirst, "sideways"},
        {"bind", kFirst, "vfio"}};
    for (const auto &words : wrong) {
        EXPECT_THROW((void) run_command(*machine, words), HostError);
    }
}

TEST_F(HostMachine, AnswersOverTheControlSocketDespiteNonsense)
{
    EventLoop loop;
    ControlServer server(loop, *machine);
    std::thread client([&] {
        std::string path = fs::path(root()) / "netvsc-host.ctl";
        UniqueFd silent = connect_to(path, SOCK_STREAM);
        UniqueFd nonsense = connect_to(path, SOCK_STREAM);
        send(nonsense.get(), "}{\n", 3, MSG_NOSIGNAL);
        EXPECT_EQ(control_client(root(), {"list"}), 0);
        EXPECT_EQ(control_client(root(), {"remove", kFirst}), 1);
        UniqueFd last = connect_to(path, SOCK_STREAM);
        send(last.get(), "[\"quit\"]\n", 9, MSG_NOSIGNAL);
        char end;
        (void) recv(last.get(), &end, 1, 0);
    });
    while (!server.quit_requested()) {
        loop.wait(EventLoop::kForever);
    }
    send_result(server.take_quitter().get(), Machine::Json::object());
    client.join();
}

/* --- Guests ------------------------------------------------------------ */

TEST_F(HostMachine, AnswersAGuestThatSignalsByTheMonitorPage)
{
    add(kFirst);
    SocketGuest guest(uio());
    Buffer reply = guest.hello();
    ASSERT_EQ(reply.size(), 64u);
    EXPECT_EQ(load<uint32_t>(reply), 101u);
    EXPECT_EQ(load<uint32_t>(reply, 16), 0u);
    EXPECT_EQ(load<uint32_t>(reply, 20), 5u);
    EXPECT_EQ(contents(device() / "state"), "3\n");
    /* The latency word is announced in 100 ns. */
    EXPECT_EQ(load<uint16_t>(guest.map(2), 0x240 + 2 * monitor_id()), 1000u);
    EXPECT_TRUE(guest.init(monitor_id()));
    EXPECT_EQ(machine->stats(kFirst)["nvsp_version"], "6.1");
    EXPECT_EQ(machine->stats(kFirst)["state"], "open");
}

TEST_F(HostMachine, DoesNotAnswerAGuestThatDoesNotSignal)
{
    add(kFirst);
    SocketGuest guest(uio());
    (void) guest.hello();
    ASSERT_TRUE(guest.init(monitor_id()));
    wait_asleep(guest);
    Machine::Json before = machine->stats(kFirst);
    write_packet(guest.to_host_ring(), 6, 6, 1, {},
                 Message().u32(129).zeros(36));
    /* Commands wake the worker's thread, not its data path. */
    for (int i = 0; i < 10; i++) {
        EXPECT_EQ(machine->stats(kFirst)["wakeups"], before["wakeups"]);
    }
    EXPECT_FALSE(read_packet(guest.to_guest_ring()));
    guest.signal(monitor_id());
    EXPECT_TRUE(guest.wait_packet());
}

TEST_F(HostMachine, StartsCleanAfterAGuestThatDied)
{
    add(kFirst);
    size_t descriptors = 0;
    for (int i = 0; i < 20; i++) {
        {
            SocketGuest guest(uio());
            (void) guest.hello();
            ASSERT_TRUE(guest.init(monitor_id()));
            /* Leaves a masked ring and half a packet behind. */
            store(guest.to_guest_ring(), 8, uint32_t{1});
            store(guest.to_host_ring(), 0, uint32_t{4000});
        }
        wait_state("closed");
        EXPECT_EQ(contents(device() / "state"), "2\n");
        if (i == 0) {
            descriptors = open_descriptors();
        }
        EXPECT_EQ(open_descriptors(), descriptors);
    }
    EXPECT_EQ(machine->stats(kFirst)["sessions"], 20);
    EXPECT_EQ(machine->list()[0]["state"], "closed");
}

TEST_F(HostMachine, SharesOneSessionAmongConnections)
{
    add(kFirst);
    SocketGuest first(uio());
    (void) first.hello();
    {
        SocketGuest second(uio());
        (void) second.hello();
        EXPECT_TRUE(second.init(monitor_id()));
    }
    EXPECT_EQ(machine->stats(kFirst)["sessions"], 1);
    EXPECT_EQ(machine->stats(kFirst)["state"], "open");
}

TEST_F(HostMachine, MasksInterruptsAsTheKernelWould)
{
    add(kFirst);
    SocketGuest guest(uio());
    (void) guest.hello();
    auto mask = [&] {
        return std::atomic_ref(*reinterpret_cast<uint32_t *>(
                                   guest.to_guest_ring().data() + 8))
            .load();
    };
    for (uint32_t value : {0u, 1u}) {
        guest.send(Message().u32(2).u32(value));
        while (mask() != (value ? 0u : 1u)) {
            std::this_thread::yield();
        }
    }
}

/* Whatever a guest does to what it was given: its O_NONBLOCK and its count
 * would be the host's as well, if it were an eventfd. */
TEST_F(HostMachine, SharesNothingButSealedMemoryWithAGuest)
{
    add(kFirst);
    SocketGuest guest(uio());
    guest.send(Message().u32(1).u32(0x76736e75).u32(2).u32(16));
    std::vector<UniqueFd> fds;
    (void) guest.receive(fds);
    EXPECT_EQ(fds.size(), 5u);
    for (const UniqueFd &fd : fds) {
        EXPECT_NE(fcntl(fd.get(), F_GET_SEALS) & F_SEAL_SEAL, 0);
    }
}

TEST_F(HostMachine, WaitsForNoGuestThatDoesNotReadItsInterrupts)
{
    add(kFirst);
    SocketGuest guest(uio());
    (void) guest.hello();
    ASSERT_TRUE(guest.init(monitor_id()));
    /* Each answer that finds the ring empty is an interrupt; far more than a
     * socket holds. */
    constexpr unsigned kQuestions = 3000;
    for (unsigned i = 0; i < kQuestions; i++) {
        write_packet(guest.to_host_ring(), 6, i, 1, {},
                     Message().u32(129).zeros(36));
        guest.signal(monitor_id());
        std::optional<HostPacket> answer;
        while (!answer) {
            answer = read_packet(guest.to_guest_ring());
            std::this_thread::yield();
        }
    }
    EXPECT_EQ(machine->stats(kFirst)["state"], "open");
    /* What it left unread still tells it of the next packet. */
    write_packet(guest.to_host_ring(), 6, 7, 1, {},
                 Message().u32(129).zeros(36));
    guest.signal(monitor_id());
    EXPECT_TRUE(guest.wait_packet());
}

/* --- Sub-channels ------------------------------------------------------ */

/* A session up to the receive buffer, and a request for sub-channels. */
void
ask_for_subchannels(SocketGuest &guest, uint32_t monitor_id,
                    const fs::path &device, uint32_t count)
{
    ASSERT_TRUE(guest.init(monitor_id));
    std::string name = contents(device / "uio/uio0/maps/map3/name");
    auto gpadl = static_cast<uint32_t>(
        std::stoul(name.substr(std::string("recv:").size())));
    const Message messages[] = {
        Message().u32(125).u32(1514).u32(0).u64(8).zeros(20),
        Message().u32(100).u32(6).u32(30).zeros(28),
        Message().u32(101).u32(gpadl).u16(0xcafe).zeros(30),
        Message().u32(133).u32(1).u32(count).zeros(28)};
    for (const Message &message : messages) {
        auto type = load<uint32_t>(message);
        bool asks = type == 101 || type == 133;
        write_packet(guest.to_host_ring(), 6, type, asks ? 1 : 0, {}, message);
        guest.signal(monitor_id);
        if (asks) {
            std::optional<HostPacket> reply = guest.wait_packet();
            ASSERT_TRUE(reply);
            ASSERT_EQ(load<uint32_t>(reply->payload, 4), 1u);
        }
    }
}

/* Directories of channels but the primary, by what is in subchannel_id, once
 * there are so many with rings. */
std::map<std::string, fs::path>
wait_channels(const fs::path &device, size_t count)
{
    auto deadline = std::chrono::steady_clock::now() +
                    std::chrono::milliseconds(kPatienceMs);
    for (;;) {
        std::map<std::string, fs::path> found;
        bool rings = true;
        for (const auto &entry : fs::directory_iterator(device / "channels")) {
            std::string index = contents(entry.path() / "subchannel_id");
            if (entry.path().filename().string()[0] != '.' && index != "0\n" &&
                !index.empty()) {
                found[index] = entry.path();
                rings &= fs::exists(entry.path() / "ring");
            }
        }
        if ((found.size() == count && rings) ||
            std::chrono::steady_clock::now() > deadline) {
            return found;
        }
        std::this_thread::yield();
    }
}

TEST_F(HostMachine, ShowsSubchannelsAsTheKernelDoes)
{
    add(kFirst, ",max-queues=4");
    add(kSecond, ",max-queues=4");
    SocketGuest guest(uio());
    (void) guest.hello();
    ask_for_subchannels(guest, monitor_id(), device(), 3);
    auto channels = wait_channels(device(), 3);
    ASSERT_EQ(channels.size(), 3u);
    std::set<std::string> monitors = {
        contents(device() / "monitor_id"),
        contents(device(kSecond) / "monitor_id")};
    for (const char *index : {"1\n", "2\n", "3\n"}) {
        fs::path channel = channels.at(index);
        EXPECT_EQ(fs::file_size(channel / "ring"), 4u << 20);
        EXPECT_EQ(contents(channel / "cpu"), "0\n");
        EXPECT_TRUE(monitors.insert(contents(channel / "monitor_id")).second);
    }
    /* All relids are apart: four lines here, and another NIC's. */
    std::string lines;
    auto mapped = std::chrono::steady_clock::now() +
                  std::chrono::milliseconds(kPatienceMs);
    do {
        lines = contents(device() / "channel_vp_mapping");
    } while (std::count(lines.begin(), lines.end(), '\n') < 4 &&
             std::chrono::steady_clock::now() < mapped);
    EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 4);
    EXPECT_FALSE(
        fs::exists(device() / "channels" / contents(device(kSecond) / "id")));

    /* What is written there is answered there, and signalled like it. */
    fs::path second = channels.at("2\n");
    UniqueFd file(open((second / "ring").c_str(), O_RDWR | O_CLOEXEC));
    void *at = mmap(nullptr, 4u << 20, PROT_READ | PROT_WRITE, MAP_SHARED,
                    file.get(), 0);
    ASSERT_NE(at, MAP_FAILED);
    MutableBytes rings(static_cast<std::byte *>(at), 4u << 20);
    EXPECT_EQ(load<uint32_t>(rings, 64), 1u);
    write_packet(rings.first(2u << 20), 6, 99, 1, {},
                 Message().u32(107).u32(0).u32(0).u32(60).zeros(24));
    guest.signal(
        static_cast<uint32_t>(std::stoul(contents(second / "monitor_id"))));
    auto deadline = std::chrono::steady_clock::now() +
                    std::chrono::milliseconds(kPatienceMs);
    std::optional<HostPacket> answer;
    while (!answer && std::chrono::steady_clock::now() < deadline) {
        answer = read_packet(rings.subspan(2u << 20));
    }
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->trans_id, 99u);
    Machine::Json stats = machine->stats(kFirst);
    ASSERT_EQ(stats["channels"].size(), 4u);
    EXPECT_EQ(stats["channels"][2]["tx_messages"], 1);

    /* A write to the device is for all of its channels. */
    for (uint32_t value : {0u, 1u}) {
        guest.send(Message().u32(2).u32(value));
        std::atomic_ref mask(
            *reinterpret_cast<uint32_t *>(rings.data() + (2u << 20) + 8));
        while (mask.load() != (value ? 0u : 1u)) {
            std::this_thread::yield();
        }
    }
    munmap(at, 4u << 20);
}

TEST_F(HostMachine, TakesSubchannelsBackWithTheirSession)
{
    add(kFirst, ",max-queues=16");
    size_t descriptors = 0;
    for (int i = 0; i < 5; i++) {
        {
            SocketGuest guest(uio());
            (void) guest.hello();
            ask_for_subchannels(guest, monitor_id(), device(), 15);
            ASSERT_EQ(wait_channels(device(), 15).size(), 15u);
        }
        wait_state("closed");
        EXPECT_TRUE(wait_channels(device(), 0).empty());
        EXPECT_EQ(contents(device() / "channel_vp_mapping"),
                  contents(device() / "id").substr(0, 1) + ":0\n");
        if (i == 0) {
            descriptors = open_descriptors();
        }
        EXPECT_EQ(open_descriptors(), descriptors);
    }
}

TEST(HostChannelNumbers, ComeBackAndAreNeverInUseTwice)
{
    using Monitor = ChannelNumbers::Monitor;
    ChannelNumbers numbers;
    auto kept = numbers.take(Monitor::kNeeded);
    EXPECT_EQ(kept.relid(), 1u);
    EXPECT_EQ(kept.monitor_id(), 0u);
    uint32_t last = 1;
    for (int i = 0; i < 5000; i++) {
        auto lease = numbers.take(Monitor::kIfFree);
        /* Late again: upwards, and around once. */
        EXPECT_EQ(lease.relid(), last < 2047 ? last + 1 : 2u);
        EXPECT_EQ(lease.monitor_id(), 1u);
        last = lease.relid();
    }
    std::vector<ChannelNumbers::Lease> all;
    for (int i = 1; i < 128; i++) {
        all.push_back(numbers.take(Monitor::kNeeded));
    }
    EXPECT_THROW(all.push_back(numbers.take(Monitor::kNeeded)), HostError);
    for (int i = 128; i < 2047; i++) {
        all.push_back(numbers.take(Monitor::kIfFree));
        EXPECT_FALSE(all.back().monitor_id());
    }
    EXPECT_THROW(all.push_back(numbers.take(Monitor::kNone)), HostError);
    all.front() = {};
    EXPECT_TRUE(numbers.take(Monitor::kNeeded).monitor_id());
}

TEST_F(HostMachine, OffersSubchannelsWithoutAMonitorWhenIdsAreUsedUp)
{
    add(kFirst, ",max-queues=64");
    /* Of 128 ids, one each for 66 NICs. */
    for (int i = 100; i < 166; i++) {
        add("f8615163-0000-1000-2000-00155d000" + std::to_string(i),
            ",driver=hv_netvsc");
    }
    SocketGuest guest(uio());
    (void) guest.hello();
    ask_for_subchannels(guest, monitor_id(), device(), 63);
    auto channels = wait_channels(device(), 63);
    EXPECT_EQ(channels.size(), 63u);
    size_t monitored = 0;
    for (const auto &[index, channel] : channels) {
        monitored += fs::exists(channel / "monitor_id");
    }
    EXPECT_EQ(monitored, 128u - 67u);
}

TEST_F(HostMachine, RemovesANicWithItsSubchannels)
{
    add(kFirst, ",max-queues=4");
    SocketGuest guest(uio());
    (void) guest.hello();
    ask_for_subchannels(guest, monitor_id(), device(), 3);
    EXPECT_EQ(wait_channels(device(), 3).size(), 3u);
    machine->remove(kFirst);
    EXPECT_FALSE(fs::exists(device()));
    add(kFirst);
    EXPECT_EQ(monitor_id(), 0u);
}

/* --- The end of a NIC -------------------------------------------------- */

TEST_F(HostMachine, TellsTheGuestThatItsNicIsGone)
{
    add(kFirst);
    SocketGuest guest(uio());
    (void) guest.hello();
    machine->remove(kFirst);
    std::vector<UniqueFd> fds;
    EXPECT_EQ(to_hex(guest.receive(fds)), to_hex(Message().u32(102)));
    EXPECT_TRUE(guest.receive(fds).empty());
}

TEST_F(HostMachine, CutsOffWhoeverBreaksTheSocketProtocol)
{
    add(kFirst);
    UniqueFd file(memfd_create("region", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    ASSERT_EQ(ftruncate(file.get(), 4096), 0);
    UniqueFd unsealed(memfd_create("region", MFD_CLOEXEC));
    ASSERT_EQ(ftruncate(unsealed.get(), 4096), 0);
    ASSERT_EQ(fcntl(file.get(), F_ADD_SEALS,
                    F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW),
              0);
    struct {
        bool hello;
        Message message;
        std::vector<int> fds;
    } wrong[] = {
        {false, Message().u8(1), {}},
        {false, Message().u32(2).u32(1), {}},
        {false, Message().u32(1).u32(0x76736e75), {}},
        {true, Message().u32(1).u32(0x76736e75).u32(2).u32(16), {}},
        {true, Message().u32(99), {}},
        {true, Message().u32(2), {}},
        {true, Message().u32(3).u32(0).u64(0).u64(1), {}},
        {true, Message().u32(3).u32(0).u64(0).u64(2), {file.get()}},
        {true, Message().u32(3).u32(0).u64(0).u64(1), {unsealed.get()}},
        {true, Message().u32(3).u32(0).u64(0).u64(0), {file.get()}},
        {true, Message().u32(3).u32(0).u64(1ull << 52).u64(1), {file.get()}},
    };
    uint64_t errors = 0;
    for (const auto &item : wrong) {
        SocketGuest guest(uio());
        if (item.hello) {
            (void) guest.hello();
        }
        guest.send(item.message, item.fds);
        std::vector<UniqueFd> fds;
        EXPECT_TRUE(guest.receive(fds).empty());
        EXPECT_EQ(machine->stats(kFirst)["protocol_errors"], ++errors);
    }
    SocketGuest old(uio());
    EXPECT_EQ(load<uint32_t>(old.hello(1), 16), unsigned{EPROTO});
    /* The next one is served. */
    SocketGuest good(uio());
    (void) good.hello();
    EXPECT_TRUE(good.init(monitor_id()));
}

TEST_F(HostMachine, KeepsOtherNicsGoingWhenOneGuestSendsGarbage)
{
    add(kFirst);
    add(kSecond);
    SocketGuest bad(uio(0));
    SocketGuest good(uio(1));
    (void) bad.hello();
    (void) good.hello();
    MutableBytes data = bad.to_host_ring().subspan(4096);
    for (size_t i = 0; i < data.size(); i++) {
        data[i] = static_cast<std::byte>(i * 2654435761u >> 13);
    }
    store(bad.to_host_ring(), 0, uint32_t{65536});
    bad.signal(monitor_id(kFirst));
    wait_state("failed");
    EXPECT_EQ(machine->stats(kFirst)["protocol_errors"], 1);
    EXPECT_TRUE(good.init(monitor_id(kSecond)));
}

} // namespace

} // namespace netvsc::host::test
