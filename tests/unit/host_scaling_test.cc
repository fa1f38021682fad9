/* Receive-side scaling: the vectors of J.4, and what may be set (F.5). */

#include <gtest/gtest.h>

#include "tests/unit/host_guest.h"

namespace netvsc::host::test {

namespace {

constexpr uint32_t kInvalidLength = 0xc0010014;
constexpr uint32_t kInvalidData = 0xc0010015;

/* The verification key that Linux has by default. */
Buffer
default_key()
{
    return from_hex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b4"
                    "77cb2da38030f20c6a42b73bbeac01fa");
}

struct Parameters {
    uint16_t flags = 0;
    uint32_t info = 0xd701; /* TCP and UDP over both, and addresses. */
    std::vector<uint32_t> table;
    Buffer key = default_key();
};

Message
parameters(const Parameters &wanted)
{
    auto table_size = static_cast<uint16_t>(4 * wanted.table.size());
    Message message;
    message.u8(0x89)
        .u8(2)
        .u16(40)
        .u16(wanted.flags)
        .u16(0)
        .u32(wanted.info)
        .u16(table_size)
        .u16(0)
        .u32(40)
        .u16(static_cast<uint16_t>(wanted.key.size()))
        .u16(0)
        .u32(40u + table_size)
        .zeros(12);
    for (uint32_t entry : wanted.table) {
        message.u32(entry);
    }
    return message.bytes(wanted.key);
}

/* 128 entries: i modulo `channels`. */
std::vector<uint32_t>
even_table(uint32_t channels)
{
    std::vector<uint32_t> table;
    for (uint32_t i = 0; i < 128; i++) {
        table.push_back(i % channels);
    }
    return table;
}

Buffer
ipv4_frame(const std::string &addresses, const std::string &ports,
           uint8_t protocol, uint16_t fragment = 0)
{
    return Message()
        .zeros(12)
        .bytes(from_hex("0800 4500 0028 0000"))
        .u8(static_cast<uint8_t>(fragment >> 8))
        .u8(static_cast<uint8_t>(fragment))
        .u8(64)
        .u8(protocol)
        .u16(0)
        .bytes(from_hex(addresses))
        .bytes(from_hex(ports))
        .zeros(16)
        .buffer();
}

Buffer
ipv6_frame(const std::string &addresses, const std::string &ports,
           uint8_t protocol)
{
    return Message()
        .zeros(12)
        .bytes(from_hex("86dd 60000000 0014"))
        .u8(protocol)
        .u8(64)
        .bytes(from_hex(addresses))
        .bytes(from_hex(ports))
        .zeros(16)
        .buffer();
}

constexpr char kIpv6Addresses[] = "3ffe2501020000030000000000000001";

TEST(HostScaling, HashesAsTheVectorsSay)
{
    const struct {
        const char *addresses;
        const char *ports;
        uint32_t two;
        uint32_t four;
    } vectors[] = {{"420995bb a18e6450", "0aea 06e6", 0x323e8fc2, 0x51ccc178},
                   {"c75c6f02 41458c53", "3796 1283", 0xd718262a, 0xc626b0ea},
                   {"1813c65f 0c16cfb8", "3262 9488", 0xd2d0a5de, 0x5c2b394a}};
    ReceiveScaling scaling(4);
    ASSERT_EQ(scaling.set(parameters({.table = even_table(4)})), 0u);
    for (const auto &vector : vectors) {
        for (uint8_t protocol : {6, 17}) {
            auto choice = scaling.choose(
                ipv4_frame(vector.addresses, vector.ports, protocol));
            EXPECT_EQ(choice.hash, vector.four);
            EXPECT_EQ(choice.info, protocol == 6 ? 0x201u : 0x4001u);
            EXPECT_EQ(choice.channel, vector.four % 4);
        }
        /* Neither TCP nor UDP, and a fragment, which has no ports. */
        for (const Buffer &frame :
             {ipv4_frame(vector.addresses, vector.ports, 1),
              ipv4_frame(vector.addresses, vector.ports, 6, 0x2000),
              ipv4_frame(vector.addresses, vector.ports, 17, 0x0001)}) {
            auto choice = scaling.choose(frame);
            EXPECT_EQ(choice.hash, vector.two);
            EXPECT_EQ(choice.info, 0x101u);
            EXPECT_EQ(choice.channel, vector.two % 4);
        }
    }

    std::string addresses =
        std::string("3ffe250102001fff0000000000000007") + kIpv6Addresses;
    auto choice = scaling.choose(ipv6_frame(addresses, "0aea 06e6", 6));
    EXPECT_EQ(choice.hash, 0x40207d3du);
    EXPECT_EQ(choice.info, 0x1001u);
    choice = scaling.choose(ipv6_frame(addresses, "0aea 06e6", 17));
    EXPECT_EQ(choice.hash, 0x40207d3du);
    EXPECT_EQ(choice.info, 0x8001u);
    choice = scaling.choose(ipv6_frame(addresses, "0aea 06e6", 58));
    EXPECT_EQ(choice.hash, 0x2cc18cd5u);
    EXPECT_EQ(choice.info, 0x401u);
}

TEST(HostScaling, LooksBehindTags)
{
    ReceiveScaling scaling(4);
    ASSERT_EQ(scaling.set(parameters({.table = even_table(4)})), 0u);
    Buffer frame = ipv4_frame("420995bb a18e6450", "0aea 06e6", 6);
    for (const char *tag : {"8100 0064", "88a8 0007"}) {
        Buffer bytes = from_hex(tag);
        frame.insert(frame.begin() + 12, bytes.begin(), bytes.end());
        EXPECT_EQ(scaling.choose(frame).hash, 0x51ccc178u);
    }
}

TEST(HostScaling, HashesOnlyWhatItWasAskedFor)
{
    Buffer tcp = ipv4_frame("420995bb a18e6450", "0aea 06e6", 6);
    Buffer udp = ipv4_frame("420995bb a18e6450", "0aea 06e6", 17);
    Buffer arp =
        Message().zeros(12).bytes(from_hex("0806")).zeros(46).buffer();
    ReceiveScaling scaling(4);
    EXPECT_EQ(scaling.choose(tcp).info, 0u);

    /* As Linux asks: UDP by its addresses. */
    ASSERT_EQ(scaling.set(parameters(
                  {.info = 0x1701, .table = std::vector<uint32_t>(128, 3)})),
              0u);
    EXPECT_EQ(scaling.choose(tcp).info, 0x201u);
    EXPECT_EQ(scaling.choose(udp).info, 0x101u);
    EXPECT_EQ(scaling.choose(udp).hash, 0x323e8fc2u);
    EXPECT_EQ(scaling.choose(udp).channel, 3u);
    EXPECT_EQ(scaling.choose(arp).info, 0u);
    EXPECT_EQ(scaling.choose(arp).channel, 0u);

    ASSERT_EQ(scaling.set(parameters({.info = 0x201, .table = even_table(4)})),
              0u);
    EXPECT_EQ(scaling.choose(tcp).info, 0x201u);
    EXPECT_EQ(scaling.choose(udp).info, 0u);
    EXPECT_EQ(scaling.choose(udp).channel, 0u);
}

TEST(HostScaling, ReadsNoFrameBeyondItsEnd)
{
    ReceiveScaling scaling(4);
    ASSERT_EQ(scaling.set(parameters({.table = even_table(4)})), 0u);
    for (const Buffer &whole :
         {ipv4_frame("420995bb a18e6450", "0aea 06e6", 6),
          ipv6_frame(std::string(64, '1'), "0aea 06e6", 17)}) {
        for (size_t size = 14; size <= whole.size(); size++) {
            /* In memory of exactly that size, for the sanitizer. */
            Buffer frame(whole.begin(),
                         whole.begin() + static_cast<ptrdiff_t>(size));
            frame.shrink_to_fit();
            EXPECT_LT(scaling.choose(frame).channel, 4u);
        }
    }
    /* Options that would leave the packet. */
    Buffer frame = ipv4_frame("420995bb a18e6450", "0aea 06e6", 6);
    frame[14] = std::byte{0x4f};
    EXPECT_EQ(scaling.choose(frame).info, 0x101u);
}

TEST(HostScaling, RefusesWhatNoGuestSets)
{
    ReceiveScaling scaling(4);
    Buffer good = parameters({.table = even_table(4)}).buffer();
    EXPECT_EQ(scaling.set(Bytes(good).first(39)), kInvalidLength);
    EXPECT_EQ(scaling.set(Bytes(good).first(good.size() - 1)), kInvalidData);
    EXPECT_EQ(scaling.set(parameters({.table = {}})), kInvalidData);
    EXPECT_EQ(scaling.set(parameters({.table = {0, 1, 4}})), kInvalidData);
    EXPECT_EQ(scaling.set(parameters({.table = {0}, .key = Buffer(16)})),
              kInvalidData);
    EXPECT_EQ(scaling.set(parameters({.info = 0x702, .table = {0}})),
              kInvalidData);
    Buffer outside = good;
    store(MutableBytes(outside), 16, uint32_t{0xfffffff0});
    EXPECT_EQ(scaling.set(outside), kInvalidData);
    /* Nothing is there that could stay. */
    EXPECT_EQ(scaling.set(parameters({.flags = 4, .table = {}})),
              kInvalidData);
    EXPECT_EQ(scaling.set(parameters({.flags = 8, .table = {0}})),
              kInvalidData);
    EXPECT_FALSE(scaling.on());
}

TEST(HostScaling, KeepsWhatTheGuestLeavesUnchanged)
{
    Buffer frame = ipv4_frame("420995bb a18e6450", "0aea 06e6", 6);
    ReceiveScaling scaling(4);
    ASSERT_EQ(scaling.set(parameters({.table = {2}})), 0u);
    EXPECT_EQ(scaling.choose(frame).channel, 2u);
    /* A refusal changes nothing. */
    EXPECT_EQ(scaling.set(parameters({.table = {9}})), kInvalidData);
    EXPECT_EQ(scaling.choose(frame).channel, 2u);

    ASSERT_EQ(scaling.set(parameters({.flags = 8, .table = {3}, .key = {}})),
              0u);
    EXPECT_EQ(scaling.choose(frame).channel, 3u);
    EXPECT_EQ(scaling.choose(frame).hash, 0x51ccc178u);
    ASSERT_EQ(
        scaling.set(parameters({.flags = 4, .table = {}, .key = Buffer(40)})),
        0u);
    EXPECT_EQ(scaling.choose(frame).channel, 3u);
    EXPECT_EQ(scaling.choose(frame).hash, 0u);

    ASSERT_EQ(scaling.set(parameters({.flags = 0x10, .table = {1}})), 0u);
    EXPECT_FALSE(scaling.on());
    EXPECT_EQ(scaling.choose(frame).channel, 0u);
    ASSERT_EQ(scaling.set(parameters(
                  {.flags = 2 | 4 | 8, .info = 0, .table = {}, .key = {}})),
              0u);
    EXPECT_EQ(scaling.choose(frame).channel, 3u);
    ASSERT_EQ(scaling.set(parameters({.info = 0, .table = {1}})), 0u);
    EXPECT_FALSE(scaling.on());
}

} // namespace

} // namespace netvsc::host::test
