/* A session from INIT to close: the bytes that the host emits (vectors J.1 to
 * J.3), what it refuses, and what it owes. */

#include <gtest/gtest.h>

#include "tests/unit/host_guest.h"

namespace netvsc::host::test {

namespace {

Message
nvsp_init(uint32_t version)
{
    return Message().u32(1).u32(version).u32(version).zeros(28);
}

Message
rndis_message(uint32_t channel, uint32_t section, uint32_t size)
{
    return Message().u32(107).u32(channel).u32(section).u32(size).zeros(24);
}

/* --- J.1, J.2 ---------------------------------------------------------- */

TEST(HostNetVsp, AnswersInitAsTheVectorSays)
{
    Guest guest;
    /* The guest's own vector, byte for byte in its ring. */
    Buffer init = from_hex("01000000 01000600 01000600 00000000"
                           "00000000 00000000 00000000 00000000"
                           "00000000 00000000");
    guest.inband(1, init);
    guest.serve();
    std::optional<HostPacket> packet = guest.read();
    ASSERT_TRUE(packet);
    EXPECT_EQ(to_hex(packet->bytes),
              to_hex(from_hex("0b000200070000000100000000000000"
                              "02000000ffffffff2200000001000000"
                              "00000000000000000000000000000000"
                              "00000000000000000000000000000000")));
}

TEST(HostNetVsp, AnswersTheReceiveBufferAsTheVectorSays)
{
    Guest guest;
    guest.front_end.receive.resize(31u << 20);
    guest.init();
    guest.ndis();
    guest.inband(2, Message().u32(101).u32(71).u16(0xcafe).zeros(30));
    guest.serve();
    std::optional<HostPacket> packet = guest.read();
    ASSERT_TRUE(packet);
    EXPECT_EQ(packet->position, 0x40u);
    EXPECT_EQ(to_hex(packet->bytes),
              to_hex(from_hex("0b000200070000000200000000000000"
                              "66000000010000000100000000000000"
                              "100700003a460000a0f9ef0100000000"
                              "00000000000000000000000040000000")));
}

TEST(HostNetVsp, AnswersInitializeAsTheVectorsSay)
{
    Guest guest;
    guest.init();
    guest.ndis();
    guest.receive_buffer();
    guest.send_buffer();
    std::memcpy(guest.front_end.send.data(),
                rndis_initialize(1).buffer().data(), 24);
    guest.inband(3, rndis_message(1, 0, 24));
    guest.serve();

    /* Either may come first; the host sends the answer first. */
    std::optional<HostPacket> transfer = guest.read();
    ASSERT_TRUE(transfer);
    EXPECT_EQ(to_hex(transfer->bytes),
              to_hex(from_hex("07000400090001000000000000000000"
                              "feca0000010000003400000000000000"
                              "6b00000001000000ffffffff00000000"
                              "00000000000000000000000000000000"
                              "000000000000000000000000c0000000")));
    EXPECT_EQ(to_hex(Bytes(guest.front_end.receive).first(52)),
              to_hex(from_hex("02000080340000000100000000000000"
                              "01000000000000000100000000000000"
                              "08000000ffffffef0300000000000000"
                              "00000000")));

    std::optional<HostPacket> completion = guest.read();
    ASSERT_TRUE(completion);
    EXPECT_EQ(completion->type, 11u);
    EXPECT_EQ(completion->trans_id, 3u);
    ASSERT_EQ(completion->payload.size(), 40u);
    EXPECT_EQ(load<uint32_t>(completion->payload), 108u);
    EXPECT_EQ(load<uint32_t>(completion->payload, 4), 1u);

    /* The guest's receive completion of the vector gives it back. */
    guest.complete_transfer(0);
    guest.serve();
    EXPECT_FALSE(guest.session->failed());
    EXPECT_EQ(guest.session->receive_buffer().ledger()->outstanding(), 0u);
}

TEST(HostNetVsp, AnswersADataPathSwitchEmptyAsTheVectorSays)
{
    Guest guest;
    guest.init();
    guest.inband(9, Message().u32(129).u32(1).zeros(32));
    guest.serve();
    std::optional<HostPacket> packet = guest.read();
    ASSERT_TRUE(packet);
    EXPECT_EQ(to_hex(packet->bytes),
              to_hex(from_hex("0b000200020000000900000000000000"
                              "0000000040000000")));
}

/* --- Versions and buffers ---------------------------------------------- */

TEST(HostNetVsp, RefusesUnknownVersionsAndTakesTheNext)
{
    Guest guest;
    Buffer reply = guest.request(1, nvsp_init(0x00070000));
    ASSERT_EQ(reply.size(), 40u);
    EXPECT_EQ(load<uint32_t>(reply), 2u);
    EXPECT_EQ(load<uint32_t>(reply, 12), 0u);
    guest.init(0x00050000);
    EXPECT_EQ(guest.session->agreement().version, 0x00050000u);
}

TEST(HostNetVsp, IsAsOldAsConfigured)
{
    constexpr uint32_t kVersions[] = {0x00060001, 0x00060000, 0x00050000,
                                      0x00040000, 0x00030002, 0x00000002};
    const std::pair<const char *, uint32_t> hosts[] = {{"6.1", 0x00060001},
                                                       {"6", 0x00060000},
                                                       {"5", 0x00050000},
                                                       {"4", 0x00040000},
                                                       {"2", 0x00030002}};
    for (const auto &[text, highest] : hosts) {
        Guest guest(std::string("nvsp=") + text);
        uint32_t got = 0;
        for (uint32_t version : kVersions) {
            Buffer reply = guest.request(1, nvsp_init(version));
            bool agreed = load<uint32_t>(reply, 12) == 1;
            EXPECT_EQ(agreed, version <= highest) << text << version;
            if (agreed) {
                got = version;
                break;
            }
        }
        EXPECT_EQ(got, highest);
        /* The rest is the same for all: NDIS, buffers, RNDIS (D.4). */
        guest.ndis();
        EXPECT_EQ(load<uint32_t>(guest.receive_buffer(), 4), 1u);
        EXPECT_EQ(load<uint32_t>(guest.send_buffer(), 4), 1u);
        EXPECT_EQ(load<uint32_t>(guest.control(rndis_initialize(1)), 12), 0u);
    }
}

TEST(HostNetVsp, DoesNotKnowMessagesOfLaterVersions)
{
    const std::pair<uint32_t, uint32_t> messages[] = {
        {125, 0x00000002}, {129, 0x00030002}, {133, 0x00040000}};
    for (const auto &[type, version] : messages) {
        Guest guest;
        guest.init(version);
        guest.inband(5, Message().u32(type).u32(1).zeros(32));
        guest.serve();
        EXPECT_TRUE(guest.session->failed()) << type;
    }
}

TEST(HostNetVsp, AnswersRequestsWithTransactionIdZero)
{
    Guest guest;
    EXPECT_EQ(guest.request(0, nvsp_init(0x00060001)).size(), 40u);
}

TEST(HostNetVsp, NeedsNoNdisConfigInVersion1)
{
    Guest guest;
    Buffer reply = guest.request(1, nvsp_init(2));
    EXPECT_EQ(load<uint32_t>(reply, 4), 2u);
    guest.inband(0, Message().u32(100).u32(6).u32(1).zeros(28), false);
    EXPECT_EQ(load<uint32_t>(guest.receive_buffer(), 4), 1u);
}

TEST(HostNetVsp, SizesSubAllocationsForTheMtu)
{
    Guest guest("mtu=9000");
    guest.front_end.receive.resize(1u << 20);
    guest.init();
    guest.ndis(9014);
    Buffer reply = guest.receive_buffer();
    EXPECT_EQ(load<uint32_t>(reply, 16), (256u + 9014 + 36 + 7) / 8 * 8);
}

TEST(HostNetVsp, TakesTheDefaultForAnMtuThatCannotBe)
{
    Guest guest("mtu=9000");
    guest.init();
    guest.ndis(9999);
    EXPECT_EQ(guest.session->agreement().mtu, 1500u);
}

TEST(HostNetVsp, RefusesABufferThatDoesNotExist)
{
    Guest guest;
    guest.init();
    guest.ndis();
    Buffer reply =
        guest.request(2, Message().u32(101).u32(5).u16(0xcafe).zeros(30));
    EXPECT_EQ(load<uint32_t>(reply), 102u);
    EXPECT_EQ(load<uint32_t>(reply, 4), 2u);
    EXPECT_FALSE(guest.session->failed());
}

TEST(HostNetVsp, RefusesSubchannels)
{
    Guest guest;
    guest.attach();
    Buffer reply =
        guest.request(5, Message().u32(133).u32(1).u32(3).zeros(28));
    EXPECT_EQ(load<uint32_t>(reply), 133u);
    EXPECT_EQ(load<uint32_t>(reply, 4), 2u);
    EXPECT_EQ(load<uint32_t>(reply, 8), 0u);
}

TEST(HostNetVsp, TakesHaltAfterTheRevokes)
{
    Guest guest;
    guest.attach();
    guest.inband(0, Message().u32(103).u16(0xcafe).zeros(34), false);
    guest.serve();
    /* The send buffer is still there: DPDK's order. */
    EXPECT_TRUE(guest.control(rndis_halt(9)).empty());
    guest.inband(0, Message().u32(106).u16(0).zeros(34), false);
    guest.serve();
    EXPECT_FALSE(guest.session->failed());
    EXPECT_EQ(guest.session->messages(), guest.session->completed());
    EXPECT_EQ(guest.session->receive_buffer().ledger()->outstanding(), 0u);
    EXPECT_STREQ(guest.session->state(), "open");
}

TEST(HostNetVsp, ReadsWhatWasWrittenBeforeTheClose)
{
    Guest guest;
    guest.attach();
    guest.inband(0, Message().u32(103).u16(0xcafe).zeros(34), false);
    guest.inband(0, Message().u32(106).u16(0).zeros(34), false);
    guest.session->finish();
    EXPECT_FALSE(guest.session->receive_buffer().attached());
}

/* --- Protocol errors --------------------------------------------------- */

/* A guest's steps and the message that must not follow them. */
struct Misstep {
    const char *name;
    void (*steps)(Guest &);
    void (*wrong)(Guest &);
};

void
nothing(Guest &)
{
}
void
to_init(Guest &guest)
{
    guest.init();
}
void
to_ndis(Guest &guest)
{
    guest.init();
    guest.ndis();
}
void
to_buffers(Guest &guest)
{
    to_ndis(guest);
    guest.receive_buffer();
    guest.send_buffer();
}
void
to_ready(Guest &guest)
{
    guest.attach();
}

class BadOrder : public testing::TestWithParam<Misstep> {};

TEST_P(BadOrder, EndsTheSessionAndNothingElse)
{
    Guest guest;
    GetParam().steps(guest);
    ASSERT_FALSE(guest.session->failed());
    GetParam().wrong(guest);
    guest.serve();
    EXPECT_TRUE(guest.session->failed());
    EXPECT_STREQ(guest.session->state(), "failed");
    EXPECT_EQ(guest.counters.protocol_errors, 1u);

    /* The guest sees silence, and frames are accounted for. */
    while (guest.read()) {
    }
    guest.backend.waiting.push_back(plain_frame(60));
    guest.inband(77, nvsp_init(0x00060001));
    guest.serve();
    EXPECT_FALSE(guest.read());
    EXPECT_EQ(guest.counters.rx.dropped_no_session, 1u);
    EXPECT_EQ(guest.counters.protocol_errors, 1u);
}

constexpr auto kSecondInit = [](Guest &guest) {
    guest.inband(8, nvsp_init(0x00060001));
};

INSTANTIATE_TEST_SUITE_P(
    HostNetVsp, BadOrder,
    testing::Values(
        Misstep{"NdisConfigBeforeInit", nothing,
                [](Guest &guest) {
                    guest.inband(0, Message().u32(125).zeros(36), false);
                }},
        Misstep{"SecondInit", to_init, kSecondInit},
        Misstep{"InitWithoutCompletionFlag", nothing,
                [](Guest &guest) {
                    guest.inband(1, nvsp_init(0x00060001), false);
                }},
        Misstep{"NdisVersionBeforeConfig", to_init,
                [](Guest &guest) {
                    guest.inband(0, Message().u32(100).zeros(36), false);
                }},
        Misstep{"SecondNdisConfig", to_ndis,
                [](Guest &guest) {
                    guest.inband(0, Message().u32(125).zeros(36), false);
                }},
        Misstep{"ReceiveBufferBeforeNdis", to_init,
                [](Guest &guest) {
                    guest.inband(2, Message().u32(101).u32(71).zeros(32));
                }},
        Misstep{"SecondReceiveBuffer", to_buffers,
                [](Guest &guest) {
                    guest.inband(2, Message().u32(101).u32(71).zeros(32));
                }},
        Misstep{"SendBufferBeforeReceiveBuffer", to_ndis,
                [](Guest &guest) {
                    guest.inband(2, Message().u32(104).u32(72).zeros(32));
                }},
        Misstep{"SecondSendBuffer", to_buffers,
                [](Guest &guest) {
                    guest.inband(2, Message().u32(104).u32(72).zeros(32));
                }},
        Misstep{
            "RndisBeforeBuffers", to_ndis,
            [](Guest &guest) { guest.inband(2, rndis_message(1, 0, 24)); }},
        Misstep{"RndisWithoutCompletionFlag", to_ready,
                [](Guest &guest) {
                    guest.inband(2, rndis_message(0, 0, 24), false);
                }},
        Misstep{
            "UnknownChannelType", to_ready,
            [](Guest &guest) { guest.inband(2, rndis_message(2, 0, 24)); }},
        Misstep{"UnknownNvspType", to_ready,
                [](Guest &guest) {
                    guest.inband(2, Message().u32(999).zeros(36));
                }},
        Misstep{"NvspMessageTooShort", to_ready,
                [](Guest &guest) { guest.inband(2, {}); }},
        Misstep{"PacketTypeOfTheHost", to_ready,
                [](Guest &guest) {
                    guest.write(7, 1, 1, Message().zeros(8),
                                rndis_message(0, 0, 24));
                }},
        Misstep{"CompletionOfNothing", to_ready,
                [](Guest &guest) { guest.complete_transfer(20); }},
        Misstep{"CompletionTwice", to_ready,
                [](Guest &guest) {
                    guest.backend.waiting.push_back(plain_frame(60));
                    guest.serve();
                    uint64_t id = guest.read()->trans_id;
                    guest.complete_transfer(id);
                    guest.complete_transfer(id);
                }},
        Misstep{"CompletionWithoutMessage", to_ready,
                [](Guest &guest) { guest.write(11, 0, 0, {}, {}); }},
        Misstep{"QueryBeforeInitialize", to_buffers,
                [](Guest &guest) { guest.control(rndis_query(1, 0x10106)); }},
        Misstep{"SecondInitialize", to_ready,
                [](Guest &guest) { guest.control(rndis_initialize(9)); }},
        Misstep{"QueryAfterHalt", to_ready,
                [](Guest &guest) {
                    guest.control(rndis_halt(8));
                    guest.control(rndis_query(9, 0x10106));
                }},
        Misstep{"ResetFromAGuest", to_ready,
                [](Guest &guest) {
                    guest.control(Message().u32(6).u32(12).u32(0));
                }},
        Misstep{"ControlMessageLongerThanItsBytes", to_ready,
                [](Guest &guest) {
                    guest.control(Message().u32(4).u32(64).zeros(20));
                }},
        Misstep{"ControlMessageShorterThanAny", to_ready,
                [](Guest &guest) { guest.control(Message().u32(4).u32(8)); }},
        Misstep{
            "ControlOutsideOfTheSendBuffer", to_ready,
            [](Guest &guest) { guest.inband(2, rndis_message(1, 8, 24)); }},
        Misstep{"BrokenRing", to_ready,
                [](Guest &guest) { guest.to_host_word(0) = 5; }},
        Misstep{"BrokenReadIndex", to_ready,
                [](Guest &guest) {
                    guest.to_guest_word(4) = 1u << 30;
                    for (int i = 0; i < 2000; i++) {
                        guest.inband(0, Message().u32(129).zeros(36));
                        guest.serve();
                    }
                }}),
    [](const auto &info) { return std::string(info.param.name); });

/* --- Completions ------------------------------------------------------- */

TEST(HostNetVsp, CompletesLateWhenToldTo)
{
    Guest guest("completion-delay-us=1000");
    guest.init();
    guest.ndis();
    guest.receive_buffer();
    guest.send_buffer();
    std::memcpy(guest.front_end.send.data(),
                rndis_initialize(1).buffer().data(), 24);
    constexpr uint64_t kNow = 1'000'000;
    guest.now_ns = kNow;
    guest.inband(7, rndis_message(1, 0, 24));
    guest.serve();
    std::optional<HostPacket> answer = guest.read();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->type, 7u);
    EXPECT_FALSE(guest.read());
    uint64_t due = guest.session->next_due_ns(kNow);
    EXPECT_GE(due, kNow);
    EXPECT_LE(due, kNow + 2'000'000);
    guest.now_ns = due;
    guest.serve();
    std::optional<HostPacket> completion = guest.read();
    ASSERT_TRUE(completion);
    EXPECT_EQ(completion->trans_id, 7u);
    EXPECT_EQ(guest.session->next_due_ns(due), UINT64_MAX);
}

TEST(HostNetVsp, WaitsForRoomAndLosesNoCompletion)
{
    /* One page of ring: 63 completions fit. */
    Guest guest("", 4096);
    guest.attach();
    Buffer message = rndis_packet(plain_frame(60)).buffer();
    std::memcpy(guest.front_end.send.data(), message.data(), message.size());
    uint64_t sent = 0;
    uint64_t got = 0;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 40; i++) {
            guest.inband(sent++, rndis_message(0, 0, 104));
        }
        guest.serve();
        if (round % 2) {
            EXPECT_FALSE(guest.session->prepare_sleep() &&
                         guest.to_guest_word(12) == 0)
                << "asleep without asking for room";
            while (std::optional<HostPacket> packet = guest.read()) {
                EXPECT_EQ(packet->trans_id, got++);
                guest.serve();
            }
        }
    }
    EXPECT_EQ(got, sent);
    EXPECT_EQ(guest.to_guest_word(12), 0u);
    EXPECT_EQ(guest.backend.sent.size(), sent);
}

