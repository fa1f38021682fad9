/* The VMBus of a VM, with a kernel that the test plays: messages from literal
 * offsets of the reference, in a guest's memory without a guest. */

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "host/base/error.h"
#include "host/vmm/vm_machine.h"
#include "tests/unit/host_guest.h"

namespace netvsc::host::vmm::test {

namespace {

namespace fs = std::filesystem;
using host::test::Buffer;
using host::test::from_hex;
using host::test::Message;
using host::test::to_hex;

constexpr char kFirst[] = "01020304-0506-0708-090a-0b0c0d0e0f10";
constexpr char kSecond[] = "f8615163-0000-1000-2000-00155d000002";

constexpr size_t kPage = 4096;
constexpr size_t kRamPages = 4096;
constexpr uint64_t kMonitorPage = 17;

constexpr auto kPatience = std::chrono::seconds(20);

/* Message numbers (B.2). */
constexpr uint32_t kOffer = 1;
constexpr uint32_t kRescind = 2;
constexpr uint32_t kAllOffers = 4;
constexpr uint32_t kOpenResult = 6;
constexpr uint32_t kCreated = 10;
constexpr uint32_t kTorndown = 12;
constexpr uint32_t kVersionResponse = 15;
constexpr uint32_t kUnloadResponse = 17;
constexpr uint32_t kModifyResponse = 24;

class FakeRam : public GuestRam {
public:
    MutableBytes
    bytes() override
    {
        return memory_.bytes();
    }
    int
    fd() const override
    {
        return memory_.fd();
    }

private:
    SharedMemory memory_{"guest-ram", kRamPages *kPage};
};

/* A machine of two vCPUs that keeps what the guest was told. */
class FakeHypervisor : public Hypervisor {
public:
    GuestRam &
    ram() override
    {
        return ram_;
    }
    unsigned
    vcpus() const override
    {
        return 2;
    }
    bool
    post_message(unsigned vcpu, Bytes message) override
    {
        std::lock_guard lock(mutex);
        if (deaf) {
            lost++;
            changed.notify_all();
            return false;
        }
        messages.emplace_back(message.begin(), message.end());
        vcpu_of_messages = vcpu;
        changed.notify_all();
        return true;
    }
    void
    set_event_flag(unsigned vcpu, uint32_t relid) override
    {
        std::lock_guard lock(mutex);
        flags.emplace_back(vcpu, relid);
        changed.notify_all();
    }

    std::mutex mutex;
    std::condition_variable changed;
    std::deque<Buffer> messages;
    unsigned vcpu_of_messages = 99;
    std::vector<std::pair<unsigned, uint32_t>> flags;
    bool deaf = false;
    unsigned lost = 0;

private:
    FakeRam ram_;
};

std::vector<uint64_t>
page_range(uint64_t first, size_t count)
{
    std::vector<uint64_t> pages(count);
    for (size_t i = 0; i < count; i++) {
        pages[i] = first + i;
    }
    return pages;
}

/* --- The kernel's messages (B.3) --------------------------------------- */

Message
header(uint32_t type)
{
    return Message().u32(type).u32(0);
}

Message
contact(uint32_t version, uint32_t vcpu = 0,
        uint64_t monitor_page = kMonitorPage * kPage)
{
    return header(14)
        .u32(version)
        .u32(vcpu)
        .u64(2)
        .u64(16 * kPage)
        .u64(monitor_page);
}

Message
open_request(uint32_t relid, uint32_t gpadl, uint32_t downstream,
             uint32_t vcpu = 0)
{
    return header(5)
        .u32(relid)
        .u32(0x77)
        .u32(gpadl)
        .u32(vcpu)
        .u32(downstream)
        .zeros(120);
}

Message
gpadl_header(uint32_t relid, uint32_t gpadl, uint32_t byte_count,
             std::span<const uint64_t> pages, uint16_t range_bytes,
             uint16_t ranges = 1, uint32_t offset = 0)
{
    Message message = header(8)
                          .u32(relid)
                          .u32(gpadl)
                          .u16(range_bytes)
                          .u16(ranges)
                          .u32(byte_count)
                          .u32(offset);
    for (uint64_t page : pages) {
        message.u64(page);
    }
    return message;
}

class VmmBus : public testing::Test {
protected:
    void
    SetUp() override
    {
        char name[] = "/tmp/vmm-bus-XXXXXX";
        ASSERT_NE(mkdtemp(name), nullptr);
        directory_ = name;
        trace.emplace(trace_path(), TraceFile::kSnapAll);
        start();
    }
    void
    TearDown() override
    {
        machine.reset();
        EXPECT_TRUE(fs::is_empty(directory_ / "root"));
        fs::remove_all(directory_);
    }
    void
    start(uint32_t max_version = wire::vmbus::kVersion53)
    {
        machine.reset();
        machine.emplace(hypervisor, directory_ / "root", max_version, &*trace);
    }
    void
    add(const std::string &guid, const std::string &rest = "")
    {
        machine->add(parse_nic("guid=" + guid + rest));
    }

