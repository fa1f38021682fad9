/* The objects that guests query and set (F). */

#include <gtest/gtest.h>

#include "tests/unit/host_guest.h"

namespace netvsc::host::test {

namespace {

class HostOid : public testing::Test {
protected:
    void
    SetUp() override
    {
        guest.attach();
    }
    /* The object, or nothing and the status. */
    Buffer
    query(uint32_t oid, Bytes input = {})
    {
        Buffer reply = guest.control(rndis_query(77, oid, input));
        EXPECT_GE(reply.size(), 24u);
        EXPECT_EQ(load<uint32_t>(reply), 0x80000004u);
        EXPECT_EQ(load<uint32_t>(reply, 4), reply.size());
        EXPECT_EQ(load<uint32_t>(reply, 8), 77u);
        EXPECT_EQ(load<uint32_t>(reply, 16), reply.size() - 24);
        /* Linux wants it at 16 even without data. */
        EXPECT_EQ(load<uint32_t>(reply, 20), 16u);
        status = load<uint32_t>(reply, 12);
        return {reply.begin() + 24, reply.end()};
    }
    uint32_t
    set(uint32_t oid, Bytes input)
    {
        Buffer reply = guest.control(rndis_set(78, oid, input));
        EXPECT_EQ(reply.size(), 16u);
        EXPECT_EQ(load<uint32_t>(reply), 0x80000005u);
        EXPECT_EQ(load<uint32_t>(reply, 8), 78u);
        return load<uint32_t>(reply, 12);
    }

