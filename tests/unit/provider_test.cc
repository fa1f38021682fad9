/* The port type's policy, without OVS and without a host: options, waiting
 * for a device, claims, what OVS is told, statistics and texts. */

#include <climits>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include <errno.h>
#include <gtest/gtest.h>

#include "driver/session.h"
#include "lib/device_watch.h"
#include "lib/netdev-netvsc.h"

using namespace netvsc;
using namespace netvsc::provider;
namespace fs = std::filesystem;

namespace {

constexpr char kGuid1[] = "11111111-2222-3333-4444-555555555555";
constexpr char kGuid2[] = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";

/* A system root that the driver's sysfs code reads; its place is fixed at
 * the first look, so there is one for the whole program. */
class SystemRoot : public testing::Environment {
public:
    SystemRoot()
    {
        char path[] = "/tmp/provider-tests.XXXXXX";
        root_ = ::mkdtemp(path);
        ::setenv("NETVSC_SYSROOT", root_.c_str(), 1);
    }

    void
    TearDown() override
    {
        fs::remove_all(root_);
    }

    std::string
    state_directory()
    {
        fs::create_directories(root_ / "state");
        return (root_ / "state").string();
    }

    void
    clear()
    {
        for (const auto &entry : fs::directory_iterator(root_)) {
            fs::remove_all(entry.path());
        }
    }

    /* A NIC that no driver has taken. */
    void
    add_nic(const std::string &guid)
    {
        write(device(guid) / "class_id",
              "{f8615163-df3e-46c5-913f-f2d2f965ed0e}");
        write(device(guid) / "id", "21");
    }

    void
    bind(const std::string &guid, unsigned uio)
    {
        std::string name = "uio" + std::to_string(uio);
        fs::path maps = device(guid) / "uio" / name / "maps";
        const char *names[] = {"txrx_rings", "int_page", "monitor_page",
                               "recv:100", "send:101"};
        for (unsigned i = 0; i < std::size(names); i++) {
            fs::path map = maps / ("map" + std::to_string(i));
            write(map / "name", names[i]);
            write(map / "size", i == 0 ? "0x4000" : "0x1000");
        }
        write(root_ / "dev" / name, "");
        fs::create_symlink("../../drivers/uio_hv_generic",
                           device(guid) / "driver");
    }

private:
    fs::path
    device(const std::string &guid) const
    {
        return root_ / "sys/bus/vmbus/devices" / guid;
    }

    static void
    write(const fs::path &path, const std::string &line)
    {
        fs::create_directories(path.parent_path());
        std::ofstream(path) << line << "\n";
    }

    fs::path root_;
};

SystemRoot *const root = static_cast<SystemRoot *>(
    testing::AddGlobalTestEnvironment(new SystemRoot));

/* What a port asked of its device. */
class FakeDevice : public Device {
public:
    FakeDevice(const Guid &guid, DeviceObserver *observer)
        : observer(observer), guid_(guid)
    {
    }

    void
    disown() override
    {
        observer = nullptr;
    }
    void
    request(const DeviceRequest &request) override
    {
        wanted = request;
    }
    std::shared_ptr<Session>
    adopt_session(unsigned n_txq) override
    {
        adopted_n_txq = n_txq;
        return nullptr;
    }
    DeviceStatus
    status() const override
    {
        return now;
    }
    Statistics
    statistics() const override
    {
        return counted;
    }
    const Guid &
    guid() const override
    {
        return guid_;
    }

    bool
    owned() const
    {
        return observer != nullptr;
    }

    DeviceObserver *observer;
    DeviceRequest wanted;
    DeviceStatus now;
    Statistics counted;
    unsigned adopted_n_txq = 0;

private:
    Guid guid_;
};

/* What the table and its ports asked of OVS and of the driver. */
struct World {
    int wakes = 0;
    std::map<void *, int> reconfigures, changes;
    std::set<void *> removed;
    std::vector<std::string> log;
    std::vector<std::shared_ptr<FakeDevice>> devices;
    std::string directory; /* Of state files; empty: none. */
};
World *world;

const netvsc_glue kGlue = {
    .wake = [] { world->wakes++; },
    .request_reconfigure = [](void *netdev) { world->reconfigures[netdev]++; },
    .status_changed = [](void *netdev) { world->changes[netdev]++; },
    .is_removed = [](void *netdev) { return world->removed.contains(netdev); },
    .log =
        [](void *, netvsc_log_level level, const char *port,
           const char *message) {
            world->log.push_back(
                std::string(level == NETVSC_LOG_WARN ? "WARN " : "INFO ") +
                port + ": " + message);
        },
    .state_directory = [] { return world->directory.c_str(); },
};

Result<std::shared_ptr<Device>>
fake_claim(const Guid &guid, const std::string &, const DeviceRequest &request,
           DeviceObserver *observer)
{
    auto device = std::make_shared<FakeDevice>(guid, observer);
    device->wanted = request;
    world->devices.push_back(device);
    return std::shared_ptr<Device>(device);
}

class PortTest : public testing::Test {
protected:
    PortTest()
    {
        root->clear();
        world = &world_;
    }

    void
    add_bound_nics()
    {
        root->add_nic(kGuid1);
        root->bind(kGuid1, 0);
        root->add_nic(kGuid2);
        root->bind(kGuid2, 1);
    }

