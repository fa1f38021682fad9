/* Attach and detach against a scripted host: the exact conversation, and
 * every way in which a host can spoil it (reference D.4, D.5, E.2, F.2).
 *
 * Mostly the host runs on the driver's thread, whenever the driver waits, so
 * a test takes no time unless it is about a deadline. */

#include <future>
#include <thread>

#include <errno.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "driver/session.h"
#include "tests/unit/scripted_host.h"

namespace netvsc {
namespace {

using namespace test;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

/* A reply that takes this long is missing; a busy machine must not. */
constexpr std::chrono::milliseconds kMissing{150};

constexpr uint16_t kGeneration = 3;

/* What an attach sends, in order (D.4, F.2). */
const std::vector<std::string> kAttach = {
    "INIT 0x00060001",  "NDIS_CONFIG",      "NDIS_VERSION",
    "RECV_BUF",         "SEND_BUF",         "INITIALIZE",
    "QUERY 0x00010106", "QUERY 0x01010101", "QUERY 0xfc01020d",
    "SET 0xfc01020c",   "QUERY 0x00010114", "QUERY 0x00010107",
    "QUERY 0x00010203"};

/* Those of them that have a reply, and what the driver calls them. */
const std::vector<std::pair<std::string, std::string>> kReplies = {
    {"INIT 0x00060001", "NVSP INIT"},
    {"RECV_BUF", "SEND_RECV_BUF"},
    {"SEND_BUF", "SEND_SEND_BUF"},
    {"INITIALIZE", "RNDIS INITIALIZE"},
    {"QUERY 0x00010106", "RNDIS QUERY of OID 0x00010106"},
    {"QUERY 0x01010101", "RNDIS QUERY of OID 0x01010101"},
    {"QUERY 0xfc01020d", "RNDIS QUERY of OID 0xfc01020d"},
    {"SET 0xfc01020c", "RNDIS SET of OID 0xfc01020c"},
    {"QUERY 0x00010114", "RNDIS QUERY of OID 0x00010114"},
    {"QUERY 0x00010107", "RNDIS QUERY of OID 0x00010107"},
    {"QUERY 0x00010203", "RNDIS QUERY of OID 0x00010203"}};

bool
is_rndis(const std::string &name)
{
    return name == "INITIALIZE" || name.starts_with("QUERY") ||
           name.starts_with("SET");
}

/* A device, its host, and the session that is attached to it. */
class Attach {
public:
    explicit Attach(const MapSizes &sizes = {.receive = 1 << 20,
                                             .send = 1 << 20},
                    std::optional<uint32_t> monitor_id = 35)
        : uio(std::make_shared<FakeUio>(sizes)), host(uio.get(), monitor_id)
    {
        info.relid = 21;
        info.monitor_id = monitor_id;
        for (unsigned i = 0; i < wire::kUioMaps; i++) {
            info.maps[i].size = uio->map(i).size();
        }
        info.receive_gpadl = 0xe1e11;
        info.send_gpadl = 0xe1e12;
        uio->set_host([this] { host.run(); });
    }

    bool
    run(uint32_t mtu = 1500)
    {
        auto attached = Session::attach(
            uio, info, {mtu, kGeneration, deadline}, &cancelled);
        if (attached) {
            session = *attached;
            return true;
        }
        error = attached.error();
        return false;
    }
    /* All is well: nothing lent, nothing refused. */
    void
    expect_clean()
    {
        host.run(); /* Takes the last completion. */
        EXPECT_THAT(host.errors, IsEmpty());
        EXPECT_EQ(host.returned.size(), host.issued);
        EXPECT_EQ(session->send_sections_in_use(), 0u);
        EXPECT_EQ(malformed(), 0u);
    }
    uint64_t
    malformed()
    {
        uint64_t sum = 0;
        for (uint64_t n : session->statistics().malformed) {
            sum += n;
        }
        return sum;
    }
    uint64_t
    malformed(Malformed cause)
    {
        return session->statistics().malformed[static_cast<unsigned>(cause)];
    }
    /* The bytes of the request of this name. */
    Bytes
    request(const std::string &name)
    {
        for (size_t i = 0; i < host.log.size(); i++) {
            if (host.log[i] == name) {
                return host.requests[i];
            }
        }
        ADD_FAILURE() << "no " << name;
        return Bytes(64);
    }