TEST(HostNetVsp, EndsASessionWhoseGuestNeverTakesItsAnswers)
{
    Guest guest("", 4096);
    guest.attach();
    Buffer query = rndis_query(1, 0x00020216).buffer();
    std::memcpy(guest.front_end.send.data(), query.data(), query.size());
    for (int i = 0; i < 400 && !guest.session->failed(); i++) {
        guest.inband(500, rndis_message(1, 0, 28));
        guest.serve();
        /* Reads its ring, but completes no transfer. */
        while (guest.read()) {
        }
    }
    EXPECT_TRUE(guest.session->failed());
}

TEST(HostNetVsp, SleepsUnmaskedAndServesMasked)
{
    Guest guest;
    guest.attach();
    EXPECT_EQ(guest.to_host_word(8), 1u);
    EXPECT_TRUE(guest.session->prepare_sleep());
    EXPECT_EQ(guest.to_host_word(8), 0u);
    guest.inband(5, Message().u32(129).zeros(36));
    EXPECT_FALSE(guest.session->prepare_sleep());
    guest.serve();
    EXPECT_EQ(guest.to_host_word(8), 1u);
}

TEST(HostNetVsp, TellsTheGuestWhenTheLinkChanges)
{
    Guest guest;
    guest.attach();
    guest.session->set_link(false);
    guest.serve();
    std::vector<Buffer> messages = guest.receive();
    ASSERT_EQ(messages.size(), 1u);
    EXPECT_EQ(
        to_hex(messages[0]),
        to_hex(
            Message().u32(7).u32(20).u32(0x4001000c).u32(0).u32(0).buffer()));
    guest.backend.waiting.push_back(plain_frame(60));
    guest.serve();
    EXPECT_EQ(guest.counters.rx.dropped_link_down, 1u);

    guest.session->set_link(true);
    guest.session->set_link(true);
    guest.serve();
    messages = guest.receive();
    ASSERT_EQ(messages.size(), 1u);
    EXPECT_EQ(load<uint32_t>(messages[0], 8), 0x4001000bu);
}

} // namespace

} // namespace netvsc::host::test