    static Status
    set(Port *port, const std::string &device, const std::string &n_rxq = "1")
    {
        std::vector<Option> options = {{"vmbus-device", device},
                                       {"n_rxq", n_rxq}};
        return port->set_options(options);
    }

    FakeDevice &
    last_device()
    {
        return *world_.devices.back();
    }

    /* The device attached, as its control thread would report it. */
    void
    attach(FakeDevice *device)
    {
        device->now.state = DeviceState::kReady;
        device->now.error.clear();
        device->now.mac = {0x00, 0x15, 0x5d, 1, 2, 3};
        device->now.mtu = device->wanted.mtu;
        device->now.max_mtu = 4000;
        device->now.link_up = true;
        device->now.link_speed = 10'000'000'000;
        device->now.sessions++;
        device->observer->session_changed();
        device->observer->status_changed();
    }

    World world_;
    PortTable table_{kGlue, fake_claim};
    int netdev1_ = 1, netdev2_ = 2;
};

std::string
error_of(std::vector<Option> options)
{
    auto parsed = parse_options(options);
    return parsed ? "" : parsed.error().message;
}

/* --- Options --- */

class OptionsTest : public PortTest {};

TEST_F(OptionsTest, GuidInAnySpelling)
{
    for (const char *text : {kGuid2, "AAAAAAAA-BBBB-cccc-dddd-EEEEEEEEEEEE",
                             "{aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee}"}) {
        std::vector<Option> options = {{"vmbus-device", text}};
        auto parsed = parse_options(options);
        ASSERT_TRUE(parsed) << text;
        EXPECT_EQ(parsed->device.str(), kGuid2);
        EXPECT_EQ(parsed->n_rxq, 1u);
    }
}

TEST_F(OptionsTest, MissingDeviceListsTheNics)
{
    EXPECT_EQ(error_of({}),
              "options:vmbus-device=<GUID> is missing: this machine has no "
              "VMBus network device; add a network adapter on the host.");
    root->add_nic(kGuid2);
    EXPECT_EQ(error_of({{"n_rxq", "2"}}),
              std::string("options:vmbus-device=<GUID> is missing: this "
                          "machine has the network device ") +
                  kGuid2 + ".");
    root->add_nic(kGuid1);
    EXPECT_EQ(error_of({}),
              std::string("options:vmbus-device=<GUID> is missing: this "
                          "machine has the network devices ") +
                  kGuid1 + " and " + kGuid2 + ".");
}

TEST_F(OptionsTest, LongListsAreCut)
{
    for (int i = 0; i < 11; i++) {
        std::ostringstream guid;
        guid << std::hex << i << (kGuid1 + 1);
        root->add_nic(guid.str());
    }
    std::string error = error_of({});
    EXPECT_TRUE(error.ends_with(" and 3 more.")) << error;
    EXPECT_NE(error.find(std::string("7") + (kGuid1 + 1)), std::string::npos);
    EXPECT_EQ(error.find(std::string("8") + (kGuid1 + 1)), std::string::npos);
}

TEST_F(OptionsTest, MacAddressIsRecognized)
{
    root->add_nic(kGuid1);
    for (std::string mac : {"00:15:5d:01:02:03", "00-15-5D-01-02-03"}) {
        EXPECT_EQ(error_of({{"vmbus-device", mac}}),
                  "options:vmbus-device=" + mac +
                      " is a MAC address, but the device's VMBus GUID is "
                      "needed: this machine has the network device " +
                      kGuid1 + ".");
    }
}

TEST_F(OptionsTest, WrongValuesAndKeys)
{
    for (std::string text : {"", "eth1", "00:15:5d:01:02:0g",
                             "1111111-2222-3333-4444-555555555555"}) {
        EXPECT_TRUE(error_of({{"vmbus-device", text}})
                        .starts_with("options:vmbus-device=" + text +
                                     " is no VMBus GUID"))
            << error_of({{"vmbus-device", text}});
    }
    for (std::string text : {"", "0", "65", "-1", "2x", " 2", "1e1"}) {
        EXPECT_EQ(error_of({{"n_rxq", text}, {"vmbus-device", kGuid1}}),
                  "options:n_rxq=" + text +
                      " is no number of receive queues: give one from 1 to "
                      "64.");
    }
    EXPECT_EQ(error_of({{"n_rxq", "64"}, {"vmbus-device", kGuid1}}), "");
}

TEST_F(OptionsTest, UnknownKeysAreIgnoredAndNamed)
{
    std::vector<Option> options = {{"dpdk-devargs", "x"},
                                   {"n_rxq", "2"},
                                   {"n_txq_desc", ""},
                                   {"vmbus-device", kGuid1}};
    auto parsed = parse_options(options);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->n_rxq, 2u);
    EXPECT_EQ(parsed->ignored,
              (std::vector<std::string>{"dpdk-devargs", "n_txq_desc"}));
    EXPECT_EQ(describe_ignored("eth1", parsed->ignored),
              "The options dpdk-devargs and n_txq_desc have no meaning for a "
              "port of type netvsc and are ignored; it takes vmbus-device "
              "and n_rxq.  Correct what is misspelt, and remove the rest: "
              "ovs-vsctl remove Interface eth1 options dpdk-devargs "
              "n_txq_desc");
    EXPECT_TRUE(describe_ignored("eth1", {"lsc"})
                    .starts_with("The option lsc has no meaning for a port "
                                 "of type netvsc and is ignored;"));
    EXPECT_FALSE(error_of({{"vmbus-devise", kGuid1}}).empty())
        << "a misspelt key is no device";
}