    /* Posts as Linux does: again while the host has no room. */
    void
    post(Bytes message, uint32_t connection = 4)
    {
        auto deadline = std::chrono::steady_clock::now() + kPatience;
        uint16_t status;
        do {
            status = machine->message_posted(connection, 1, message);
        } while (status == kStatusInsufficientBuffers &&
                 std::chrono::steady_clock::now() < deadline);
        ASSERT_EQ(status, kStatusSuccess);
    }
    /* The next message, padded to the longest. */
    Buffer
    take()
    {
        std::unique_lock lock(hypervisor.mutex);
        if (!hypervisor.changed.wait_for(lock, kPatience, [&] {
                return !hypervisor.messages.empty();
            })) {
            ADD_FAILURE() << "no message";
            throw std::runtime_error("no message");
        }
        Buffer message = std::move(hypervisor.messages.front());
        hypervisor.messages.pop_front();
        message.resize(240);
        return message;
    }
    /* It must be of this type. */
    Buffer
    expect(uint32_t type)
    {
        Buffer message = take();
        EXPECT_EQ(load<uint32_t>(message), type) << to_hex(message);
        return message;
    }
    /* All that was posted has been handled: refuses a GPADL. */
    void
    settle()
    {
        post(gpadl_header(0, 5, kPage, {}, 8));
        EXPECT_EQ(load<uint32_t>(expect(kCreated), 8), 0u);
    }
    /* The same without contact: nothing was answered. */
    void
    expect_silence()
    {
        post(contact(0x00990000));
        EXPECT_EQ(expect(kVersionResponse)[8], std::byte{0});
    }
    std::pair<unsigned, uint32_t>
    wait_flag()
    {
        std::unique_lock lock(hypervisor.mutex);
        if (!hypervisor.changed.wait_for(
                lock, kPatience, [&] { return !hypervisor.flags.empty(); })) {
            ADD_FAILURE() << "no event flag";
            return {};
        }
        auto flag = hypervisor.flags.front();
        hypervisor.flags.clear();
        return flag;
    }

    void
    connect(uint32_t version = 0x00050003)
    {
        post(contact(version), version >= 0x00050000 ? 4 : 1);
        Buffer answer = expect(kVersionResponse);
        ASSERT_EQ(answer[8], std::byte{1});
    }
    /* Asks for the offers; the relid of each. */
    std::vector<uint32_t>
    offers()
    {
        post(header(3));
        std::vector<uint32_t> relids;
        for (size_t i = 0; i < machine->list().size(); i++) {
            relids.push_back(load<uint32_t>(expect(kOffer), 184));
        }
        (void) expect(kAllOffers);
        return relids;
    }
    uint32_t
    only_offer(uint32_t version = 0x00050003)
    {
        connect(version);
        std::vector<uint32_t> relids = offers();
        EXPECT_EQ(relids.size(), 1u);
        return relids.empty() ? 0 : relids[0];
    }
    void
    send_gpadl(uint32_t relid, uint32_t gpadl, std::span<const uint64_t> pages)
    {
        auto all = static_cast<uint32_t>(pages.size());
        size_t first = std::min<size_t>(all, 26);
        post(gpadl_header(relid, gpadl, all * kPage, pages.first(first),
                          static_cast<uint16_t>(8 + 8 * all)));
        for (pages = pages.subspan(first); !pages.empty();) {
            Message body = header(9).u32(0).u32(gpadl);
            size_t count = std::min<size_t>(pages.size(), 28);
            for (uint64_t page : pages.first(count)) {
                body.u64(page);
            }
            post(body);
            pages = pages.subspan(count);
        }
    }
    void
    establish(uint32_t relid, uint32_t gpadl, std::span<const uint64_t> pages)
    {
        send_gpadl(relid, gpadl, pages);
        Buffer answer = expect(kCreated);
        EXPECT_EQ(load<uint32_t>(answer, 8), relid);
        EXPECT_EQ(load<uint32_t>(answer, 12), gpadl);
        EXPECT_EQ(load<uint32_t>(answer, 16), 0u);
    }
    uint32_t
    open(uint32_t relid, uint32_t gpadl, uint32_t downstream,
         uint32_t vcpu = 0)
    {
        post(open_request(relid, gpadl, downstream, vcpu));
        Buffer answer = expect(kOpenResult);
        EXPECT_EQ(load<uint32_t>(answer, 8), relid);
        EXPECT_EQ(load<uint32_t>(answer, 12), 0x77u);
        return load<uint32_t>(answer, 16);
    }
    void
    teardown(uint32_t relid, uint32_t gpadl)
    {
        post(header(11).u32(relid).u32(gpadl));
        EXPECT_EQ(load<uint32_t>(expect(kTorndown), 8), gpadl);
    }
    void
    close(uint32_t relid)
    {
        post(header(7).u32(relid));
    }
    std::string
    state(const std::string &guid = kFirst)
    {
        return machine->stats(guid)["state"];
    }