    Guest guest{"mac=00:15:5d:0a:0b:0c"};
    uint32_t status = 0;
};

TEST_F(HostOid, AnswersWhatLinuxAndDpdkAskAtAttach)
{
    EXPECT_EQ(to_hex(query(0x00010106)), to_hex(Message().u32(1500)));
    EXPECT_EQ(to_hex(query(0x01010101)), to_hex(from_hex("00155d0a0b0c")));
    EXPECT_EQ(to_hex(query(0x00010114)), to_hex(Message().u32(0)));
    EXPECT_EQ(to_hex(query(0x00010107)), to_hex(Message().u32(0x05f5e100)));
    EXPECT_EQ(query(0x00020216).size(), 512u);
}

TEST_F(HostOid, AnnouncesChecksumsThatLinuxTurnsOn)
{
    Buffer input = Message().u8(0xa7).u8(3).u16(156).zeros(152).buffer();
    Buffer object = query(0xfc01020d, input);
    ASSERT_EQ(object.size(), 156u);
    EXPECT_EQ(to_hex(Bytes(object).first(4)), to_hex(from_hex("a7039c00")));
    EXPECT_EQ(load<uint32_t>(object, 4), 2u);
    EXPECT_EQ(load<uint32_t>(object, 8), 0x155u);
    EXPECT_EQ(load<uint32_t>(object, 24), 0x55u);
    /* No large sends, no coalescing. */
    EXPECT_EQ(load<uint32_t>(object, 80), 0u);
    EXPECT_EQ(load<uint32_t>(object, 92), 0u);
    EXPECT_EQ(load<uint16_t>(object, 144), 0u);
}

TEST_F(HostOid, AnswersInTheRevisionThatTheGuestKnows)
{
    Buffer input = Message().u8(0xa7).u8(1).u16(112).zeros(108).buffer();
    Buffer object = query(0xfc01020d, input);
    EXPECT_EQ(object.size(), 112u);
    EXPECT_EQ(to_hex(Bytes(object).first(4)), to_hex(from_hex("a7017000")));
    query(0xfc01020d, Message().u8(0xa6).u8(3).u16(156));
    EXPECT_EQ(status, 0xc0010015u);
}

TEST_F(HostOid, AnnouncesOneQueueAnd128TableEntries)
{
    Buffer input = Message().u8(0x88).u8(2).u16(18).zeros(14).buffer();
    EXPECT_EQ(to_hex(query(0x00010203, input)),
              to_hex(from_hex("88021200 011b0000 01000000 01000000 8000")));
}

TEST_F(HostOid, RefusesUnknownOnesWellFormed)
{
    EXPECT_TRUE(query(0x00ffffff).empty());
    EXPECT_EQ(status, 0xc00000bbu);
    EXPECT_EQ(set(0x00ffffff, {}), 0xc00000bbu);
}

TEST_F(HostOid, RefusesAnInputOffsetOfZeroAsRealHostsDo)
{
    Buffer request = rndis_query(1, 0x00010106).buffer();
    store(MutableBytes(request), 20, uint32_t{0});
    Buffer reply = guest.control(request);
    ASSERT_EQ(reply.size(), 24u);
    EXPECT_EQ(load<uint32_t>(reply, 12), 0xc0010015u);
}

TEST_F(HostOid, RefusesInputOutsideOfTheMessage)
{
    Buffer request = rndis_set(1, 0x0001010e, Message().u32(1)).buffer();
    store(MutableBytes(request), 16, uint32_t{5});
    Buffer reply = guest.control(request);
    EXPECT_EQ(load<uint32_t>(reply, 12), 0xc0010015u);
    store(MutableBytes(request), 20, uint32_t{0xfffffff0});
    reply = guest.control(request);
    EXPECT_EQ(load<uint32_t>(reply, 12), 0xc0010015u);
    EXPECT_EQ(guest.session->filter(), 0x20u);
}

TEST_F(HostOid, RefusesAFilterThatIsTooShort)
{
    EXPECT_EQ(set(0x0001010e, Message().u16(1)), 0xc0010014u);
    EXPECT_EQ(guest.session->filter(), 0x20u);
}

TEST_F(HostOid, AnswersTheFilterThatWasSet)
{
    EXPECT_EQ(set(0x0001010e, Message().u32(0xd)), 0u);
    EXPECT_EQ(to_hex(query(0x0001010e)), to_hex(Message().u32(0xd)));
}

TEST_F(HostOid, RefusesPromiscuousGuestsIfTold)
{
    Guest strict("promiscuous=no");
    strict.attach(0xd);
    Buffer reply =
        strict.control(rndis_set(1, 0x0001010e, Message().u32(0x2d)));
    EXPECT_EQ(load<uint32_t>(reply, 12), 0xc00000bbu);
    EXPECT_EQ(strict.session->filter(), 0xdu);
    /* Objects other than the filter may have that bit. */
    reply = strict.control(rndis_set(2, 0x0001010f, Message().u32(0x20)));
    EXPECT_EQ(load<uint32_t>(reply, 12), 0u);
}

TEST_F(HostOid, IndicatesTheOffloadsAfterTheyWereSet)
{
    /* Linux: IP header off, everything else both ways, LSO on. */
    Message parameters = Message()
                             .u8(0x80)
                             .u8(3)
                             .u16(28)
                             .bytes(from_hex("0104040404 0000 0202 000000"))
                             .zeros(12);
    std::memcpy(guest.front_end.send.data(),
                rndis_set(9, 0xfc01020c, parameters).buffer().data(), 56);
    guest.inband(5, Message().u32(107).u32(1).u32(0).u32(56).zeros(24));
    guest.serve();
    std::vector<Buffer> messages = guest.receive();
    ASSERT_EQ(messages.size(), 2u);
    EXPECT_EQ(load<uint32_t>(messages[0]), 0x80000005u);
    EXPECT_EQ(load<uint32_t>(messages[0], 12), 0u);
    ASSERT_EQ(messages[1].size(), 20u + 156);
    EXPECT_EQ(load<uint32_t>(messages[1]), 7u);
    EXPECT_EQ(load<uint32_t>(messages[1], 8), 0x40020006u);
    EXPECT_EQ(load<uint32_t>(messages[1], 12), 156u);
    EXPECT_EQ(load<uint32_t>(messages[1], 16), 12u);
    EXPECT_EQ(load<uint32_t>(messages[1], 20 + 8), 0x55u);
    EXPECT_EQ(load<uint32_t>(messages[1], 20 + 16), 0x55u);
}

TEST_F(HostOid, RefusesOldLargeSends)
{
    Message parameters =
        Message().u8(0x80).u8(3).u16(28).zeros(5).u8(2).zeros(18);
    EXPECT_EQ(set(0xfc01020c, parameters), 0xc0010015u);
}

TEST_F(HostOid, ChecksReceiveScalingByItsOffsets)
{
    auto parameters = [](uint32_t entry, uint16_t key, uint32_t key_at) {
        return Message()
            .u8(0x89)
            .u8(2)
            .u16(40)
            .u16(0)
            .u16(0)
            .u32(0x1701)
            .u16(4)
            .u16(0)
            .u32(40)
            .u16(key)
            .u16(0)
            .u32(key_at)
            .zeros(12)
            .u32(entry)
            .zeros(40);
    };
    EXPECT_EQ(set(0x00010204, parameters(0, 40, 44)), 0u);
    EXPECT_EQ(set(0x00010204, parameters(1, 40, 44)), 0xc0010015u);
    EXPECT_EQ(set(0x00010204, parameters(0, 39, 44)), 0xc0010015u);
    EXPECT_EQ(set(0x00010204, parameters(0, 40, 45)), 0xc0010015u);
    EXPECT_EQ(set(0x00010204, Message().zeros(39)), 0xc0010014u);
    /* The disable flag makes the rest irrelevant. */
    EXPECT_EQ(set(0x00010204, Message().zeros(4).u16(0x10).zeros(34)), 0u);
}

TEST_F(HostOid, TakesANewAddressAsText)
{
    auto parameter = [](const std::u16string &value) {
        std::u16string name = u"NetworkAddress";
        auto size = static_cast<uint32_t>(value.size() * 2);
        return Message()
            .u32(20)
            .u32(28)
            .u32(2)
            .u32(48)
            .u32(size)
            .bytes(std::as_bytes(std::span(name)))
            .bytes(std::as_bytes(std::span(value)));
    };
    EXPECT_EQ(set(0x0001021b, parameter(u"02A0b1c2d3e4")), 0u);
    EXPECT_EQ(to_hex(query(0x01010102)), to_hex(from_hex("02a0b1c2d3e4")));
    EXPECT_EQ(to_hex(query(0x01010101)), to_hex(from_hex("00155d0a0b0c")));
    EXPECT_EQ(set(0x0001021b, parameter(u"02A0b1c2d3e")), 0xc0010015u);
    EXPECT_EQ(set(0x0001021b, parameter(u"03A0b1c2d3e4")), 0xc0010015u);
    EXPECT_EQ(set(0x0001021b, Message().u32(20).u32(0xfffffff0).zeros(12)),
              0xc0010015u);
}

TEST_F(HostOid, AnswersAKeepalive)
{
    Buffer reply = guest.control(Message().u32(8).u32(12).u32(5));
    EXPECT_EQ(to_hex(reply),
              to_hex(from_hex("08000080 10000000 05000000 00000000")));
}

TEST_F(HostOid, AnswersEverythingInItsList)
{
    Buffer list = query(0x00010101);
    ASSERT_GE(list.size(), 4u * 20);
    for (size_t at = 0; at < list.size(); at += 4) {
        auto oid = load<uint32_t>(list, at);
        bool settable_only =
            oid == 0x00010204 || oid == 0x0001021b || oid == 0xfc01020c;
        query(oid);
        EXPECT_EQ(status, settable_only ? 0xc00000bbu : 0u) << std::hex << oid;
    }
}

} // namespace

} // namespace netvsc::host::test
