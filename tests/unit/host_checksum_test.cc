/* Checksums of frames, against sums that the test computes its own way. */

#include <gtest/gtest.h>

#include "host/base/checksum.h"
#include "tests/unit/host_guest.h"

namespace netvsc::host::test {

namespace {

/* RFC 1071, one byte at a time. */
uint32_t
ones_sum(Bytes bytes, uint32_t sum = 0)
{
    for (size_t i = 0; i < bytes.size(); i++) {
        auto byte = std::to_integer<uint32_t>(bytes[i]);
        sum += i % 2 ? byte : byte << 8;
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

constexpr char kEthernet4[] = "00155d000001 020000000002 0800";
constexpr char kIpv4[] = "4500 0029 1234 0000 4006 ffff c0000201 c0000202";
constexpr char kEthernet6[] = "00155d000001 020000000002 86dd";
constexpr char kIpv6[] = "60000000 000d 11 40"
                         "20010db8000000000000000000000001"
                         "20010db8000000000000000000000002";
/* One odd byte of payload, and a checksum that must not count. */
constexpr char kTcp[] = "04d2 0050 00000001 00000002 5010 0200 abcd 0000 77";
constexpr char kUdp[] = "03e8 03e9 000d ffff deadbeef 77";

Buffer
frame(const std::string &parts)
{
    return from_hex(parts);
}

TEST(HostChecksum, CompletesTcpOverIpv4)
{
    Buffer bytes = frame(std::string(kEthernet4) + kIpv4 + kTcp);
    auto verdict = complete_checksums(bytes, {.ip_header = true, .tcp = true});
    ASSERT_TRUE(verdict);
    EXPECT_TRUE(verdict->tcp && verdict->ip_header && !verdict->udp);
    Bytes view(bytes);
    EXPECT_EQ(ones_sum(view.subspan(14, 20)), 0xffffu);
    EXPECT_EQ(
        ones_sum(view.subspan(34), ones_sum(view.subspan(26, 8), 6 + 21)),
        0xffffu);
}

TEST(HostChecksum, CompletesUdpOverIpv6AtAGivenOffset)
{
    Buffer bytes = frame(std::string(kEthernet6) + kIpv6 + kUdp);
    auto verdict =
        complete_checksums(bytes, {.udp = true, .transport_offset = 54});
    ASSERT_TRUE(verdict);
    EXPECT_TRUE(verdict->udp);
    Bytes view(bytes);
    EXPECT_EQ(
        ones_sum(view.subspan(54), ones_sum(view.subspan(22, 32), 17 + 13)),
        0xffffu);
}

TEST(HostChecksum, LeavesOutThePaddingOfShortFrames)
{
    Buffer bytes = frame(std::string(kEthernet4) + kIpv4 + kTcp);
    Buffer padded = bytes;
    padded.resize(60, std::byte{0xee});
    ASSERT_TRUE(complete_checksums(bytes, {.tcp = true}));
    ASSERT_TRUE(complete_checksums(padded, {.tcp = true}));
    EXPECT_EQ(to_hex(Bytes(padded).first(bytes.size())), to_hex(bytes));
}

TEST(HostChecksum, WritesAllOnesForAUdpSumOfZero)
{
    Buffer bytes = frame(std::string(kEthernet6) + kIpv6 + kUdp);
    /* A payload that makes the sum come out as zero. */
    ASSERT_TRUE(complete_checksums(bytes, {.udp = true}));
    uint16_t value = load<uint16_t>(bytes, 60);
    uint32_t sum = load<uint16_t>(bytes, 62) + uint32_t{value};
    store(MutableBytes(bytes), 62,
          static_cast<uint16_t>((sum & 0xffff) + (sum >> 16)));
    ASSERT_TRUE(complete_checksums(bytes, {.udp = true}));
    EXPECT_EQ(load<uint16_t>(bytes, 60), 0xffffu);
}

TEST(HostChecksum, RefusesHeadersThatAreNotThere)
{
    Buffer good = frame(std::string(kEthernet4) + kIpv4 + kTcp);
    auto refuses = [&](size_t at, uint8_t value, uint16_t offset = 0) {
        Buffer bytes = good;
        bytes[at] = std::byte{value};
        return !complete_checksums(bytes,
                                   {.tcp = true, .transport_offset = offset});
    };
    EXPECT_TRUE(refuses(12, 0x09)) << "not IP";
    EXPECT_TRUE(refuses(14, 0x65)) << "version";
    EXPECT_TRUE(refuses(14, 0x44)) << "header length";
    EXPECT_TRUE(refuses(16, 0x01)) << "longer than the frame";
    EXPECT_TRUE(refuses(20, 0x20)) << "fragment";
    EXPECT_TRUE(refuses(14, 0x45, 36)) << "transport header cut";
    EXPECT_TRUE(refuses(14, 0x45, 20)) << "transport inside the IP header";
    for (size_t size = 0; size < good.size() - 1; size++) {
        Buffer cut(good.begin(), good.begin() + static_cast<long>(size));
        EXPECT_FALSE(complete_checksums(cut, {.tcp = true})) << size;
    }
}

TEST(HostChecksum, CompletesWhatLinuxLeftPartial)
{
    Buffer bytes = frame(std::string(kEthernet4) + kIpv4 + kTcp);
    /* The sum over the pseudo header is in the field. */
    auto pseudo = ones_sum(Bytes(bytes).subspan(26, 8), 6 + 21);
    bytes[50] = static_cast<std::byte>(pseudo >> 8);
    bytes[51] = static_cast<std::byte>(pseudo);
    EXPECT_TRUE(complete_partial(bytes, 34, 16));
    EXPECT_EQ(ones_sum(Bytes(bytes).subspan(34), pseudo), 0xffffu);
    EXPECT_FALSE(complete_partial(bytes, bytes.size() - 1, 0));
    EXPECT_FALSE(complete_partial(bytes, 34, bytes.size()));
    EXPECT_FALSE(complete_partial(bytes, 65535, 65535));
}

TEST(HostChecksum, NamesWhatIsGood)
{
    Buffer bytes = frame(std::string(kEthernet4) + kIpv4 + kTcp);
    ChecksumVerdict verdict = classify_good_frame(bytes);
    EXPECT_TRUE(verdict.tcp && !verdict.udp && !verdict.ip_header);
    (void) complete_checksums(bytes, {.ip_header = true});
    EXPECT_TRUE(classify_good_frame(bytes).ip_header);
    bytes = frame(std::string(kEthernet6) + kIpv6 + kUdp);
    verdict = classify_good_frame(bytes);
    EXPECT_TRUE(verdict.udp && !verdict.tcp && !verdict.ip_header);
    EXPECT_FALSE(classify_good_frame(plain_frame(60)).any());
}

} // namespace

} // namespace netvsc::host::test