/* --- Waiting for a device --- */

TEST(DeviceWatch, ReportsEachChangeOnceAndForgets)
{
    std::string verdict = "absent";
    int looks = 0;
    DeviceWatch watch([&](const Guid &) {
        looks++;
        return verdict;
    });
    Guid guid = *Guid::parse(kGuid1);
    EXPECT_EQ(watch.next_look(), LLONG_MAX);
    EXPECT_FALSE(watch.look(0));
    EXPECT_EQ(looks, 0) << "nobody waits, and yet sysfs is read";

    watch.add("eth1", guid, "absent");
    EXPECT_FALSE(watch.look(5000));
    EXPECT_EQ(watch.next_look(), 6000);
    verdict = "unbound";
    EXPECT_FALSE(watch.look(5999)) << "more than once a second";
    EXPECT_TRUE(watch.look(6000));
    EXPECT_EQ(watch.next_look(), LLONG_MAX);

    /* The bridge tries again and fails for the new reason. */
    watch.add("eth1", guid, "unbound");
    EXPECT_FALSE(watch.look(7000));
    verdict = "";
    EXPECT_TRUE(watch.look(8000));

    /* It succeeded, or the port was deleted: silence. */
    verdict = "absent";
    EXPECT_FALSE(watch.look(9000));
    watch.add("eth1", guid, "absent");
    watch.remove("eth1");
    verdict = "";
    EXPECT_FALSE(watch.look(10000));
}

TEST_F(PortTest, WaitsUntilTheDeviceIsThereAndBound)
{
    auto port = std::make_unique<Port>(&table_, "eth1", &netdev1_);
    Status status = set(port.get(), kGuid1);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ENOENT);
    EXPECT_NE(status.error().message.find(kGuid1), std::string::npos);
    EXPECT_EQ(world_.log.back(), "WARN eth1: " + status.error().message);
    port.reset(); /* What OVS does. */

    EXPECT_FALSE(table_.run(1000));
    root->add_nic(kGuid1);
    EXPECT_TRUE(table_.run(2000));
    port = std::make_unique<Port>(&table_, "eth1", &netdev1_);
    status = set(port.get(), kGuid1);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ENODEV);
    EXPECT_NE(status.error().message.find("driverctl"), std::string::npos);

    root->bind(kGuid1, 0);
    EXPECT_TRUE(table_.run(3000));
    EXPECT_TRUE(set(port.get(), kGuid1));
    EXPECT_EQ(table_.next_run(), LLONG_MAX);
}

TEST_F(PortTest, WrongOptionsWaitForNothing)
{
    Port port(&table_, "eth1", &netdev1_);
    ASSERT_FALSE(set(&port, kGuid1));
    EXPECT_NE(table_.next_run(), LLONG_MAX);
    ASSERT_FALSE(set(&port, "eth1"));
    EXPECT_EQ(table_.next_run(), LLONG_MAX);
}

/* --- Claims --- */

TEST_F(PortTest, ClaimsOnceAndPassesRequests)
{
    add_bound_nics();
    Port port(&table_, "eth1", &netdev1_);
    ASSERT_TRUE(set(&port, kGuid1, "4"));
    ASSERT_EQ(world_.devices.size(), 1u);
    EXPECT_EQ(last_device().wanted,
              (DeviceRequest{
                  .n_rxq = 4, .mtu = 1500, .promiscuous = true, .up = true}));
    /* The bridge calls with every change anywhere. */
    ASSERT_TRUE(set(&port, std::string("{") + kGuid1 + "}", "2"));
    EXPECT_EQ(world_.devices.size(), 1u);
    EXPECT_EQ(last_device().wanted.n_rxq, 2u);
    EXPECT_EQ(port.options(),
              (Pairs{{"vmbus-device", kGuid1}, {"n_rxq", "2"}}));
    EXPECT_TRUE(world_.log.empty());

    /* A device that fails later does not take the port away. */
    root->clear();
    EXPECT_TRUE(set(&port, kGuid1, "2"));
}

TEST_F(PortTest, IgnoredOptionsAreToldOncePerChange)
{
    add_bound_nics();
    Port port(&table_, "eth1", &netdev1_);
    std::vector<Option> options = {{"vmbus-device", kGuid1}, {"n_txq", "4"}};
    for (int i = 0; i < 3; i++) {
        ASSERT_TRUE(port.set_options(options));
    }
    EXPECT_EQ(world_.log,
              std::vector<std::string>{"WARN eth1: " +
                                       describe_ignored("eth1", {"n_txq"})});
    EXPECT_EQ(port.options(),
              (Pairs{{"vmbus-device", kGuid1}, {"n_rxq", "1"}}));
    Pairs pairs = status_pairs(*port.view());
    EXPECT_NE(std::find(pairs.begin(), pairs.end(),
                        std::pair<std::string, std::string>("ignored_options",
                                                            "n_txq")),
              pairs.end());
    EXPECT_NE(describe(*port.view()).find("options n_txq"), std::string::npos);

    ASSERT_TRUE(set(&port, kGuid1));
    for (const auto &[key, value] : status_pairs(*port.view())) {
        EXPECT_NE(key, "ignored_options");
    }
    ASSERT_TRUE(port.set_options(options));
    EXPECT_EQ(world_.log.size(), 2u);
}