    std::shared_ptr<FakeUio> uio;
    ScriptedHost host;
    DeviceInfo info;
    std::chrono::milliseconds deadline{30000};
    std::atomic<bool> cancelled{false};
    std::shared_ptr<Session> session;
    Error error;
};

/* --- The conversation -----------------------------------------------------
 */

TEST(AttachTest, AsksInTheOrderOfTheReference)
{
    Attach attach;
    ASSERT_TRUE(attach.run()) << attach.error.message;
    EXPECT_EQ(attach.host.log, kAttach);
    attach.expect_clean();
}

TEST(AttachTest, LearnsWhatTheHostSays)
{
    Attach attach;
    ASSERT_TRUE(attach.run()) << attach.error.message;
    const Negotiated &n = attach.session->negotiated();
    EXPECT_EQ(n.nvsp_version, 0x60001u);
    EXPECT_EQ(n.ndis_major, 6u);
    EXPECT_EQ(n.ndis_minor, 30u);
    EXPECT_EQ(n.receive_suballoc_size, 2048u);
    EXPECT_EQ(n.receive_suballocs, 100u);
    EXPECT_EQ(n.send_section_size, 4096u);
    EXPECT_EQ(n.max_packets_per_message, 8u);
    EXPECT_EQ(n.max_transfer_size, 0xefffffffu);
    EXPECT_EQ(n.packet_alignment, 8u);
    EXPECT_EQ(n.mtu, 1500u);
    EXPECT_THAT(n.mac, ElementsAre(0x02, 0x15, 0x5d, 0, 0, 1));
    EXPECT_TRUE(n.link_up);
    EXPECT_EQ(n.link_speed, 10'000'000'000u);
    EXPECT_EQ(n.max_rx_queues, 8u);
    EXPECT_EQ(attach.session->send_sections(), 256u);
    EXPECT_EQ(attach.session->n_rxq(), 1u);
}

TEST(AttachTest, SaysWhatTheReferenceSays)
{
    Attach attach;
    ASSERT_TRUE(attach.run(1500));
    EXPECT_EQ(attach.request("INIT 0x00060001"),
              nvsp_message({1, 0x60001, 0x60001}));
    /* The MTU counts Ethernet's header; capability 3 is 802.1Q. */
    EXPECT_EQ(attach.request("NDIS_CONFIG"),
              nvsp_message({125, 1514, 0, 1 << 3, 0}));
    EXPECT_EQ(attach.request("NDIS_VERSION"), nvsp_message({100, 6, 30}));
    EXPECT_EQ(attach.request("RECV_BUF"),
              nvsp_message({101, 0xe1e11, 0xcafe}));
    EXPECT_EQ(attach.request("SEND_BUF"), nvsp_message({104, 0xe1e12, 0}));
    EXPECT_EQ(attach.request("INITIALIZE"),
              rndis_message({2, 0, 1, 1, 0, 0x4000}));
    EXPECT_EQ(attach.request("QUERY 0x00010106"),
              rndis_message({4, 0, 2, 0x00010106, 0, 20, 0}));

    Bytes offload = attach.request("QUERY 0xfc01020d");
    ASSERT_EQ(offload.size(), 28u + 156);
    EXPECT_EQ(get32(offload, 28), 0x009c03a7u); /* 156, revision 3, 0xa7 */
    EXPECT_EQ(Bytes(offload.begin() + 32, offload.end()), Bytes(152));

    /* Receive checksums on (3), everything else off (1). */
    EXPECT_EQ(attach.request("SET 0xfc01020c"),
              rndis_message({5, 0, 5, 0xfc01020c, 28, 20, 0},
                            hex("80 03 1c 00 03 03 03 03 03 00 00 01"
                                "01 00 00 00 00 00 00 00 00 00 01 01"
                                "00 00 00 00")));
    EXPECT_EQ(attach.request("QUERY 0x00010203"),
              rndis_message({4, 0, 8, 0x00010203, 18, 20, 0},
                            hex("88 02 12 00 00 00 00 00 00 00 00 00"
                                "00 00 00 00 00 00")));
}

TEST(AttachTest, TakesTheReferencesMessagesByteForByte)
{
    /* J.1 and J.2, for a buffer of 31 MiB; ids are the driver's. */
    Attach attach({.receive = 31 << 20, .send = 1 << 20});
    attach.host.edit = [](const std::string &name, Reply *reply) {
        if (name == "INIT 0x00060001") {
            reply->completion = hex("02 00 00 00 ff ff ff ff"
                                    "22 00 00 00 01 00 00 00"
                                    "00 00 00 00 00 00 00 00"
                                    "00 00 00 00 00 00 00 00"
                                    "00 00 00 00 00 00 00 00");
        } else if (name == "RECV_BUF") {
            reply->completion = hex("66 00 00 00 01 00 00 00"
                                    "01 00 00 00 00 00 00 00"
                                    "10 07 00 00 3a 46 00 00"
                                    "a0 f9 ef 01 00 00 00 00"
                                    "00 00 00 00 00 00 00 00");
        } else if (name == "INITIALIZE") {
            reply->message = hex("02 00 00 80 34 00 00 00"
                                 "01 00 00 00 00 00 00 00"
                                 "01 00 00 00 00 00 00 00"
                                 "01 00 00 00 00 00 00 00"
                                 "08 00 00 00 ff ff ff ef"
                                 "03 00 00 00 00 00 00 00"
                                 "00 00 00 00");
        }
    };
    ASSERT_TRUE(attach.run()) << attach.error.message;
    const Negotiated &n = attach.session->negotiated();
    EXPECT_EQ(n.receive_suballoc_size, 1808u);
    EXPECT_EQ(n.receive_suballocs, 17978u);
    EXPECT_EQ(n.max_packets_per_message, 8u);
    EXPECT_EQ(n.max_transfer_size, 0xefffffffu);
    EXPECT_EQ(n.packet_alignment, 8u);
    EXPECT_EQ(attach.request("INITIALIZE"),
              hex("02 00 00 00 18 00 00 00 01 00 00 00 01 00 00 00"
                  "00 00 00 00 00 40 00 00"));
}

TEST(AttachTest, EveryIdCarriesTheGenerationAndNvspIdsAreNeverRepeated)
{
    Attach attach;
    ASSERT_TRUE(attach.run());
    ASSERT_EQ(attach.host.ids.size(), kReplies.size());
    for (uint64_t id : attach.host.ids) {
        EXPECT_EQ(id >> 48, kGeneration);
    }
    attach.expect_clean();
}

TEST(AttachTest, LetsNoTrafficInByItself)
{
    Attach attach;
    ASSERT_TRUE(attach.run());
    EXPECT_THAT(attach.host.log,
                testing::Not(testing::Contains("SET 0x0001010e")));
}

TEST(AttachTest, WorksWithAHostOnItsOwnThreadAndWithoutAMonitorId)
{
    Attach attach({.receive = 1 << 20, .send = 1 << 20}, std::nullopt);
    attach.uio->set_host(nullptr);
    bool stop = false;
    auto end = Uio::Clock::now() + attach.deadline;
    std::thread thread([&] {
        /* run() takes a signal of its own: leave it there. */
        while (attach.uio->wait_signal(end, stop)) {
            attach.uio->irq_control(true);
            attach.host.run();
        }
    });
    bool attached = attach.run();
    Status detached = attached ? attach.session->detach() : ok();
    attach.uio->stop(&stop);
    thread.join();
    ASSERT_TRUE(attached) << attach.error.message;
    ASSERT_TRUE(detached) << detached.error().message;
    EXPECT_EQ(attach.host.log.size(), kAttach.size() + 4);
    attach.expect_clean();
}

/* --- Versions (D.2, D.4) --------------------------------------------------
 */

struct Version {
    uint32_t newest;
    std::vector<std::string> inits;
    uint32_t ndis_minor;
    bool config;
    size_t offload_size;
    uint8_t offload_revision;
    bool rss;
};

class VersionFallback : public testing::TestWithParam<Version> {};

TEST_P(VersionFallback, EndsAtTheNewestThatTheHostKnows)
{
    const Version &wanted = GetParam();
    Attach attach;
    attach.host.newest_version = wanted.newest;
    ASSERT_TRUE(attach.run()) << attach.error.message;
    auto log = attach.host.log;
    ASSERT_GE(log.size(), wanted.inits.size());
    EXPECT_EQ(
        std::vector<std::string>(
            log.begin(), log.begin() + static_cast<long>(wanted.inits.size())),
        wanted.inits);
    EXPECT_EQ(log[wanted.inits.size()],
              wanted.config ? "NDIS_CONFIG" : "NDIS_VERSION");
    EXPECT_EQ(attach.request("NDIS_VERSION"),
              nvsp_message({100, 6, wanted.ndis_minor}));
    const Negotiated &n = attach.session->negotiated();
    EXPECT_EQ(n.nvsp_version, wanted.newest);
    EXPECT_EQ(n.ndis_minor, wanted.ndis_minor);
    Bytes offload = attach.request("QUERY 0xfc01020d");
    EXPECT_EQ(offload.size(), 28 + wanted.offload_size);
    EXPECT_EQ(offload[29], wanted.offload_revision);
    EXPECT_EQ(get16(offload, 30), wanted.offload_size);
    EXPECT_EQ(log.back() == "QUERY 0x00010203", wanted.rss);
    EXPECT_EQ(n.max_rx_queues, wanted.rss ? 8u : 1u);
    attach.expect_clean();
}

const std::vector<std::string> kInits = {"INIT 0x00060001", "INIT 0x00060000",
                                         "INIT 0x00050000", "INIT 0x00040000",
                                         "INIT 0x00030002", "INIT 0x00000002"};

std::vector<std::string>
first_inits(long n)
{
    return {kInits.begin(), kInits.begin() + n};
}

INSTANTIATE_TEST_SUITE_P(
    D2, VersionFallback,
    testing::Values(Version{0x60001, first_inits(1), 30, true, 156, 3, true},
                    Version{0x60000, first_inits(2), 30, true, 156, 3, true},
                    Version{0x50000, first_inits(3), 30, true, 156, 3, true},
                    Version{0x40000, first_inits(4), 1, true, 144, 2, false},
                    Version{0x30002, first_inits(5), 1, true, 112, 1, false},
                    Version{0x00002, first_inits(6), 1, false, 112, 1, false}),
    [](const auto &test) {
        return "Newest" + std::to_string(test.param.newest);
    });

TEST(AttachTest, FailsWhenTheHostRefusesEveryVersion)
{
    Attach attach;
    attach.host.newest_version = 0;
    ASSERT_FALSE(attach.run());
    EXPECT_EQ(attach.error.code, EPROTO);
    EXPECT_THAT(attach.error.message, HasSubstr("refusing every version"));
    EXPECT_EQ(attach.host.log, kInits);
}

/* --- Missing replies ------------------------------------------------------
 */

/* Runs attaches at the same time: each waits for its deadline. */
std::vector<Error>
attach_all(const std::vector<std::string> &names,
           const std::function<void(Attach *, Reply *)> &spoil)
{
    std::vector<std::future<Error>> running;
    for (const std::string &name : names) {
        running.push_back(std::async(std::launch::async, [&, name] {
            Attach attach;
            attach.deadline = kMissing;
            attach.host.edit = [&](const std::string &request, Reply *reply) {
                if (request == name) {
                    spoil(&attach, reply);
                }
            };
            return attach.run() ? Error{} : attach.error;
        }));
    }
    std::vector<Error> errors;
    for (auto &result : running) {
        errors.push_back(result.get());
    }
    return errors;
}

/* Every request (or every RNDIS one) times out, and the sentence names it. */
void
expect_time_outs(const std::function<void(Attach *, Reply *)> &spoil,
                 bool rndis_only = false)
{
    std::vector<std::string> names, sentences;
    for (const auto &[name, sentence] : kReplies) {
        if (!rndis_only || is_rndis(name)) {
            names.push_back(name);
            sentences.push_back(sentence);
        }
    }
    auto errors = attach_all(names, spoil);
    for (size_t i = 0; i < names.size(); i++) {
        EXPECT_EQ(errors[i].code, ETIMEDOUT) << names[i];
        EXPECT_THAT(errors[i].message,
                    StartsWith("The host did not answer " + sentences[i] +
                               " within 0.15 s: "));
    }
}

TEST(AttachDeadlineTest, EndsTheWaitForEachMissingReply)
{
    expect_time_outs([](Attach *, Reply *reply) {
        reply->completion.clear();
        reply->message.clear();
    });
}

TEST(AttachDeadlineTest, EndsTheWaitForEachMissingRndisAnswer)
{
    expect_time_outs([](Attach *, Reply *reply) { reply->message.clear(); },
                     true);
}

TEST(AttachDeadlineTest, EndsTheWaitForAnAnswerWithAnotherRequestId)
{
    expect_time_outs(
        [](Attach *, Reply *reply) {
            put32(reply->message, 8, get32(reply->message, 8) - 1);
        },
        true);
}

TEST(AttachDeadlineTest, EndsTheWaitForAnAnswerOfAnotherType)
{
    expect_time_outs(
        [](Attach *, Reply *reply) { put32(reply->message, 0, 0x80000008); },
        true);
}

TEST(AttachDeadlineTest, EndsTheWaitForAReplyWithAnotherId)
{
    auto errors = attach_all({"INIT 0x00060001", "RECV_BUF", "SEND_BUF"},
                             [](Attach *, Reply *reply) { reply->id += 1; });
    for (const Error &error : errors) {
        EXPECT_EQ(error.code, ETIMEDOUT);
    }
}

TEST(AttachDeadlineTest, EndsTheWaitForAReplyOfAnEarlierSession)
{
    auto errors =
        attach_all({"INIT 0x00060001", "RECV_BUF", "SEND_BUF"},
                   [](Attach *, Reply *reply) { reply->id -= 1ull << 48; });
    for (const Error &error : errors) {
        EXPECT_EQ(error.code, ETIMEDOUT);
    }
}

TEST(AttachDeadlineTest, AnInbandMessageIsNoReply)
{
    auto errors =
        attach_all({"INIT 0x00060001", "RECV_BUF", "SEND_BUF"},
                   [](Attach *, Reply *reply) { reply->inband = true; });
    for (const Error &error : errors) {
        EXPECT_EQ(error.code, ETIMEDOUT);
    }
}

TEST(AttachDeadlineTest, AControlSectionThatNeverComesBackStopsTheNext)
{
    /* The answer came, the 108 did not: the next message has no section. */
    auto errors =
        attach_all({"INITIALIZE", "QUERY 0x00010106"},
                   [](Attach *, Reply *reply) { reply->completion.clear(); });
    EXPECT_EQ(errors[0].code, ETIMEDOUT);
    EXPECT_THAT(errors[0].message, HasSubstr("QUERY of OID 0x00010106"));
    EXPECT_EQ(errors[1].code, ETIMEDOUT);
    EXPECT_THAT(errors[1].message, HasSubstr("QUERY of OID 0x01010101"));
}

TEST(AttachDeadlineTest, AHostThatReadsNothingIsNotWaitedForLonger)
{
    Attach attach;
    attach.deadline = std::chrono::milliseconds(20);
    attach.uio->set_host(nullptr);
    ASSERT_FALSE(attach.run());
    EXPECT_EQ(attach.error.code, ETIMEDOUT);
    EXPECT_THAT(attach.error.message, HasSubstr("NVSP INIT within 0.02 s"));
}

TEST(AttachDeadlineTest, AHostThatNeverStopsTalkingDoesNotHoldTheThread)
{
    Attach attach;
    attach.deadline = std::chrono::milliseconds(50);
    attach.uio->set_host([&] {
        while (attach.host.in.used() < 8000) {
            attach.host.in.write(inband_packet(nvsp_message({128, 0, 0})));
        }
        attach.uio->interrupt();
    });
    ASSERT_FALSE(attach.run());
    EXPECT_EQ(attach.error.code, ETIMEDOUT);
}

/* --- Late and repeated replies --------------------------------------------
 */

TEST(AttachTest, RepeatedRepliesAreCountedAndDoNoHarm)
{
    Attach attach;
    attach.host.edit = [](const std::string &, Reply *reply) {
        reply->completions = 2;
        reply->messages = 2;
    };
    ASSERT_TRUE(attach.run()) << attach.error.message;
    EXPECT_EQ(attach.host.log, kAttach);
    /* Three NVSP replies and eight answers too many; eight 108s. */
    EXPECT_EQ(attach.malformed(Malformed::kReply), 11u);
    EXPECT_EQ(attach.malformed(Malformed::kTransactionId), 8u);
    EXPECT_EQ(attach.malformed(), 19u);
    attach.host.run();
    EXPECT_EQ(attach.host.returned.size(), attach.host.issued);
    EXPECT_EQ(attach.session->send_sections_in_use(), 0u);
    EXPECT_EQ(attach.session->negotiated().mtu, 1500u);
}

TEST(AttachTest, TheAnswerMayComeBeforeTheCompletion)
{
    Attach attach;
    attach.host.edit = [](const std::string &, Reply *reply) {
        reply->message_first = true;
    };
    ASSERT_TRUE(attach.run()) << attach.error.message;
    EXPECT_EQ(attach.host.log, kAttach);
    attach.expect_clean();
}

TEST(AttachTest, AReplyToAnEarlierRequestIsNotTakenForThisOne)
{
    Attach attach;
    Bytes earlier;
    attach.host.edit = [&](const std::string &name, Reply *reply) {
        if (!is_rndis(name)) {
            return;
        }
        if (!earlier.empty()) {
            attach.host.send(earlier, kControl);
        }
        earlier = reply->message;
    };
    ASSERT_TRUE(attach.run()) << attach.error.message;
    EXPECT_EQ(attach.malformed(Malformed::kReply), 7u);
    EXPECT_EQ(attach.session->negotiated().max_rx_queues, 8u);
    attach.host.run();
    EXPECT_EQ(attach.host.returned.size(), attach.host.issued);
}

/* --- Wrong replies --------------------------------------------------------
 */

/* Attaches with one reply changed; the error. */
Error
attach_with(const std::string &name, const std::function<void(Reply *)> &spoil)
{
    Attach attach;
    attach.host.edit = [&](const std::string &request, Reply *reply) {
        if (request == name) {
            spoil(reply);
        }
    };
    if (attach.run()) {
        EXPECT_THAT(attach.host.errors, IsEmpty());
        return {};
    }
    EXPECT_EQ(attach.host.log.back(), name) << "goes on after the refusal";
    return attach.error;
}

TEST(AttachReplyTest, OfAnotherTypeIsRefused)
{
    for (const char *name : {"INIT 0x00060001", "RECV_BUF", "SEND_BUF"}) {
        for (uint32_t type : {0u, 1u, 108u, 133u, ~0u}) {
            Error error = attach_with(name, [&](Reply *reply) {
                put32(reply->completion, 0, type);
            });
            EXPECT_EQ(error.code, EPROTO) << name << " " << type;
            EXPECT_THAT(error.message, StartsWith("The host answered "));
        }
    }
}

TEST(AttachReplyTest, ThatIsEmptyIsRefused)
{
    for (const char *name : {"INIT 0x00060001", "RECV_BUF", "SEND_BUF"}) {
        Error error = attach_with(
            name, [](Reply *reply) { reply->completion.resize(8, 0); });
        /* Eight bytes: the status is missing, or says nothing. */
        if (std::string(name) == "RECV_BUF") {
            EXPECT_THAT(error.message, HasSubstr("sections outside"));
        } else if (std::string(name) == "SEND_BUF") {
            EXPECT_THAT(error.message, HasSubstr("section size"));
        }
    }
}

TEST(AttachReplyTest, WithABadStatusIsRefused)
{
    for (uint32_t status : {0u, 2u, 3u, 6u, ~0u}) {
        for (const char *name : {"RECV_BUF", "SEND_BUF"}) {
            Error error = attach_with(name, [&](Reply *reply) {
                put32(reply->completion, 4, status);
            });
            EXPECT_EQ(error.code, EPROTO);
            EXPECT_THAT(error.message, HasSubstr("with a refusal"));
        }
        Error error = attach_with("INITIALIZE", [&](Reply *reply) {
            put32(reply->message, 12, status ? status : 1);
        });
        EXPECT_EQ(error.code, EPROTO);
        EXPECT_THAT(error.message, HasSubstr("refused RNDIS INITIALIZE"));
    }
}

struct Sections {
    uint32_t sections, offset, size, count;
};

TEST(AttachReplyTest, WithImpossibleReceiveSectionsIsRefused)
{
    for (const Sections &bad :
         std::vector<Sections>{{0, 0, 2048, 100},
                               {2, 0, 2048, 100},
                               {~0u, 0, 2048, 100},
                               {1, 8, 2048, 100},
                               {1, 0, 0, 100},
                               {1, 0, 67, 100},
                               {1, 0, 2048, 0},
                               {1, 0, 2048, 513},
                               {1, 0, (1 << 20) + 1, 1},
                               {1, 0, ~0u, 1},
                               {1, 0, 2048, ~0u},
                               /* Products that are 0 and 2048 in 32 bits. */
                               {1, 0, 0x10000, 0x10000},
                               {1, 0, 2048, 0x200001}}) {
        Error error = attach_with("RECV_BUF", [&](Reply *reply) {
            reply->completion = nvsp_message(
                {102, 1, bad.sections, bad.offset, bad.size, bad.count, 0});
        });
        EXPECT_EQ(error.code, EPROTO) << bad.size << " x " << bad.count;
        EXPECT_THAT(error.message, HasSubstr("sections outside the buffer"));
    }
}

TEST(AttachReplyTest, WithReceiveSectionsThatJustFitIsTaken)
{
    for (auto [size, count] : std::vector<std::pair<uint32_t, uint32_t>>{
             {2048, 512}, {256, 4096}, {1 << 20, 1}}) {
        Attach attach;
        attach.host.suballoc_size = size;
        attach.host.suballocs = count;
        EXPECT_TRUE(attach.run()) << attach.error.message;
        EXPECT_EQ(attach.session->negotiated().receive_suballocs, count);
    }
}

TEST(AttachReplyTest, WithAnImpossibleSendSectionIsRefused)
{
    for (uint32_t size : {0u, 4u, 68u, 248u, 257u, 6146u, (1u << 19) + 8,
                          1u << 20, 0x80000000u, 0xfffffff8u, ~0u}) {
        Error error = attach_with("SEND_BUF", [&](Reply *reply) {
            put32(reply->completion, 8, size);
        });
        EXPECT_EQ(error.code, EPROTO) << size;
        EXPECT_THAT(error.message, HasSubstr("impossible section size"));
    }
}

TEST(AttachReplyTest, WithAnySendSectionThatWorksIsTaken)
{
    for (uint32_t size : {256u, 1728u, 6144u, 6152u, 1u << 19}) {
        Attach attach;
        attach.host.section_size = size;
        ASSERT_TRUE(attach.run()) << attach.error.message;
        EXPECT_EQ(attach.session->send_sections(), (1u << 20) / size);
        /* What is too long for a section cannot be sent. */
        EXPECT_EQ(attach.session->max_mtu(), size - 60 - 14);
        EXPECT_EQ(attach.session->negotiated().mtu,
                  std::min(1500u, size - 60 - 14));
        attach.expect_clean();
    }
}

TEST(AttachReplyTest, WithAnImpossibleInitializeIsRefused)
{
    /* Byte 36: transfer size; 40: alignment shift. */
    for (auto [at, value] : std::vector<std::pair<size_t, uint32_t>>{
             {36, 0}, {36, 255}, {40, 13}, {40, 32}, {40, 255}, {40, ~0u}}) {
        Error error =
            attach_with("INITIALIZE", [at = at, value = value](Reply *reply) {
                put32(reply->message, at, value);
            });
        EXPECT_EQ(error.code, EPROTO) << at << " " << value;
    }
}

TEST(AttachReplyTest, WithFewPacketsAndSmallTransfersIsTaken)
{
    Attach attach;
    attach.host.edit = [](const std::string &name, Reply *reply) {
        if (name == "INITIALIZE") {
            put32(reply->message, 32, 0);
            put32(reply->message, 36, 256);
            put32(reply->message, 40, 12);
        }
    };
    ASSERT_TRUE(attach.run());
    const Negotiated &n = attach.session->negotiated();
    EXPECT_EQ(n.max_packets_per_message, 1u);
    EXPECT_EQ(n.packet_alignment, 4096u);
    EXPECT_EQ(n.mtu, 256u - 60 - 14);
}

TEST(AttachReplyTest, ThatIsTooShortIsRefused)
{
    for (const auto &[name, sentence] : kReplies) {
        if (!is_rndis(name)) {
            continue;
        }
        size_t least = name == "INITIALIZE"        ? 52
                       : name.starts_with("QUERY") ? 24
                                                   : 16;
        for (size_t size : {size_t{12}, least - 4}) {
            Error error = attach_with(name, [&](Reply *reply) {
                reply->message.resize(size);
                put32(reply->message, 4, static_cast<uint32_t>(size));
            });
            EXPECT_EQ(error.code, EPROTO) << name;
            EXPECT_THAT(error.message,
                        AllOf(HasSubstr(sentence), HasSubstr("too short")));
        }
    }
}

TEST(AttachReplyTest, WithAValueOutsideItsMessageIsRefused)
{
    for (const auto &[name, sentence] : kReplies) {
        if (!name.starts_with("QUERY")) {
            continue;
        }
        /* Byte 16: length; 20: offset from byte 8. */
        for (auto [length, offset] :
             std::vector<std::pair<uint32_t, uint32_t>>{
                 {4, 0},
                 {4, 15},
                 {1000, 16},
                 {4, 1000},
                 {~0u, 16},
                 {4, ~0u},
                 {0xffffffe8, 16}, /* 24 + length is 0 in 32 bits. */
                 {8, 0xfffffff8}}) {
            Error error = attach_with(
                name, [length = length, offset = offset](Reply *reply) {
                    put32(reply->message, 16, length);
                    put32(reply->message, 20, offset);
                });
            EXPECT_EQ(error.code, EPROTO)
                << name << " " << length << " " << offset;
            EXPECT_THAT(error.message,
                        AllOf(HasSubstr(sentence),
                              HasSubstr("a value outside its message")));
        }
    }
}

TEST(AttachReplyTest, WithoutAMacAddressIsRefused)
{
    for (const Bytes &value : {Bytes(), Bytes(5), Bytes(7), Bytes(12)}) {
        Attach attach;
        attach.host.values[0x01010101] = value;
        ASSERT_FALSE(attach.run());
        EXPECT_EQ(attach.error.code, EPROTO);
        EXPECT_THAT(attach.error.message, HasSubstr("MAC address"));
    }
    Attach attach;
    attach.host.values.erase(0x01010101);
    ASSERT_FALSE(attach.run());
    EXPECT_THAT(attach.error.message, HasSubstr("MAC address"));
}

TEST(AttachReplyTest, ThatRefusesTheOffloadsIsToldWithItsStatus)
{
    Error error = attach_with("SET 0xfc01020c", [](Reply *reply) {
        put32(reply->message, 12, 0xc0010015);
    });
    EXPECT_EQ(error.code, EPERM);
    EXPECT_THAT(error.message,
                AllOf(HasSubstr("refused RNDIS SET of OID 0xfc01020c"),
                      HasSubstr("status 0xc0010015")));
}

/* --- Hosts that know less -------------------------------------------------
 */

TEST(AttachTest, DoesWithoutTheOidsThatAHostNeedNotKnow)
{
    Attach attach;
    for (uint32_t number :
         {0x00010106u, 0xfc01020du, 0x00010114u, 0x00010107u, 0x00010203u}) {
        attach.host.values.erase(number);
    }
    ASSERT_TRUE(attach.run()) << attach.error.message;
    const Negotiated &n = attach.session->negotiated();
    EXPECT_EQ(n.mtu, 1500u);
    EXPECT_TRUE(n.link_up); /* As in Linux (F.2). */
    EXPECT_EQ(n.link_speed, 0u);
    EXPECT_EQ(n.max_rx_queues, 1u);
    EXPECT_THAT(attach.host.log,
                testing::Not(testing::Contains("SET 0xfc01020c")));
    attach.expect_clean();
}

TEST(AttachTest, ValuesThatAreTooShortCountAsNone)
{
    Attach attach;
    for (uint32_t number :
         {0x00010106u, 0xfc01020du, 0x00010114u, 0x00010107u, 0x00010203u}) {
        attach.host.values[number].resize(3);
    }
    ASSERT_TRUE(attach.run()) << attach.error.message;
    const Negotiated &n = attach.session->negotiated();
    EXPECT_EQ(n.mtu, 1500u);
    EXPECT_TRUE(n.link_up);
    EXPECT_EQ(n.link_speed, 0u);
    EXPECT_EQ(n.max_rx_queues, 1u);
}

TEST(AttachTest, TakesTheSmallerMtu)
{
    for (auto [host, asked, applied] :
         std::vector<std::array<uint32_t, 3>>{{1500, 9000, 1500},
                                              {9000, 1500, 1500},
                                              {3000, 3000, 3000},
                                              {9000, 9000, 4096 - 74}}) {
        Attach attach;
        attach.host.values[0x00010106] = u32(host);
        ASSERT_TRUE(attach.run(asked));
        EXPECT_EQ(attach.session->negotiated().mtu, applied);
        EXPECT_EQ(get32(attach.request("NDIS_CONFIG"), 4), asked + 14);
    }
}

TEST(AttachTest, SeesALinkThatIsDown)
{
    Attach attach;
    attach.host.values[0x00010114] = u32(1);
    ASSERT_TRUE(attach.run());
    EXPECT_FALSE(attach.session->negotiated().link_up);
}

TEST(AttachTest, AsksOnlyForTheChecksumsThatTheHostVerifies)
{
    Attach attach;
    Bytes &offload = attach.host.values[0xfc01020d];
    put32(offload, 16, 0x10); /* IPv4: TCP only. */
    put32(offload, 32, 0x40); /* IPv6: UDP only. */
    ASSERT_TRUE(attach.run());
    Bytes set = attach.request("SET 0xfc01020c");
    EXPECT_EQ(Bytes(set.begin() + 32, set.begin() + 37),
              hex("01 03 01 01 03"));
}

TEST(AttachTest, AnOffloadObjectThatMakesNoSenseIsNone)
{
    for (const auto &spoil : std::vector<std::function<void(Bytes &)>>{
             [](Bytes &b) { b[0] = 0xa6; }, [](Bytes &b) { put16(b, 2, 111); },
             [](Bytes &b) { put16(b, 2, 157); },
             [](Bytes &b) { b.resize(111); }}) {
        Attach attach;
        spoil(attach.host.values[0xfc01020d]);
        ASSERT_TRUE(attach.run());
        EXPECT_THAT(attach.host.log,
                    testing::Not(testing::Contains("SET 0xfc01020c")));
    }
}

TEST(AttachTest, ReadsRssCapabilitiesOfTheOlderRevision)
{
    Attach attach;
    attach.host.values[0x00010203].resize(16);
    ASSERT_TRUE(attach.run());
    EXPECT_EQ(attach.session->negotiated().max_rx_queues, 8u);
}

TEST(AttachTest, ZeroQueuesAreOne)
{
    Attach attach;
    put32(attach.host.values[0x00010203], 12, 0);
    ASSERT_TRUE(attach.run());
    EXPECT_EQ(attach.session->negotiated().max_rx_queues, 1u);
}

/* --- What nobody asked for ------------------------------------------------
 */

TEST(AttachTest, SurvivesDataAndNotificationsAtEveryStep)
{
    Attach attach;
    unsigned frames = 0, early = 0;
    bool shared = false;
    attach.host.edit = [&](const std::string &name, Reply *) {
        attach.host.in.write(inband_packet(nvsp_message({128, 1, 7}), 5, 1));
        attach.host.send(rndis_frame(make_frame(60)), kData);
        attach.host.send(rndis_message({7, 0, 0x4001000b, 0, 0}), kControl);
        attach.host.in.write(inband_packet(nvsp_message({134, 16, 12})));
        /* Nothing is taken from the buffer before it is agreed upon: the
         * reply to RECV_BUF is read together with what precedes it. */
        shared = shared || name == "SEND_BUF";
        (shared && name != "SEND_BUF" ? frames : early)++;
    };
    ASSERT_TRUE(attach.run()) << attach.error.message;
    EXPECT_EQ(attach.host.log, kAttach);
    Statistics s = attach.session->statistics();
    EXPECT_EQ(s.rx_discarded, frames);
    EXPECT_EQ(attach.malformed(Malformed::kSetId), 2 * early);
    EXPECT_EQ(attach.malformed(), 2 * early);
    attach.host.run();
    EXPECT_EQ(attach.host.returned.size(), attach.host.issued);
    EXPECT_EQ(attach.session->send_sections_in_use(), 0u);
    EXPECT_TRUE(attach.session->mailbox().take_indication());
}

TEST(AttachTest, SurvivesGarbageAtEveryStep)
{
    Attach attach;
    attach.host.edit = [&](const std::string &, Reply *) {
        Bytes garbage(32, 0x5a);
        put16(garbage, 4, 4);
        attach.host.in.write(garbage);
        attach.host.in.write(completion_packet(~0ull, {}));
        attach.host.in.write(inband_packet({}));
        attach.host.in.write(transfer_packet(attach.host.issued + 1000, {}));
    };
    ASSERT_TRUE(attach.run()) << attach.error.message;
    EXPECT_EQ(attach.host.log, kAttach);
    EXPECT_EQ(attach.malformed(), 4 * kAttach.size());
}

/* --- The end in the middle ------------------------------------------------
 */

TEST(AttachEndTest, RemovalAtAnyStepEndsTheAttach)
{
    for (const auto &[name, sentence] : kReplies) {
        Attach attach;
        attach.host.edit = [&](const std::string &request, Reply *reply) {
            if (request == name) {
                reply->completion.clear();
                reply->message.clear();
                attach.uio->remove();
            }
        };
        ASSERT_FALSE(attach.run()) << name;
        EXPECT_EQ(attach.error.code, ENODEV);
        EXPECT_EQ(attach.error.message, "The host took the device away.");
        EXPECT_EQ(attach.host.log.back(), name);
    }
}

TEST(AttachEndTest, CancellationAtAnyStepEndsTheAttach)
{
    for (const auto &[name, sentence] : kReplies) {
        Attach attach;
        attach.host.edit = [&](const std::string &request, Reply *reply) {
            if (request == name) {
                reply->completion.clear();
                reply->message.clear();
                attach.cancelled = true;
                attach.uio->wake();
            }
        };
        ASSERT_FALSE(attach.run()) << name;
        EXPECT_EQ(attach.error.code, ECANCELED);
        EXPECT_EQ(attach.host.log.back(), name);
    }
}

TEST(AttachEndTest, CancellationFromAnotherThreadEndsTheWait)
{
    Attach attach;
    attach.uio->set_host(nullptr);
    std::thread thread([&] {
        attach.cancelled = true;
        attach.uio->wake();
    });
    EXPECT_FALSE(attach.run());
    thread.join();
    EXPECT_EQ(attach.error.code, ECANCELED);
}

TEST(AttachEndTest, ABrokenReceiveRingAtAnyStepEndsTheAttach)
{
    for (const auto &[name, sentence] : kReplies) {
        Attach attach;
        attach.host.edit = [&](const std::string &request, Reply *reply) {
            if (request == name) {
                reply->completion.clear();
                reply->message.clear();
                attach.host.in.set(kWriteIndex, 0xffffffff);
                attach.uio->interrupt();
            }
        };
        ASSERT_FALSE(attach.run()) << name;
        EXPECT_EQ(attach.error.code, EIO);
        EXPECT_THAT(attach.error.message,
                    AllOf(StartsWith("The host wrote an impossible index"),
                          HasSubstr("receive ring")));
        EXPECT_EQ(attach.host.log.back(), name);
    }
}

TEST(AttachEndTest, ABrokenSendRingEndsTheAttach)
{
    Attach attach;
    attach.host.edit = [&](const std::string &request, Reply *reply) {
        if (request == "RECV_BUF") {
            reply->completion.clear();
            attach.uio->interrupt();
        }
    };
    attach.uio->set_host([&] {
        attach.host.run();
        if (attach.host.log.back() == "RECV_BUF") {
            attach.host.out.set(kReadIndex, 0xffffffff);
        }
    });
    ASSERT_FALSE(attach.run());
    EXPECT_EQ(attach.error.code, EIO);
    EXPECT_THAT(attach.error.message, HasSubstr("send ring"));
}

/* --- Filter and detach (D.9) ----------------------------------------------
 */

TEST(DetachTest, ClearsTheFilterHaltsAndRevokesInThatOrder)
{
    Attach attach;
    ASSERT_TRUE(attach.run());
    attach.host.log.clear();
    attach.host.requests.clear();
    Status detached = attach.session->detach();
    ASSERT_TRUE(detached) << detached.error().message;
    EXPECT_THAT(attach.host.log, ElementsAre("SET 0x0001010e", "HALT",
                                             "REVOKE_RECV", "REVOKE_SEND"));
    EXPECT_EQ(attach.request("SET 0x0001010e"),
              rndis_message({5, 0, 9, 0x0001010e, 4, 20, 0, 0}));
    EXPECT_EQ(attach.request("HALT"), rndis_message({3, 0, 10}));
    EXPECT_EQ(attach.request("REVOKE_RECV"), nvsp_message({103, 0xcafe}));
    EXPECT_EQ(attach.request("REVOKE_SEND"), nvsp_message({106, 0}));
    attach.expect_clean();
    EXPECT_EQ(attach.host.out.used(), 0u);
}

TEST(DetachTest, FramesThatStillComeAreGivenBack)
{
    Attach attach;
    ASSERT_TRUE(attach.run());
    attach.host.edit = [&](const std::string &, Reply *) {
        attach.host.send(rndis_frame(make_frame(60)), kData);
    };
    ASSERT_TRUE(attach.session->detach());
    /* What comes with the revokes is no longer waited for. */
    EXPECT_GE(attach.session->statistics().rx_discarded, 2u);
    EXPECT_GE(attach.host.returned.size(), attach.host.issued - 2);
}

TEST(DetachTest, DoesNotWaitForEverForAnythingThatIsMissing)
{
    for (const char *name : {"SET 0x0001010e", "HALT"}) {
        Attach attach;
        ASSERT_TRUE(attach.run());
        attach.session->control().set_reply_deadline(
            std::chrono::milliseconds(20));
        attach.host.edit = [&](const std::string &request, Reply *reply) {
            if (request == name) {
                reply->completion.clear();
                reply->message.clear();
            }
        };
        Status detached = attach.session->detach();
        ASSERT_FALSE(detached);
        EXPECT_EQ(detached.error().code, ETIMEDOUT);
    }
}

TEST(DetachTest, WaitsUntilTheHostHasReadTheRevokes)
{
    Attach attach;
    ASSERT_TRUE(attach.run());
    attach.session->control().set_reply_deadline(
        std::chrono::milliseconds(100));
    /* A host that stops listening at the HALT. */
    attach.uio->set_host([&] {
        if (attach.host.log.back() != "HALT") {
            attach.host.run();
        }
    });
    Status detached = attach.session->detach();
    ASSERT_FALSE(detached);
    EXPECT_EQ(detached.error().code, ETIMEDOUT);
    EXPECT_GT(attach.host.out.used(), 0u);
}

TEST(DetachTest, RemovalEndsIt)
{
    Attach attach;
    ASSERT_TRUE(attach.run());
    attach.host.edit = [&](const std::string &request, Reply *reply) {
        if (request == "HALT") {
            reply->completion.clear();
            attach.uio->remove();
        }
    };
    Status detached = attach.session->detach();
    ASSERT_FALSE(detached);
    EXPECT_EQ(detached.error().code, ENODEV);
    EXPECT_EQ(attach.host.log.back(), "HALT");
}

TEST(PacketFilterTest, IsWhatWasAskedForOrTheHostsRefusal)
{
    Attach attach;
    ASSERT_TRUE(attach.run());
    ASSERT_TRUE(set_packet_filter(&attach.session->control(), 0x20));
    EXPECT_EQ(attach.host.requests.back(),
              rndis_message({5, 0, 9, 0x0001010e, 4, 20, 0, 0x20}));
    attach.host.edit = [](const std::string &, Reply *reply) {
        put32(reply->message, 12, 0xc00000bb);
    };
    Status refused = set_packet_filter(&attach.session->control(), 0x20);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, EPERM);
    EXPECT_THAT(refused.error().message,
                AllOf(HasSubstr("OID 0x0001010e"), HasSubstr("0xc00000bb")));
}

/* --- An attached session --------------------------------------------------
 */

TEST(SessionQueuesTest, FramesGoBothWaysAndCountersOutliveTheirQueues)
{
    Attach attach;
    ASSERT_TRUE(attach.run());
    Session &session = *attach.session;
    Bytes frame = make_frame(60);
    netvsc_tx_frame view = {frame.data(), 60};
    std::array<netvsc_rx_frame, 32> frames;
    uint64_t sent = 0;
    for (unsigned queues : {1, 3, 2}) {
        session.set_txqs(queues);
        ASSERT_EQ(session.n_txq(), queues);
        for (unsigned q = 0; q < queues; q++) {
            ASSERT_EQ(session.txq(q).send(std::span(&view, 1)), 1u);
            sent++;
        }
        attach.host.run();
        ASSERT_EQ(attach.host.data.size(), sent);
        ASSERT_EQ(attach.host.data.back(), rndis_frame(frame));
        attach.host.send(rndis_frame(frame), kData);
        ASSERT_EQ(session.rxq(0).poll(frames), 1u);
        session.rxq(0).release();
        EXPECT_EQ(session.statistics().tx_packets, sent);
        EXPECT_EQ(session.send_sections_in_use(), 0u);
    }
    attach.host.run();
    EXPECT_EQ(session.statistics().rx_packets, 3u);
    attach.expect_clean();
}

TEST(SessionQueuesTest, FramesUpToTheMtuFitAndLongerOnesAreCounted)
{
    Attach attach;
    ASSERT_TRUE(attach.run());
    attach.session->set_txqs(1);
    for (auto [frame, fits] : std::vector<std::pair<Bytes, bool>>{
             {make_frame(1514), true},
             {make_frame(1515), false},
             {make_tagged_frame(1514, 7), true},
             {make_tagged_frame(1515, 7), false}}) {
        netvsc_tx_frame view = {frame.data(),
                                static_cast<uint32_t>(frame.size())};
        uint64_t before = attach.session->statistics().tx_too_big;
        ASSERT_EQ(attach.session->txq(0).send(std::span(&view, 1)), 1u);
        EXPECT_EQ(attach.session->statistics().tx_too_big - before,
                  fits ? 0u : 1u);
    }
}

TEST(SessionQueuesTest, TheControlThreadLeavesFramesToALiveReader)
{
    Attach attach;
    ASSERT_TRUE(attach.run());
    std::array<netvsc_rx_frame, 32> frames;
    ASSERT_EQ(attach.session->rxq(0).poll(frames), 0u);
    attach.session->rxq(0).release();
    /* The reader was here just now and is merely late: the answer is read
     * past nothing but completions, and the frame behind it stays. */
    attach.host.edit = [&](const std::string &, Reply *) {};
    ASSERT_TRUE(set_packet_filter(&attach.session->control(), 0x20));
    attach.host.send(rndis_frame(make_frame(60)), kData);
    Status waited = attach.session->control().wait_until(
        Uio::Clock::now() + std::chrono::milliseconds(30),
        [] { return false; });
    EXPECT_EQ(waited.error().code, ETIMEDOUT);
    EXPECT_EQ(attach.session->statistics().rx_discarded, 0u);
    ASSERT_EQ(attach.session->rxq(0).poll(frames), 1u);
    attach.session->rxq(0).release();
}

TEST(SessionQueuesTest, FramesWithoutAReaderAreDiscarded)
{
    Attach attach;
    ASSERT_TRUE(attach.run());
    std::array<netvsc_rx_frame, 32> frames;
    ASSERT_EQ(attach.session->rxq(0).poll(frames), 0u);
    attach.session->rxq(0).release();
    attach.session->control().reader_left();
    attach.host.send(rndis_frame(make_frame(60)), kData);
    Status waited = attach.session->control().wait_until(
        Uio::Clock::now() + std::chrono::milliseconds(5),
        [] { return false; });
    EXPECT_EQ(waited.error().code, ETIMEDOUT);
    EXPECT_EQ(attach.session->statistics().rx_discarded, 1u);
}

} // namespace
} // namespace netvsc