    /* Rings of 8 pages each, not two of which are neighbours. */
    static constexpr uint32_t kDownstream = 8;
    std::vector<uint64_t>
    ring_pages() const
    {
        std::vector<uint64_t> pages;
        for (uint64_t i = 0; i < 2 * kDownstream; i++) {
            pages.push_back(200 - 2 * i);
        }
        return pages;
    }
    /* Does what a kernel does before OPEN: formats its rings and maps them.
     */
    void
    make_rings()
    {
        rings.emplace(hypervisor.ram(), ring_pages());
        for (MutableBytes ring : {to_host(), to_guest()}) {
            std::ranges::fill(ring.first(kPage), std::byte{0});
            store(ring, 64, uint32_t{1});
        }
    }
    MutableBytes
    to_host()
    {
        return rings->bytes().first(kDownstream * kPage);
    }
    MutableBytes
    to_guest()
    {
        return rings->bytes().subspan(kDownstream * kPage);
    }
    void
    open_rings(uint32_t relid, uint32_t gpadl = 71)
    {
        establish(relid, gpadl, ring_pages());
        make_rings();
        ASSERT_EQ(open(relid, gpadl, kDownstream), 0u);
    }
    std::optional<host::test::HostPacket>
    wait_packet()
    {
        auto deadline = std::chrono::steady_clock::now() + kPatience;
        std::optional<host::test::HostPacket> packet;
        while (!packet && std::chrono::steady_clock::now() < deadline) {
            packet = host::test::read_packet(to_guest());
        }
        EXPECT_TRUE(packet);
        return packet;
    }
    void
    signal_monitor(uint32_t id)
    {
        MutableBytes page = hypervisor.ram().at(kMonitorPage * kPage, kPage);
        std::atomic_ref(
            *reinterpret_cast<uint32_t *>(page.data() + 8 + 8 * (id / 32)))
            .fetch_or(1u << id % 32);
    }
    uint16_t
    signal_event(uint32_t relid)
    {
        return machine->event_signalled(relid | 0x2000, 0);
    }
    /* One request on the ring and its answer. */
    Buffer
    request(uint32_t relid, uint64_t trans_id, Bytes payload)
    {
        host::test::write_packet(to_host(), 6, trans_id, 1, {}, payload);
        EXPECT_EQ(signal_event(relid), kStatusSuccess);
        std::optional<host::test::HostPacket> packet = wait_packet();
        if (!packet || packet->type != 11 || packet->trans_id != trans_id) {
            ADD_FAILURE() << "no completion of " << trans_id;
            return Buffer(40);
        }
        return packet->payload;
    }
    bool
    nvsp_init(uint32_t relid)
    {
        Buffer answer = request(
            relid, 9,
            Message().u32(1).u32(0x00060001).u32(0x00060001).zeros(28));
        return load<uint32_t>(answer, 12) == 1;
    }

    fs::path
    trace_path() const
    {
        return directory_ / "trace";
    }

