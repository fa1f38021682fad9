/* Attach: the exact conversation with a host by the book, with older ones and
 * with talkative ones (D.4, D.5, E.2, F.2). */

#include <thread>

#include <errno.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/attach.h"

namespace netvsc {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::HasSubstr;

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
    /* The MTU counts Ethernet's header, and there is room for a tag that the
     * host leaves in; capability 3 is 802.1Q. */
    EXPECT_EQ(attach.request("NDIS_CONFIG"),
              nvsp_message({125, 1518, 0, 1 << 3, 0}));
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
        EXPECT_EQ(id >> 48, kAttachGeneration);
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
    EXPECT_EQ(attach.session->mtu(), 1500u);
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
    EXPECT_EQ(attach.session->mtu(), 1500u);
    EXPECT_TRUE(n.link_up);
    EXPECT_EQ(n.link_speed, 0u);
    EXPECT_EQ(n.max_rx_queues, 1u);
}

TEST(AttachTest, TakesTheSmallerMtu)
{
    /* A section of 4096 bytes holds frames of this MTU. */
    constexpr uint32_t kSection = 4096 - 78;
    struct Case {
        uint32_t host, wanted; /* What it answers, what the port wants. */
        uint32_t asked;        /* In NDIS_CONFIG. */
        uint32_t mtu, carried; /* In force; without a new session. */
        uint32_t max;          /* With one. */
    };
    for (const Case &c :
         std::vector<Case>{{1500, 1500, 1504, 1500, 1500, 1500},
                           {1504, 1500, 1504, 1500, 1504, kSection},
                           {1500, 1000, 1504, 1000, 1500, 1500},
                           {1500, 9000, 9004, 1500, 1500, 1500},
                           {3000, 3000, 3004, 3000, 3000, 3000},
                           {9000, 9000, 9004, kSection, kSection, kSection},
                           {9000, 1500, 1504, 1500, 1504, kSection},
                           /* What no host takes is not asked for. */
                           {3500, 60000, 9202, 3500, 3500, 3500},
                           /* This says nothing. */
                           {67, 1500, 1504, 1500, 1504, kSection}}) {
        Attach attach;
        attach.host.values[0x00010106] = u32(c.host);
        ASSERT_TRUE(attach.run(c.wanted));
        EXPECT_EQ(get32(attach.request("NDIS_CONFIG"), 4), c.asked + 14);
        EXPECT_EQ(attach.session->mtu(), c.mtu) << c.host << " " << c.wanted;
        EXPECT_EQ(attach.session->carried_mtu(), c.carried);
        EXPECT_EQ(attach.session->max_mtu(), c.max);
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
    EXPECT_EQ(s[Count::kRxDiscarded], frames);
    EXPECT_EQ(attach.malformed(Malformed::kSetId), 2 * early);
    EXPECT_EQ(attach.malformed(), 2 * early);
    attach.host.run();
    EXPECT_EQ(attach.host.returned.size(), attach.host.issued);
    EXPECT_EQ(attach.session->send_sections_in_use(), 0u);
    EXPECT_TRUE(attach.session->mailbox().collect_event());
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

} // namespace
} // namespace netvsc