TEST_F(PortTest, QueuesThatAreNotGrantedAreToldWithTheReason)
{
    add_bound_nics();
    Port port(&table_, "eth1", &netdev1_);
    ASSERT_TRUE(set(&port, kGuid1));
    last_device().now.n_rxq = 1;
    last_device().now.n_rxq_requested = 1;
    last_device().now.max_rx_queues = 4;
    attach(&last_device());
    (void) table_.run(0);
    EXPECT_EQ(world_.log.size(), 1u);

    /* While the port runs, and again and again. */
    last_device().now.n_rxq_requested = 8;
    ASSERT_TRUE(set(&port, kGuid1, "8"));
    ASSERT_TRUE(set(&port, kGuid1, "8"));
    EXPECT_EQ(world_.log.size(), 2u);
    EXPECT_EQ(world_.log.back(),
              "WARN eth1: options:n_rxq asks for 8 receive queues, and 1 is "
              "granted: the host has no more than 4 for this network "
              "adapter.");
    last_device().now.n_rxq_requested = 3;
    ASSERT_TRUE(set(&port, kGuid1, "3"));
    EXPECT_EQ(world_.log.back(),
              "WARN eth1: options:n_rxq asks for 3 receive queues, and 1 is "
              "granted: the driver uses no more of the 4 that the host has.");

    /* A new session is no news. */
    attach(&last_device());
    (void) table_.run(0);
    EXPECT_EQ(world_.log.size(), 4u);
}

TEST_F(PortTest, FramesThatAreTooBigAreToldRarely)
{
    add_bound_nics();
    Port port(&table_, "eth1", &netdev1_);
    ASSERT_TRUE(set(&port, kGuid1));
    attach(&last_device());
    (void) table_.run(0);
    world_.log.clear();
    port.log_drops(*port.view());
    EXPECT_TRUE(world_.log.empty());

    last_device().counted[Count::kTxTooBig] = 5;
    last_device().counted.tx_biggest_refused = 3042;
    for (int i = 0; i < 3; i++) {
        port.log_drops(*port.view());
        last_device().counted[Count::kTxTooBig]++;
    }
    EXPECT_EQ(world_.log,
              std::vector<std::string>{
                  "WARN eth1: 5 frames were too big to be sent and were "
                  "dropped, the largest so far of 3042 bytes, Ethernet header "
                  "included; the port's MTU is 1500.  Raise it with "
                  "mtu_request=3028, or lower that of whoever sends such "
                  "frames."});

    PortView view = *port.view();
    view.statistics.tx_biggest_refused = 9014;
    EXPECT_TRUE(describe_too_big(view, 1).starts_with("1 frame was too big"));
    EXPECT_TRUE(describe_too_big(view, 1).ends_with(
        "This host carries an MTU of up to 4000: lower that of whoever sends "
        "such frames."));
}

TEST_F(PortTest, OneDeviceOnePort)
{
    add_bound_nics();
    Port first(&table_, "eth1", &netdev1_);
    ASSERT_TRUE(set(&first, kGuid1));
    {
        Port second(&table_, "eth2", &netdev2_);
        Status status = set(&second, kGuid1);
        ASSERT_FALSE(status);
        EXPECT_EQ(status.error().code, EBUSY);
        EXPECT_EQ(status.error().message,
                  std::string("Network device ") + kGuid1 +
                      " is in use by port eth1: name another one in "
                      "options:vmbus-device, or delete port eth1.");
        EXPECT_EQ(world_.devices.size(), 1u);
    }
    EXPECT_FALSE(table_.run(1000)) << "nothing has changed";
}

TEST_F(PortTest, WaitsUntilTheOtherPortIsGone)
{
    add_bound_nics();
    auto first = std::make_unique<Port>(&table_, "eth1", &netdev1_);
    ASSERT_TRUE(set(first.get(), kGuid1));
    Port second(&table_, "eth2", &netdev2_);
    ASSERT_FALSE(set(&second, kGuid1));
    EXPECT_FALSE(table_.run(1000));
    first.reset();
    EXPECT_TRUE(table_.run(2000));
    EXPECT_TRUE(set(&second, kGuid1));
}

/* OVS deletes and creates a port in one go, while a thread still refers to
 * the old one. */
TEST_F(PortTest, TakesTheDeviceOverFromARemovedPort)
{
    add_bound_nics();
    Port old(&table_, "eth1", &netdev1_);
    ASSERT_TRUE(set(&old, kGuid1));
    auto device = world_.devices.back();
    old.open_rxq(0);
    world_.removed.insert(&netdev1_);

    Port fresh(&table_, "eth1", &netdev2_);
    EXPECT_FALSE(set(&fresh, kGuid1)) << "a PMD thread still polls it";
    EXPECT_TRUE(device->owned());

    old.close_rxq();
    EXPECT_TRUE(set(&fresh, kGuid1));
    EXPECT_FALSE(device->owned());
    EXPECT_TRUE(last_device().owned());
    EXPECT_FALSE(old.view());
}