    fs::path directory_;
    std::optional<TraceFile> trace;
    FakeHypervisor hypervisor;
    std::optional<VmMachine> machine;
    std::optional<PageMapping> rings;
};

/* --- Contact (B.5) ----------------------------------------------------- */

TEST_F(VmmBus, AcceptsEveryVersionThatLinuxTries)
{
    for (uint32_t version : {0x00050003, 0x00050002, 0x00050001, 0x00050000,
                             0x00040001, 0x00040000, 0x00030000, 0x00020004}) {
        post(contact(version, 1), version >= 0x00050000 ? 4 : 1);
        Buffer answer = expect(kVersionResponse);
        EXPECT_EQ(answer[8], std::byte{1});
        EXPECT_EQ(answer[9], std::byte{0});
        EXPECT_EQ(load<uint32_t>(answer, 12),
                  version >= 0x00050000 ? 4u : version);
        EXPECT_EQ(hypervisor.vcpu_of_messages, 1u);
    }
}

TEST_F(VmmBus, RefusesVersionsAboveItsOwn)
{
    for (uint32_t version : {0x00060000u, 0x00990000u, 0x00000000u}) {
        post(contact(version));
        EXPECT_EQ(expect(kVersionResponse)[8], std::byte{0});
    }
    start(parse_version("4.0"));
    EXPECT_EQ(machine->message_posted(4, 1, contact(0x00050003)),
              kStatusInvalidConnectionId);
    post(contact(0x00040001), 1);
    EXPECT_EQ(expect(kVersionResponse)[8], std::byte{0});
    post(contact(0x00040000), 1);
    EXPECT_EQ(expect(kVersionResponse)[8], std::byte{1});
    EXPECT_THROW((void) parse_version("4.7"), HostError);
}

TEST_F(VmmBus, AnswersWithMessagesOfTheExactSize)
{
    add(kFirst);
    post(contact(0x00050003));
    post(header(3));
    std::unique_lock lock(hypervisor.mutex);
    ASSERT_TRUE(hypervisor.changed.wait_for(
        lock, kPatience, [&] { return hypervisor.messages.size() == 3; }));
    EXPECT_EQ(hypervisor.messages[0].size(), 16u);
    EXPECT_EQ(hypervisor.messages[1].size(), 196u);
    EXPECT_EQ(hypervisor.messages[2].size(), 8u);
}

TEST_F(VmmBus, OffersANicAsTheReferenceLaysItOut)
{
    add(kFirst, ",latency-us=50");
    connect();
    post(header(3));
    Buffer offer = expect(kOffer);
    Buffer begin(offer.begin() + 8, offer.begin() + 40);
    EXPECT_EQ(to_hex(begin), to_hex(from_hex("635161f83edfc546913ff2d2f965ed0e"
                                             "0403020106050807"
                                             "090a0b0c0d0e0f10")));
    EXPECT_EQ(load<uint16_t>(offer, 180), 0u);
    EXPECT_EQ(load<uint32_t>(offer, 184), 1u);
    EXPECT_EQ(offer[188], std::byte{0});
    EXPECT_EQ(offer[189], std::byte{1});
    EXPECT_EQ(load<uint16_t>(offer, 190), 1u);
    EXPECT_EQ(load<uint32_t>(offer, 192), 0x2001u);
    (void) expect(kAllOffers);
    /* The monitor page was there before the guest heard of the id (B.11). */
    Bytes page = hypervisor.ram().at(kMonitorPage * kPage, kPage);
    EXPECT_EQ(load<uint32_t>(page, 0), 15u);
    EXPECT_EQ(load<uint16_t>(page, 0x240), 500u);
    EXPECT_EQ(load<uint32_t>(page, 0x440), 0x2001u);
}

TEST_F(VmmBus, OffersWithoutAMonitorWhereThereIsNone)
{
    add(kFirst, ",monitor=no");
    EXPECT_TRUE(machine->list()[0]["monitor_id"].is_null());
    connect();
    post(header(3));
    Buffer offer = expect(kOffer);
    EXPECT_EQ(offer[188], std::byte{0xff});
    EXPECT_EQ(offer[189], std::byte{0});
    (void) expect(kAllOffers);
    add(kSecond);
    EXPECT_EQ(expect(kOffer)[189], std::byte{1});
    /* Nor where the guest gives no page for it, or none that it has. */
    for (uint64_t page : {uint64_t{0}, uint64_t{100}, kRamPages * kPage,
                          UINT64_MAX / kPage * kPage}) {
        post(contact(0x00050003, 0, page));
        EXPECT_EQ(expect(kVersionResponse)[8], std::byte{1});
        post(header(3));
        EXPECT_EQ(expect(kOffer)[189], std::byte{0});
        EXPECT_EQ(expect(kOffer)[189], std::byte{0});
        (void) expect(kAllOffers);
    }
}

/* --- A channel's life (B.6) -------------------------------------------- */

TEST_F(VmmBus, ServesTheWholeLifeOfAChannel)
{
    add(kFirst);
    uint32_t relid = only_offer();
    EXPECT_EQ(state(), "closed");
    for (int round = 0; round < 3; round++) {
        open_rings(relid);
        EXPECT_EQ(state(), "open");
        EXPECT_TRUE(nvsp_init(relid));
        EXPECT_EQ(wait_flag(), (std::pair{0u, relid}));
        close(relid);
        teardown(relid, 71);
        EXPECT_EQ(state(), "closed");
    }
    EXPECT_EQ(machine->stats(kFirst)["sessions"], 3);
    EXPECT_EQ(machine->stats(kFirst)["protocol_errors"], 0);
    post(header(16));
    (void) expect(kUnloadResponse);
}

TEST_F(VmmBus, DoesNotFormatTheRingsForTheGuest)
{
    add(kFirst);
    uint32_t relid = only_offer();
    establish(relid, 71, ring_pages());
    make_rings();
    /* What 6.1's kernel leaves of the previous user (C.8). */
    store(to_guest(), 8, uint32_t{1});
    ASSERT_EQ(open(relid, 71, kDownstream), 0u);
    EXPECT_EQ(load<uint32_t>(to_guest(), 8), 1u);
    EXPECT_TRUE(nvsp_init(relid));
    /* Masked: the answer is there, the interrupt is not. */
    (void) machine->stats(kFirst);
    std::lock_guard lock(hypervisor.mutex);
    EXPECT_TRUE(hypervisor.flags.empty());
}

TEST_F(VmmBus, HearsTheMonitorPage)
{
    add(kFirst);
    add(kSecond);
    connect();
    std::vector<uint32_t> relids = offers();
    ASSERT_EQ(relids.size(), 2u);
    open_rings(relids[1]);
    host::test::write_packet(
        to_host(), 6, 5, 1, {},
        Message().u32(1).u32(0x00060001).u32(0x00060001).zeros(28));
    signal_monitor(machine->list()[1]["monitor_id"]);
    EXPECT_TRUE(wait_packet());
    EXPECT_EQ(state(kSecond), "open");
}

TEST_F(VmmBus, HearsHypercallsOfItsChannelsAlone)
{
    add(kFirst, ",monitor=no");
    uint32_t relid = only_offer();
    EXPECT_EQ(machine->event_signalled(relid | 0x2000, 0), kStatusSuccess);
    EXPECT_EQ(machine->event_signalled(relid | 0x2000, 1),
              kStatusInvalidParameter);
    EXPECT_EQ(machine->event_signalled(relid, 0), kStatusInvalidConnectionId);
    EXPECT_EQ(machine->event_signalled(2, 0), kStatusInvalidConnectionId);
    machine->remove(kFirst);
    EXPECT_EQ(machine->event_signalled(relid | 0x2000, 0),
              kStatusInvalidConnectionId);
}

TEST_F(VmmBus, InterruptsTheVcpuThatTheGuestNames)
{
    add(kFirst);
    for (uint32_t version : {0x00050003u, 0x00050002u}) {
        uint32_t relid = only_offer(version);
        open_rings(relid);
        post(header(22).u32(relid).u32(1));
        if (version == 0x00050003) {
            Buffer answer = expect(kModifyResponse);
            EXPECT_EQ(load<uint32_t>(answer, 8), relid);
            EXPECT_EQ(load<uint32_t>(answer, 12), 0u);
            post(header(22).u32(relid).u32(2));
            EXPECT_NE(load<uint32_t>(expect(kModifyResponse), 12), 0u);
        }
        settle();
        EXPECT_TRUE(nvsp_init(relid));
        EXPECT_EQ(wait_flag(), (std::pair{1u, relid}));
    }
}

/* --- Goodbyes ---------------------------------------------------------- */

TEST_F(VmmBus, RescindsAnOpenChannelAndOffersItAgain)
{
    add(kFirst);
    uint32_t relid = only_offer();
    open_rings(relid);
    EXPECT_TRUE(nvsp_init(relid));
    machine->reoffer(kFirst);
    EXPECT_EQ(load<uint32_t>(expect(kRescind), 8), relid);
    EXPECT_EQ(state(), "closed");
    /* What a guest still says of the dead channel (B.6). */
    close(relid);
    post(open_request(relid, 71, kDownstream));
    establish(relid, 99, page_range(300, 2));
    teardown(relid, 99);
    teardown(relid, 71);
    /* Linux loses the offer of an instance that it still has. */
    settle();
    post(header(13).u32(relid));
    uint32_t next = load<uint32_t>(expect(kOffer), 184);
    EXPECT_NE(next, relid);
    open_rings(next, 72);
    EXPECT_TRUE(nvsp_init(next));
    EXPECT_EQ(machine->stats(kFirst)["sessions"], 2);
}

TEST_F(VmmBus, ReleasesWhatARescindedChannelHad)
{
    /* Linux sends no teardown for it: RELID_RELEASED ends its GPADLs. */
    add(kFirst);
    uint32_t relid = only_offer();
    establish(relid, 71, ring_pages());
    machine->remove(kFirst);
    (void) expect(kRescind);
    post(header(13).u32(relid));
    add(kSecond);
    uint32_t next = load<uint32_t>(expect(kOffer), 184);
    establish(next, 71, ring_pages());
}

TEST_F(VmmBus, KeepsTheIdsOfAChannelUntilTheGuestReleasesThem)
{
    connect();
    post(header(3));
    (void) expect(kAllOffers);
    std::set<uint32_t> relids;
    std::set<unsigned> monitor_ids;
    for (int i = 0; i < 128; i++) {
        std::string guid = kFirst;
        guid.replace(0, 3, std::to_string(100 + i));
        add(guid);
        Buffer offer = expect(kOffer);
        relids.insert(load<uint32_t>(offer, 184));
        monitor_ids.insert(std::to_integer<unsigned>(offer[188]));
        machine->remove(guid);
        (void) expect(kRescind);
    }
    EXPECT_EQ(relids.size(), 128u);
    EXPECT_EQ(monitor_ids.size(), 128u);
    EXPECT_THROW(add(kFirst), HostError);
    add(kFirst, ",monitor=no");
    (void) expect(kOffer);
    post(header(13).u32(*relids.rbegin()));
    settle();
    add(kSecond);
    EXPECT_GT(load<uint32_t>(expect(kOffer), 184), 128u);
}

TEST_F(VmmBus, StartsCleanAtUnloadContactAndReset)
{
    add(kFirst);
    uint32_t relid = only_offer();
    std::function<void()> ends[] = {
        [&] {
            post(header(16));
            (void) expect(kUnloadResponse);
            connect();
        },
        [&] { connect(0x00040000); },
        [&] {
            machine->guest_gone();
            connect();
        },
    };
    for (auto &end : ends) {
        open_rings(relid);
        EXPECT_TRUE(nvsp_init(relid));
        end();
        EXPECT_EQ(state(), "closed");
        EXPECT_EQ(offers(), std::vector{relid});
    }
    post(header(16));
    (void) expect(kUnloadResponse);
    /* Without contact there is nothing to be had, and nobody to tell. */
    post(header(3));
    add(kSecond);
    machine->remove(kSecond);
    expect_silence();
}

/* --- Hostile guests ---------------------------------------------------- */

TEST_F(VmmBus, SurvivesMessagesOfEveryTypeAndLength)
{
    add(kFirst);
    uint32_t relid = only_offer();
    for (uint32_t type = 0; type < 40; type++) {
        Message message = header(type).u32(relid);
        while (message.buffer().size() < 240) {
            message.u32(0xffffffff);
        }
        for (size_t size = 0; size <= 240; size += 4) {
            post(Bytes(message.buffer()).first(size));
        }
    }
    EXPECT_EQ(machine->message_posted(4, 2, header(3)),
              kStatusInvalidParameter);
    EXPECT_EQ(machine->message_posted(7, 1, header(3)),
              kStatusInvalidConnectionId);
    EXPECT_EQ(machine->message_posted(4, 1, Buffer(241)),
              kStatusInvalidParameter);
    /* The answers so far are of no interest. */
    post(contact(0x00050003));
    for (Buffer answer = take(); load<uint32_t>(answer) != kVersionResponse ||
                                 answer[8] == std::byte{0};) {
        answer = take();
    }
    relid = offers().at(0);
    open_rings(relid);
    EXPECT_TRUE(nvsp_init(relid));
}

TEST_F(VmmBus, RefusesGpadlsThatCannotBe)
{
    add(kFirst);
    uint32_t relid = only_offer();
    establish(relid, 1, page_range(100, 2));
    std::vector<uint64_t> page = {100};
    std::vector<uint64_t> outside = {kRamPages};
    std::vector<uint64_t> beyond = {UINT64_MAX};
    std::vector<uint64_t> wraps = {(UINT64_MAX >> 12) + 1};
    struct {
        const char *what;
        Message message;
    } wrong[] = {
        {"page outside", gpadl_header(relid, 2, kPage, outside, 16)},
        {"page far outside", gpadl_header(relid, 2, kPage, beyond, 16)},
        {"address wraps", gpadl_header(relid, 2, kPage, wraps, 16)},
        {"no range", gpadl_header(relid, 2, kPage, page, 16, 0)},
        {"two ranges", gpadl_header(relid, 2, kPage, page, 32, 2)},
        {"no bytes", gpadl_header(relid, 2, 0, page, 16)},
        {"half a page", gpadl_header(relid, 2, 2048, page, 16)},
        {"an offset", gpadl_header(relid, 2, kPage, page, 16, 1, 8)},
        {"fewer numbers", gpadl_header(relid, 2, 2 * kPage, page, 16)},
        {"4 GiB", gpadl_header(relid, 2, 0xfffff000, page, 0xffff)},
        {"a number in use", gpadl_header(relid, 1, kPage, page, 16)},
        {"no such channel", gpadl_header(99, 2, kPage, page, 16)},
        {"relid 0", gpadl_header(0, 2, kPage, page, 16)},
        {"relid out of range", gpadl_header(2048, 2, kPage, page, 16)},
    };
    for (const auto &item : wrong) {
        post(item.message);
        Buffer answer = expect(kCreated);
        EXPECT_NE(load<uint32_t>(answer, 16), 0u) << item.what;
    }
    /* Bodies of nobody, and of one that is complete. */
    post(header(9).u32(0).u32(55).u64(1));
    post(header(9).u32(0).u32(1).u64(1));
    post(header(11).u32(relid).u32(55));
    post(header(11).u32(99).u32(1));
    /* Padding is none of them. */
    post(gpadl_header(relid, 3, kPage, page_range(100, 5), 48));
    EXPECT_EQ(load<uint32_t>(expect(kCreated), 16), 0u);
    teardown(relid, 1);
    establish(relid, 1, page_range(100, 60));
}

TEST_F(VmmBus, RefusesToOpenWhatCannotBe)
{
    add(kFirst);
    add(kSecond);
    connect();
    std::vector<uint32_t> relids = offers();
    ASSERT_EQ(relids.size(), 2u);
    uint32_t relid = relids[0];
    establish(relid, 1, ring_pages());
    establish(relids[1], 2, page_range(300, 16));
    /* A header without its bodies is no GPADL yet. */
    post(gpadl_header(relid, 3, 40 * kPage, page_range(300, 26), 8 + 320));
    EXPECT_NE(open(relid, 3, 20), 0u);
    EXPECT_NE(open(relid, 2, 8), 0u);
    EXPECT_NE(open(relid, 99, 8), 0u);
    EXPECT_NE(open(relid, 1, 0), 0u);
    EXPECT_NE(open(relid, 1, 1), 0u);
    EXPECT_NE(open(relid, 1, 15), 0u);
    EXPECT_NE(open(relid, 1, 16), 0u);
    EXPECT_NE(open(relid, 1, UINT32_MAX), 0u);
    EXPECT_NE(open(relid, 1, 8, 2), 0u);
    EXPECT_NE(open(99, 1, 8), 0u);
    EXPECT_NE(open(UINT32_MAX, 1, 8), 0u);
    EXPECT_EQ(state(), "closed");
    make_rings();
    EXPECT_EQ(open(relid, 1, kDownstream), 0u);
    EXPECT_NE(open(relid, 1, kDownstream), 0u);
    EXPECT_TRUE(nvsp_init(relid));
    EXPECT_EQ(machine->stats(kFirst)["sessions"], 1);
    close(relids[1]);
    close(99);
    post(header(13).u32(relid));
    settle();
    EXPECT_EQ(state(), "open");
}

TEST_F(VmmBus, ClosesAChannelWhoseRingsAreTornDown)
{
    add(kFirst);
    uint32_t relid = only_offer();
    open_rings(relid);
    EXPECT_TRUE(nvsp_init(relid));
    teardown(relid, 71);
    EXPECT_EQ(state(), "closed");
    open_rings(relid);
    EXPECT_TRUE(nvsp_init(relid));
}

TEST_F(VmmBus, BoundsTheGpadlsOfAGuest)
{
    add(kFirst);
    uint32_t relid = only_offer();
    size_t created = 0;
    size_t refused = 0;
    for (uint32_t i = 0; i < 10'000; i++) {
        post(gpadl_header(relid, 1000 + i, kPage,
                          std::vector<uint64_t>{i % kRamPages}, 16));
        bool good = load<uint32_t>(expect(kCreated), 16) == 0;
        created += good;
        refused += !good;
    }
    EXPECT_EQ(created, Gpadls::kMaxGpadls);
    EXPECT_EQ(refused, 10'000 - Gpadls::kMaxGpadls);
    /* Headers that promise much hold it as long as they are there. */
    relid = only_offer();
    created = 0;
    for (uint32_t i = 0; i < 100; i++) {
        post(gpadl_header(relid, i, 8190 * kPage, page_range(0, 26), 65528));
    }
    post(gpadl_header(relid, 200, 8190 * kPage, page_range(0, 26), 65528));
    for (uint32_t i = 0; i <= 100 - Gpadls::kMaxPages / 8190; i++) {
        EXPECT_NE(load<uint32_t>(expect(kCreated), 16), 0u);
    }
    relid = only_offer();
    open_rings(relid);
    EXPECT_TRUE(nvsp_init(relid));
}

TEST_F(VmmBus, BoundsTheMappingsOfAGuest)
{
    add(kFirst);
    uint32_t relid = only_offer();
    std::vector<uint64_t> scattered(8190);
    for (size_t i = 0; i < scattered.size(); i++) {
        scattered[i] = 2 * i % kRamPages;
    }
    size_t runs = count_runs(scattered);
    for (uint32_t i = 0; i < Gpadls::kMaxRuns / runs; i++) {
        establish(relid, i, scattered);
    }
    send_gpadl(relid, 100, scattered);
    EXPECT_NE(load<uint32_t>(expect(kCreated), 16), 0u);
    teardown(relid, 0);
    establish(relid, 100, scattered);
}

TEST_F(VmmBus, BoundsWhatWaitsForTheBus)
{
    /* The bus's thread waits for the test in the middle of an answer. */
    std::unique_lock lock(hypervisor.mutex);
    size_t taken = 0;
    while (machine->message_posted(4, 1, contact(0x00050003)) ==
               kStatusSuccess &&
           taken < 10'000) {
        taken++;
    }
    EXPECT_GE(taken, 300u);
    EXPECT_LE(taken, 2100u);
    lock.unlock();
    for (size_t i = 0; i < taken; i++) {
        (void) expect(kVersionResponse);
    }
}

TEST_F(VmmBus, OutlivesAGuestThatTakesNoMessages)
{
    add(kFirst);
    hypervisor.deaf = true;
    post(contact(0x00050003));
    post(header(3));
    {
        std::unique_lock lock(hypervisor.mutex);
        ASSERT_TRUE(hypervisor.changed.wait_for(
            lock, kPatience, [&] { return hypervisor.lost == 3; }));
        hypervisor.deaf = false;
    }
    uint32_t relid = only_offer();
    open_rings(relid);
    EXPECT_TRUE(nvsp_init(relid));
}

/* --- GPADLs ------------------------------------------------------------ */

TEST_F(VmmBus, MapsPagesInTheOrderOfTheList)
{
    GuestRam &ram = hypervisor.ram();
    std::vector<uint64_t> pages = {9, 10, 11, 5, 4, 3, 20, 20, 4095, 0};
    EXPECT_EQ(count_runs(pages), 8u);
    PageMapping mapping(ram, pages);
    ASSERT_EQ(mapping.bytes().size(), pages.size() * kPage);
    for (size_t i = 0; i < pages.size(); i++) {
        store(ram.bytes(), pages[i] * kPage + 8, pages[i]);
        EXPECT_EQ(load<uint64_t>(mapping.bytes(), i * kPage + 8), pages[i]);
        store(mapping.bytes(), i * kPage + 16, ~pages[i]);
        EXPECT_EQ(load<uint64_t>(ram.bytes(), pages[i] * kPage + 16),
                  ~pages[i]);
    }
}

/* --- A session over it ------------------------------------------------- */

TEST_F(VmmBus, CarriesAnNvspSession)
{
    add(kFirst, ",section-size=2048");
    uint32_t relid = only_offer();
    /* Buffers as uio_hv_generic has them: established before the open. */
    std::vector<uint64_t> receive = page_range(1000, 64);
    std::vector<uint64_t> send = page_range(2000, 40);
    std::ranges::reverse(receive);
    establish(relid, 81, receive);
    establish(relid, 82, send);
    open_rings(relid);
    ASSERT_TRUE(nvsp_init(relid));
    host::test::write_packet(
        to_host(), 6, 0, 0, {},
        Message().u32(125).u32(1514).u32(0).u64(8).zeros(20));
    host::test::write_packet(to_host(), 6, 0, 0, {},
                             Message().u32(100).u32(6).u32(30).zeros(28));
    Buffer answer =
        request(relid, 2, Message().u32(101).u32(81).u16(0xcafe).zeros(30));
    ASSERT_EQ(load<uint32_t>(answer, 4), 1u);
    uint32_t suballoc = load<uint32_t>(answer, 16);
    EXPECT_EQ(load<uint32_t>(answer, 20), 64 * kPage / suballoc);
    answer = request(relid, 3, Message().u32(104).u32(82).u16(0).zeros(30));
    ASSERT_EQ(load<uint32_t>(answer, 4), 1u);
    EXPECT_EQ(load<uint32_t>(answer, 8), 2048u);

    /* Control from two pages of guest memory, the first one to its end. */
    Buffer initialize = host::test::rndis_initialize(7).buffer();
    std::memcpy(hypervisor.ram().at(51 * kPage - 8, 8).data(),
                initialize.data(), 8);
    std::memcpy(hypervisor.ram().at(60 * kPage, 16).data(),
                initialize.data() + 8, 16);
    Message ranges =
        Message().u32(0).u32(1).u32(24).u32(kPage - 8).u64(50).u64(60);
    host::test::write_packet(
        to_host(), 9, 4, 1, ranges,
        Message().u32(107).u32(1).u32(0xffffffff).u32(0).zeros(24));
    EXPECT_EQ(signal_event(relid), kStatusSuccess);
    bool completed = false;
    bool answered = false;
    for (int i = 0; i < 2; i++) {
        std::optional<host::test::HostPacket> packet = wait_packet();
        ASSERT_TRUE(packet);
        if (packet->type == 11) {
            completed = load<uint32_t>(packet->payload, 4) == 1;
            continue;
        }
        /* INITIALIZE_CMPLT, where the receive buffer says: its pages are the
         * guest's in reverse. */
        ASSERT_EQ(packet->type, 7u);
        uint32_t at = load<uint32_t>(packet->bytes, 28);
        uint64_t address = (1063 - at / kPage) * kPage + at % kPage;
        Bytes message = hypervisor.ram().at(address, 52);
        answered = load<uint32_t>(message) == 0x80000002 &&
                   load<uint32_t>(message, 8) == 7 &&
                   load<uint32_t>(message, 12) == 0;
    }
    EXPECT_TRUE(completed);
    EXPECT_TRUE(answered);
    EXPECT_EQ(state(), "ready");
    EXPECT_EQ(machine->stats(kFirst)["nvsp_version"], "6.1");

    /* A page that the guest does not have fails the message, not more. */
    ranges = Message().u32(0).u32(1).u32(64).u32(0).u64(kRamPages);
    host::test::write_packet(
        to_host(), 9, 5, 1, ranges,
        Message().u32(107).u32(0).u32(0xffffffff).u32(0).zeros(24));
    EXPECT_EQ(signal_event(relid), kStatusSuccess);
    std::optional<host::test::HostPacket> packet = wait_packet();
    ASSERT_TRUE(packet);
    EXPECT_EQ(packet->trans_id, 5u);
    EXPECT_EQ(load<uint32_t>(packet->payload, 4), 2u);

    /* A buffer torn down under the session costs the guest its data, and the
     * host nothing. */
    teardown(relid, 82);
    EXPECT_EQ(state(), "ready");
    machine->set_link(kFirst, false);
    EXPECT_EQ(machine->list()[0]["link"], "down");
    EXPECT_THROW(machine->bind(kFirst, DriverBinding::kNone), HostError);
    close(relid);
    teardown(relid, 71);
    teardown(relid, 81);
    EXPECT_EQ(state(), "closed");

    /* The trace knows the buffers that the guest named. */
    trace->flush();
    std::ifstream in(trace_path(), std::ios::binary);
    std::string text((std::istreambuf_iterator<char>(in)), {});
    for (const char *event :
         {R"({"event":"gpadl","handle":81,"bytes":262144})",
          R"({"event":"gpadl","handle":82,"bytes":163840})"}) {
        EXPECT_NE(text.find(event), std::string::npos) << event;
    }
}

} // namespace

} // namespace netvsc::host::vmm::test