TEST_F(PortTest, ChangesItsDevice)
{
    add_bound_nics();
    Port port(&table_, "eth1", &netdev1_);
    ASSERT_TRUE(set(&port, kGuid1));
    port.reconfigure(3);
    auto first = world_.devices.back();
    EXPECT_EQ(first->adopted_n_txq, 3u);

    /* The data path stays with the first until it can be stopped. */
    ASSERT_TRUE(set(&port, kGuid2));
    auto second = world_.devices.back();
    EXPECT_TRUE(first->owned());
    EXPECT_EQ(world_.reconfigures[&netdev1_], 1);
    EXPECT_EQ(port.view()->device.str(), kGuid1);
    port.reconfigure(3);
    EXPECT_FALSE(first->owned());
    EXPECT_EQ(second->adopted_n_txq, 3u);
    EXPECT_EQ(port.view()->device.str(), kGuid2);

    /* There and back before it comes to that. */
    ASSERT_TRUE(set(&port, kGuid1));
    auto third = world_.devices.back();
    ASSERT_TRUE(set(&port, kGuid2, "7"));
    EXPECT_FALSE(third->owned());
    EXPECT_TRUE(second->owned());
    EXPECT_EQ(second->wanted.n_rxq, 7u);
}

TEST_F(PortTest, TwoPortsChangePlacesInOneGo)
{
    add_bound_nics();
    Port one(&table_, "eth1", &netdev1_), two(&table_, "eth2", &netdev2_);
    ASSERT_TRUE(set(&one, kGuid1) && set(&two, kGuid2));
    one.reconfigure(1);
    two.reconfigure(1);
    auto old = world_.devices;

    /* Nobody knows at the first that the second follows. */
    EXPECT_TRUE(set(&one, kGuid2));
    EXPECT_TRUE(set(&two, kGuid1));
    EXPECT_TRUE(old[0]->owned()) << "the data path is in it";
    EXPECT_EQ(world_.reconfigures[&netdev1_], 1);
    EXPECT_EQ(world_.reconfigures[&netdev2_], 1);
    EXPECT_FALSE(table_.run(1000));
    one.reconfigure(1);
    EXPECT_FALSE(old[0]->owned());
    EXPECT_FALSE(table_.run(1010));
    EXPECT_FALSE(one.view()) << "the second has its device still";
    EXPECT_LE(table_.next_run(), 1100);
    two.reconfigure(1);
    EXPECT_FALSE(table_.run(1030));
    EXPECT_EQ(one.view()->device.str(), kGuid2);
    EXPECT_EQ(two.view()->device.str(), kGuid1);
    EXPECT_TRUE(world_.log.empty()) << world_.log.front();
    EXPECT_EQ(world_.devices.size(), 4u);
}

TEST_F(PortTest, APortThatWaitsInVainForAnothersDeviceGetsTheError)
{
    add_bound_nics();
    Port one(&table_, "eth1", &netdev1_), two(&table_, "eth2", &netdev2_);
    ASSERT_TRUE(set(&one, kGuid1) && set(&two, kGuid2));
    EXPECT_TRUE(set(&one, kGuid2));
    one.reconfigure(1);
    EXPECT_FALSE(table_.run(5000));
    EXPECT_FALSE(table_.run(5999));
    /* The bridge has to ask again to get to know it. */
    EXPECT_TRUE(table_.run(6000));
    Status status = set(&one, kGuid2);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, EBUSY);
    EXPECT_TRUE(status.error().message.find("in use by port eth2") !=
                std::string::npos);
}

/* Changes its mind before it comes to that. */
TEST_F(PortTest, AWishThatIsTakenBackLeavesThePortItsDevice)
{
    add_bound_nics();
    Port one(&table_, "eth1", &netdev1_), two(&table_, "eth2", &netdev2_);
    ASSERT_TRUE(set(&one, kGuid1) && set(&two, kGuid2));
    EXPECT_TRUE(set(&one, kGuid2));
    EXPECT_TRUE(set(&one, kGuid1));
    one.reconfigure(1);
    EXPECT_EQ(one.view()->device.str(), kGuid1);
    EXPECT_TRUE(world_.devices[0]->owned());
    EXPECT_EQ(world_.devices.size(), 2u);
}

TEST_F(PortTest, DisownsWhenDestroyed)
{
    add_bound_nics();
    {
        Port port(&table_, "eth1", &netdev1_);
        ASSERT_TRUE(set(&port, kGuid1));
        EXPECT_TRUE(last_device().owned());
    }
    EXPECT_FALSE(last_device().owned());
    EXPECT_FALSE(table_.run(1000));
}

/* --- What OVS is told --- */

TEST_F(PortTest, NewsReachOvsOnItsMainThread)
{
    add_bound_nics();
    Port port(&table_, "eth1", &netdev1_);
    ASSERT_TRUE(set(&port, kGuid1));
    EXPECT_FALSE(port.info().has_mac);
    EXPECT_EQ(port.info().mtu, 1500);
    EXPECT_EQ(port.info().numa_node, -1);

    attach(&last_device());
    EXPECT_EQ(world_.wakes, 2);
    EXPECT_TRUE(world_.reconfigures.empty() && world_.changes.empty());
    EXPECT_TRUE(table_.run(0)) << "a bridge takes its address from ports";
    EXPECT_EQ(world_.reconfigures[&netdev1_], 1);
    EXPECT_EQ(world_.changes[&netdev1_], 1);
    EXPECT_TRUE(port.info().has_mac);
    EXPECT_TRUE(port.info().carrier);
    EXPECT_EQ(world_.log.size(), 1u);
    EXPECT_TRUE(world_.log[0].starts_with("INFO eth1: attached"));

    EXPECT_FALSE(table_.run(0));
    EXPECT_EQ(world_.changes[&netdev1_], 1) << "told twice";

    last_device().now.link_up = false;
    last_device().observer->status_changed();
    EXPECT_FALSE(table_.run(0)) << "the address is known";
    EXPECT_EQ(world_.changes[&netdev1_], 2);
    EXPECT_EQ(world_.log.back(), "INFO eth1: link is down");
}

/* OVS may have dropped the first news: it had not heard its own last word. */
TEST_F(PortTest, NewsAreRepeatedOnce)
{
    add_bound_nics();
    Port port(&table_, "eth1", &netdev1_);
    ASSERT_TRUE(set(&port, kGuid1));
    EXPECT_EQ(table_.next_run(), LLONG_MAX);
    attach(&last_device());
    (void) table_.run(5000);
    EXPECT_EQ(world_.changes[&netdev1_], 1);
    EXPECT_EQ(table_.next_run(), 6000);
    EXPECT_FALSE(table_.run(5999));
    EXPECT_EQ(world_.changes[&netdev1_], 1);
    EXPECT_FALSE(table_.run(6000));
    EXPECT_EQ(world_.changes[&netdev1_], 2);
    EXPECT_EQ(world_.reconfigures[&netdev1_], 1);
    EXPECT_EQ(table_.next_run(), LLONG_MAX);
    EXPECT_FALSE(table_.run(9000));
    EXPECT_EQ(world_.changes[&netdev1_], 2);
}

TEST_F(PortTest, ErrorsAreLoggedOnce)
{
    add_bound_nics();
    Port port(&table_, "eth1", &netdev1_);
    ASSERT_TRUE(set(&port, kGuid1));
    for (int i = 0; i < 3; i++) {
        last_device().now.state = DeviceState::kFailed;
        last_device().now.error = "The host did not answer.";
        last_device().observer->status_changed();
        (void) table_.run(0);
    }
    EXPECT_EQ(world_.log,
              std::vector<std::string>{"WARN eth1: The host did not answer."});
    EXPECT_EQ(world_.changes[&netdev1_], 3);
}

TEST_F(PortTest, FlagsReachTheDevice)
{
    add_bound_nics();
    Port port(&table_, "eth1", &netdev1_);
    ASSERT_TRUE(set(&port, kGuid1));
    EXPECT_EQ(port.update_flags(NETVSC_PROMISC, 0),
              unsigned{NETVSC_UP | NETVSC_PROMISC});
    EXPECT_TRUE(last_device().wanted.promiscuous) << "not signal-safe";
    (void) table_.run(0);
    EXPECT_FALSE(last_device().wanted.promiscuous);
    EXPECT_TRUE(last_device().wanted.up);
    EXPECT_EQ(world_.changes[&netdev1_], 1);
    EXPECT_EQ(port.update_flags(0, 0), unsigned{NETVSC_UP});
    (void) table_.run(0);
    EXPECT_EQ(world_.changes[&netdev1_], 1);
}

TEST_F(PortTest, MtuWithinTheHostsLimit)
{
    add_bound_nics();
    Port port(&table_, "eth1", &netdev1_);
    EXPECT_FALSE(port.set_mtu(67));
    EXPECT_FALSE(port.set_mtu(-1));
    ASSERT_TRUE(set(&port, kGuid1));
    EXPECT_TRUE(port.set_mtu(9000)) << "nobody knows the host yet";
    EXPECT_EQ(last_device().wanted.mtu, 9000u);

    attach(&last_device());
    last_device().now.mtu = 4000; /* What the driver makes of it. */
    (void) table_.run(0);
    EXPECT_EQ(world_.log.back(),
              "WARN eth1: The MTU is 4000, not 9000: adapter, host and "
              "driver carry up to 4000.  Lower mtu_request to that, or allow "
              "larger frames for this network adapter on the host.");
    EXPECT_EQ(port.info().mtu, 4000);
    EXPECT_TRUE(port.set_mtu(68));
    EXPECT_TRUE(port.set_mtu(4000));
    Status status = port.set_mtu(4001);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, EINVAL);
    EXPECT_EQ(status.error().message,
              "MTU 4001 is out of range: give mtu_request from 68 to 4000, "
              "the largest that adapter, host and driver carry.");
    EXPECT_EQ(last_device().wanted.mtu, 4000u);
}

/* OVS itself only logs that it was refused. */
TEST_F(PortTest, AnMtuThatCannotBeMetStandsInTheStatus)
{
    add_bound_nics();
    Port port(&table_, "eth1", &netdev1_);
    ASSERT_TRUE(set(&port, kGuid1));
    auto error = [&] {
        std::string text;
        for (const auto &[key, value] : status_pairs(*port.view())) {
            text += key == "error" ? value : "";
        }
        return text;
    };
    EXPECT_TRUE(port.set_mtu(9000));
    EXPECT_EQ(error(), "") << "nobody knows the host yet";
    attach(&last_device());
    last_device().now.mtu = 4000;
    (void) table_.run(0);
    EXPECT_TRUE(error().starts_with("The MTU is 4000, not 9000: ")) << error();
    EXPECT_NE(describe(*port.view()).find("The MTU is 4000, not 9000: "),
              std::string::npos);

    EXPECT_TRUE(port.set_mtu(1500));
    last_device().now.mtu = 1500;
    EXPECT_EQ(error(), "");
    int changes = world_.changes[&netdev1_];
    size_t lines = world_.log.size();
    /* The bridge asks again each time that it configures itself. */
    EXPECT_FALSE(port.set_mtu(4001));
    EXPECT_FALSE(port.set_mtu(4001));
    EXPECT_TRUE(error().starts_with("MTU 4001 is out of range: ")) << error();
    EXPECT_EQ(world_.changes[&netdev1_], changes + 1);
    EXPECT_EQ(world_.log.size(), lines + 1);
    last_device().now.error = "The host is silent.";
    EXPECT_TRUE(error().starts_with("The host is silent.  MTU 4001 is "))
        << error();
    last_device().now.error.clear();
    EXPECT_TRUE(port.set_mtu(1500));
    EXPECT_EQ(error(), "");
    EXPECT_EQ(world_.changes[&netdev1_], changes + 2);
}

TEST_F(PortTest, FramesThatCannotLeaveAreCounted)
{
    add_bound_nics();
    Port port(&table_, "eth1", &netdev1_);
    ASSERT_TRUE(set(&port, kGuid1));
    netvsc_tx_frame frames[3] = {};
    EXPECT_EQ(port.send(0, frames), ENODEV);
    port.update_flags(NETVSC_UP, 0);
    EXPECT_EQ(port.send(0, std::span(frames).first(2)), ENETDOWN);
    port.count_not_ethernet(5);
    EXPECT_EQ(standard_statistics(*port.view()).tx_dropped, 10u);
    port.count_tx_policed(7);
    EXPECT_EQ(standard_statistics(*port.view()).tx_dropped, 17u);

    /* What is counted of a device ends with it. */
    ASSERT_TRUE(set(&port, kGuid2));
    port.reconfigure(1);
    EXPECT_EQ(standard_statistics(*port.view()).tx_dropped, 0u);
}

/* A frame is counted once, as what became of it. */
TEST_F(PortTest, PolicedFramesAreDroppedFrames)
{
    add_bound_nics();
    Port port(&table_, "eth1", &netdev1_);
    ASSERT_TRUE(set(&port, kGuid1));
    last_device().counted.rx.size_bins[0] = 10;
    last_device().counted.rx.bytes = 1000;
    last_device().counted[Count::kRxDiscarded] = 1;
    port.count_rx_policed(4, 300);
    netvsc_port_stats stats = standard_statistics(*port.view());
    EXPECT_EQ(stats.rx_packets, 6u);
    EXPECT_EQ(stats.rx_bytes, 700u);
    EXPECT_EQ(stats.rx_dropped, 5u);
}

/* --- From one life of the switch to the next --- */

TEST_F(PortTest, TheAddressIsRemembered)
{
    add_bound_nics();
    world_.directory = root->state_directory();
    {
        PortTable table(kGlue, fake_claim);
        Port port(&table, "eth1", &netdev1_);
        ASSERT_TRUE(set(&port, kGuid1));
        EXPECT_FALSE(port.info().has_mac);
        attach(&last_device());
        EXPECT_TRUE(table.run(0));
    }
    PortTable table(kGlue, fake_claim);
    Port port(&table, "eth1", &netdev1_);
    ASSERT_TRUE(set(&port, kGuid1));
    ASSERT_TRUE(port.info().has_mac) << "before the host has said anything";
    EXPECT_EQ(port.info().mac[5], 3);
    EXPECT_NE(describe(*port.view()).find("00:15:5d:01:02:03, as it was last"),
              std::string::npos);
    attach(&last_device());
    EXPECT_FALSE(table.run(0)) << "the bridge knew it";

    /* The host gives another one. */
    world_.log.clear();
    last_device().now.mac[5] = 9;
    last_device().observer->status_changed();
    EXPECT_TRUE(table.run(0));
    EXPECT_EQ(world_.log,
              std::vector<std::string>{
                  std::string("INFO eth1: The host gives network device ") +
                  kGuid1 +
                  " the MAC address 00:15:5d:01:02:09; it had "
                  "00:15:5d:01:02:03 before."});
    EXPECT_EQ(port.info().mac[5], 9);
}

/* --- Texts and numbers --- */

PortView
sample_view()
{
    DeviceStatus s;
    s.state = DeviceState::kReady;
    s.sessions = 1;
    s.nvsp_version = 0x60001;
    s.ndis_major = 6;
    s.ndis_minor = 30;
    s.mtu = 1500;
    s.max_mtu = 1500;
    s.max_frame = 1514;
    s.link_speed = 10'000'000'000;
    s.n_rxq_requested = 4;
    s.n_rxq = 1;
    s.monitor_id = 7;
    return {.name = "eth1",
            .device = *Guid::parse(kGuid1),
            .known_mac = {},
            .status = s,
            .statistics = {},
            .drops = {},
            .ignored_options = {},
            .refused_mtu = {},
            .n_txq = 3};
}

std::map<std::string, std::string>
status_of(const PortView &view)
{
    Pairs pairs = status_pairs(view);
    std::map<std::string, std::string> status(pairs.begin(), pairs.end());
    EXPECT_EQ(status.size(), pairs.size()) << "a key twice";
    return status;
}

TEST(Report, StatusKeys)
{
    PortView view = sample_view();
    auto status = status_of(view);
    EXPECT_EQ(status["driver_name"], "netvsc");
    EXPECT_EQ(status["vmbus_guid"], kGuid1);
    EXPECT_EQ(status["nvsp_version"], "6.1");
    EXPECT_EQ(status["ndis_version"], "6.30");
    EXPECT_EQ(status["n_rxq"], "1");
    EXPECT_EQ(status["requested_n_rxq"], "4");
    EXPECT_EQ(status["n_txq"], "3");
    EXPECT_EQ(status["max_rx_pktlen"], "1518");
    EXPECT_EQ(status["link_speed"], "10Gbps");
    EXPECT_EQ(status["monitor_id"], "7");
    EXPECT_EQ(status["state"], "ready");
    EXPECT_FALSE(status.contains("error"));

    view.status.error = "The host is silent.";
    view.status.monitor_id.reset();
    status = status_of(view);
    EXPECT_EQ(status["error"], "The host is silent.");
    EXPECT_EQ(status["monitor_id"], "none");

    view.status = {};
    view.status.state = DeviceState::kOpening;
    status = status_of(view);
    EXPECT_EQ(status["state"], "opening");
    EXPECT_FALSE(status.contains("nvsp_version")) << "invented";
}

/* A device that is gone leaves its address, its counters and the reason. */
TEST(Report, NothingOfADeadSession)
{
    PortView view = sample_view();
    view.status.state = DeviceState::kRescinded;
    view.status.error = "The host took the device away.";
    auto status = status_of(view);
    EXPECT_EQ(status["error"], "The host took the device away.");
    EXPECT_EQ(status["sessions"], "1");
    for (const char *key :
         {"if_descr", "uio_device", "vmbus_relid", "monitor_id",
          "nvsp_version", "ndis_version", "link_speed", "n_rxq",
          "max_rx_queues", "max_mtu", "max_rx_pktlen", "receive_sections",
          "receive_section_size", "send_sections", "send_section_size",
          "packets_per_message"}) {
        EXPECT_FALSE(status.contains(key)) << key;
    }
    std::string text = describe(view);
    for (const char *title :
         {"uio", "10Gbps", "\n    MTU", "\n    queues", "\n    channel",
          "\n    versions", "\n    receive ", "\n    send "}) {
        EXPECT_EQ(text.find(title), std::string::npos) << title;
    }
    EXPECT_NE(text.find("\n    address"), std::string::npos);
}

TEST(Report, StandardColumns)
{
    PortView view = sample_view();
    Statistics &s = view.statistics;
    s.rx.bytes = 2;
    s[Count::kRxDiscarded] = 3;
    s.malformed[0] = 4;
    s.malformed[kMalformedCauses - 1] = 5;
    s.rx.multicast = 6;
    s.rx.size_bins[1] = 1;
    s.rx.size_bins[6] = 7;
    s.tx.bytes = 20;
    s[Count::kTxTooBig] = 100;
    s[Count::kTxTooSmall] = 1000;
    s[Count::kTxFailed] = 30;
    s.tx.size_bins[0] = 40;
    /* Causes of frames that count as not taken: not to be added again. */
    s[Count::kTxNoSection] = 1 << 20;
    s[Count::kTxRingFull] = 1 << 20;
    view.drops = {.not_taken = 10000,
                  .no_session = 100000,
                  .down = 1000000,
                  .not_ethernet = 10000000};
    netvsc_port_stats stats = standard_statistics(view);
    EXPECT_EQ(stats.rx_packets, 8u);
    EXPECT_EQ(stats.rx_bytes, 2u);
    EXPECT_EQ(stats.rx_dropped, 3u);
    EXPECT_EQ(stats.rx_errors, 9u);
    EXPECT_EQ(stats.rx_multicast, 6u);
    EXPECT_EQ(stats.rx_bins[6], 7u);
    EXPECT_EQ(stats.tx_packets, 40u);
    EXPECT_EQ(stats.tx_bytes, 20u);
    EXPECT_EQ(stats.tx_dropped, 11111100u);
    EXPECT_EQ(stats.tx_errors, 30u);
    EXPECT_EQ(stats.tx_bins[0], 40u);
}

TEST(Report, CustomCountersHaveNamesOfTheirOwn)
{
    std::set<std::string> names;
    for (const auto &[name, value] : custom_statistics(sample_view())) {
        EXPECT_TRUE(name.starts_with("netvsc_")) << name;
        EXPECT_LT(name.size(), 64u) << "OVS cuts it";
        EXPECT_TRUE(names.insert(name).second) << name;
    }
    EXPECT_TRUE(names.contains("netvsc_rx_malformed_range"));
    EXPECT_TRUE(names.contains("netvsc_signals"));
}

TEST(Report, ShowFitsATerminal)
{
    PortView view = sample_view();
    view.drops.not_taken = UINT64_MAX;
    view.statistics.rx.size_bins[0] = view.statistics.rx.bytes = UINT64_MAX;
    view.statistics.malformed.fill(UINT64_MAX);
    view.status.error = "The host has said nothing for sixty seconds about a "
                        "question that it has always answered before: look "
                        "at the host's event log.";
    std::istringstream text(describe(view));
    std::string line;
    std::getline(text, line);
    EXPECT_EQ(line, "eth1:");
    while (std::getline(text, line)) {
        EXPECT_LE(line.size(), 79u) << line;
        EXPECT_TRUE(line.starts_with("    ")) << line;
        EXPECT_FALSE(line.ends_with(" ")) << line;
    }
}

TEST(Report, Speeds)
{
    EXPECT_EQ(speed_text(0), "Unknown");
    EXPECT_EQ(speed_text(100'000'000), "100Mbps");
    EXPECT_EQ(speed_text(2'500'000'000), "2500Mbps");
    EXPECT_EQ(speed_text(25'000'000'000), "25Gbps");
}

} // namespace
