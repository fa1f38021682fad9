/* Packets of OVS and frames of the driver: the pool that packets come from,
 * what is copied from where, what is sent.  The driver is made of the four
 * functions below. */

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <vector>

#include <errno.h>
#include <gtest/gtest.h>

#include "lib/netvsc-abi.h"
#include "tests/unit/packet_probe.h"

namespace {

/* OVS's, which is that of AF_XDP (netdev-afxdp). */
constexpr uintptr_t kFrameSize = 4096;
constexpr size_t kFrames = 2048;
constexpr size_t kLeastHeadroom = 1024;

std::vector<netvsc_rx_frame> incoming;
int releases;
std::vector<std::vector<uint8_t>> sent;
std::vector<unsigned> bursts;
unsigned not_ethernet;
int send_error;

} // namespace

unsigned
netvsc_rx_queue_poll(netvsc_rx_queue *, netvsc_rx_frame *frames) noexcept
{
    std::copy(incoming.begin(), incoming.end(), frames);
    return incoming.size();
}

void
netvsc_rx_queue_release(netvsc_rx_queue *) noexcept
{
    releases++;
}

int
netvsc_port_send(netvsc_port *, unsigned, const netvsc_tx_frame *frames,
                 unsigned n) noexcept
{
    bursts.push_back(n);
    for (unsigned i = 0; i < n; i++) {
        sent.emplace_back(frames[i].data, frames[i].data + frames[i].size);
    }
    return send_error;
}

void
netvsc_port_count_not_ethernet(netvsc_port *, unsigned n) noexcept
{
    not_ethernet += n;
}

namespace {

std::vector<uint8_t>
numbers(size_t n, uint8_t first)
{
    std::vector<uint8_t> bytes(n);
    std::iota(bytes.begin(), bytes.end(), first);
    return bytes;
}

constexpr uint8_t kTcp = 6, kUdp = 17;

/* A frame of an EtherType, of zeros otherwise. */
std::vector<uint8_t>
frame_of(size_t size, unsigned type)
{
    std::vector<uint8_t> frame(size);
    frame[12] = static_cast<uint8_t>(type >> 8);
    frame[13] = static_cast<uint8_t>(type);
    return frame;
}

/* `fragment`: flags and offset, as in the header. */
std::vector<uint8_t>
ip4_frame(size_t size, uint8_t protocol, unsigned fragment)
{
    auto frame = frame_of(size, 0x0800);
    frame[14] = 0x45;
    frame[20] = static_cast<uint8_t>(fragment >> 8);
    frame[21] = static_cast<uint8_t>(fragment);
    frame[23] = protocol;
    return frame;
}

std::vector<uint8_t>
ip6_frame(size_t size, uint8_t next_header)
{
    auto frame = frame_of(size, 0x86dd);
    frame[14] = 0x60;
    frame[20] = next_header;
    return frame;
}

std::vector<uint8_t>
content(const dp_packet *packet)
{
    return {probe_data(packet), probe_data(packet) + probe_size(packet)};
}

class PacketTest : public testing::Test {
protected:
    PacketTest() : pool_(probe_pool_create())
    {
        incoming.clear();
        sent.clear();
        bursts.clear();
        releases = not_ethernet = send_error = 0;
    }

    void
    SetUp() override
    {
        if (probe_n_pool_kinds() == 1) {
            GTEST_SKIP() << "OVS was built without AF_XDP";
        }
    }

    ~PacketTest() override
    {
        probe_pool_retire(pool_);
        EXPECT_EQ(probe_pool_sweep(), 0u) << "packets were lost";
    }

    netvsc_pool *pool_;
};

TEST_F(PacketTest, HasRoomOnBothSides)
{
    std::vector<dp_packet *> packets;
    for (int i = 0; i < 64; i++) {
        dp_packet *packet = probe_new_packet(pool_, 1518);
        packets.push_back(packet);
        ASSERT_TRUE(probe_from_pool(packet));
        EXPECT_EQ(probe_size(packet), 0u);
        EXPECT_GE(probe_headroom(packet), kLeastHeadroom);
        EXPECT_GE(probe_tailroom(packet), 1518u + 128);
        /* Where deletion looks for the frame. */
        auto data = reinterpret_cast<uintptr_t>(probe_data(packet));
        EXPECT_EQ((data - probe_headroom(packet)) % kFrameSize, 0u);
        EXPECT_EQ(data % 64, 0u);
        /* The next one may not begin in the same cache sets. */
        if (i) {
            EXPECT_NE(probe_headroom(packet),
                      probe_headroom(packets[packets.size() - 2]));
        }
        /* All of it can be used: resizing such a packet aborts. */
        probe_put(packet, numbers(1518, 0).data(), 1518);
        probe_push_zeros(packet, kLeastHeadroom);
    }
    for (dp_packet *packet : packets) {
        probe_delete(packet);
    }
}

TEST_F(PacketTest, NoFrameIsGivenTwice)
{
    for (int round = 0; round < 3; round++) {
        std::vector<dp_packet *> packets;
        std::vector<uintptr_t> frames;
        for (size_t i = 0; i < kFrames; i++) {
            packets.push_back(probe_new_packet(pool_, 60));
            ASSERT_TRUE(probe_from_pool(packets.back())) << i;
            frames.push_back(
                reinterpret_cast<uintptr_t>(probe_data(packets.back())) /
                kFrameSize);
        }
        std::sort(frames.begin(), frames.end());
        EXPECT_EQ(std::unique(frames.begin(), frames.end()), frames.end());
        for (size_t i = 0; i < kFrames; i += 32) {
            probe_delete_all(&packets[i], 32);
        }
    }
}

TEST_F(PacketTest, APacketThatComesBackIsNew)
{
    dp_packet *packet = probe_new_packet(pool_, 60);
    EXPECT_TRUE(probe_is_new(packet));
    probe_soil(packet);
    EXPECT_FALSE(probe_is_new(packet));
    probe_delete(packet);

    std::vector<dp_packet *> packets;
    bool again = false;
    for (size_t i = 0; i < kFrames; i++) {
        packets.push_back(probe_new_packet(pool_, 60));
        again |= packets.back() == packet;
        EXPECT_TRUE(probe_is_new(packets.back())) << i;
    }
    EXPECT_TRUE(again);
    for (dp_packet *one : packets) {
        probe_delete(one);
    }
}

TEST_F(PacketTest, MallocHelpsOut)
{
    /* A frame that does not fit between the rooms. */
    dp_packet *big = probe_new_packet(pool_, 3000);
    EXPECT_FALSE(probe_from_pool(big));
    EXPECT_GE(probe_tailroom(big), 3000u);
    EXPECT_GE(probe_headroom(big), kLeastHeadroom);

    /* An empty pool, and one that has a single frame again. */
    std::vector<dp_packet *> packets;
    for (size_t i = 0; i < kFrames; i++) {
        packets.push_back(probe_new_packet(pool_, 60));
    }
    dp_packet *one_more = probe_new_packet(pool_, 60);
    EXPECT_FALSE(probe_from_pool(one_more));
    probe_delete(packets.back());
    packets.back() = probe_new_packet(pool_, 60);
    EXPECT_TRUE(probe_from_pool(packets.back()));

    packets.push_back(big);
    packets.push_back(one_more);
    for (size_t i = 0; i < packets.size(); i += 32) {
        probe_delete_all(&packets[i], std::min(packets.size() - i, 32ul));
    }
}

TEST_F(PacketTest, MixedBatchesGoBackToTheirPools)
{
    netvsc_pool *other = probe_pool_create();
    for (int round = 0; round < 500; round++) {
        std::array<dp_packet *, 32> packets;
        for (size_t i = 0; i < packets.size(); i++) {
            packets[i] = i % 5 == 4
                             ? probe_new_packet(pool_, 3000)
                             : probe_new_packet(i % 3 ? pool_ : other, 60);
        }
        probe_delete_all(packets.data(), packets.size());
    }
    probe_pool_retire(other);
    EXPECT_EQ(probe_pool_sweep(), 0u);
}

TEST_F(PacketTest, APoolOutlivesItsPort)
{
    netvsc_pool *other = probe_pool_create();
    dp_packet *packet = probe_new_packet(other, 60);
    probe_put(packet, numbers(60, 7).data(), 60);
    probe_pool_retire(other);
    EXPECT_EQ(probe_pool_sweep(), 1u);
    EXPECT_EQ(content(packet), numbers(60, 7));
    probe_delete(packet);
    EXPECT_EQ(probe_pool_sweep(), 0u);
}

/* Every kind that is compiled in, not only the one that is chosen here. */
TEST(PoolKinds, EachReceivesIntoPacketsOfItsOwn)
{
    auto small = numbers(60, 3), big = numbers(9000, 5);
    netvsc_fragment fragments[] = {{small.data(), 60}, {big.data(), 9000}};
    incoming = {{&fragments[0], 1, 60, 0, 0, 0},
                {&fragments[1], 1, 9000, 0, 0, 0}};
    for (size_t kind = 0; kind < probe_n_pool_kinds(); kind++) {
        SCOPED_TRACE(probe_pool_kind_name(kind));
        netvsc_pool *pool = probe_pool_create_kind(kind);
        for (int round = 0; round < 3; round++) {
            dp_packet *packets[32];
            ASSERT_EQ(probe_receive(nullptr, pool, packets), 2u);
            EXPECT_EQ(content(packets[0]), small);
            EXPECT_EQ(content(packets[1]), big);
            EXPECT_GE(probe_headroom(packets[0]), kLeastHeadroom);
            EXPECT_GE(probe_headroom(packets[1]), kLeastHeadroom);
            probe_delete_all(packets, 2);
        }
        dp_packet *single = probe_new_packet(pool, 1518);
        EXPECT_GE(probe_tailroom(single), 1518u);
        probe_delete(single);
        probe_pool_retire(pool);
        EXPECT_EQ(probe_pool_sweep(), 0u);
    }
    EXPECT_STREQ(probe_pool_kind_name(probe_n_pool_kinds() - 1), "malloc");
}

/* --- Receive --- */

TEST_F(PacketTest, CopiesAndMarks)
{
    auto first = numbers(60, 0), second = ip4_frame(1514, kTcp, 0);
    netvsc_fragment fragments[] = {{first.data(), 60}, {second.data(), 1514}};
    incoming = {
        {&fragments[0], 1, 60, 0x1234, 0, NETVSC_RX_HASH | NETVSC_RX_IP_GOOD},
        {&fragments[1], 1, 1514, 0x5678, 0x2fff, NETVSC_RX_L4_BAD}};
    std::array<dp_packet *, 32> packets;
    ASSERT_EQ(probe_receive(nullptr, pool_, packets.data()), 2u);
    EXPECT_EQ(releases, 1);
    EXPECT_EQ(content(packets[0]), first);
    EXPECT_EQ(content(packets[1]), second) << "a tag that nobody took out";
    uint32_t hash = 0;
    EXPECT_TRUE(probe_rss(packets[0], &hash));
    EXPECT_EQ(hash, 0x1234u);
    EXPECT_FALSE(probe_rss(packets[1], &hash));
    EXPECT_TRUE(probe_ip_checksum_is_good(packets[0]));
    EXPECT_FALSE(probe_ip_checksum_is_good(packets[1]));
    EXPECT_FALSE(probe_l4_checksum_is_bad(packets[0]));
    EXPECT_TRUE(probe_l4_checksum_is_bad(packets[1]));
    probe_delete_all(packets.data(), 2);
}

/* The checksum of a datagram says nothing of a piece of it. */
TEST_F(PacketTest, VerdictsOnWholeDatagramsOnly)
{
    struct {
        const char *what;
        std::vector<uint8_t> frame;
        bool whole;
    } cases[] = {
        {"TCP", ip4_frame(60, kTcp, 0), true},
        {"UDP", ip4_frame(60, kUdp, 0), true},
        {"UDP, not to be fragmented", ip4_frame(60, kUdp, 0x4000), true},
        {"the first fragment", ip4_frame(60, kUdp, 0x2000), false},
        {"one in the middle", ip4_frame(1514, kUdp, 0x20b9), false},
        {"the last one", ip4_frame(60, kTcp, 0x0001), false},
        {"the last one of the longest", ip4_frame(60, kTcp, 0x1fff), false},
        {"ICMP", ip4_frame(60, 1, 0), false},
        {"TCP over IPv6", ip6_frame(80, kTcp), true},
        {"UDP over IPv6", ip6_frame(80, kUdp), true},
        {"a fragment of IPv6", ip6_frame(80, 44), false},
        {"options of IPv6, who knows of what", ip6_frame(80, 0), false},
        {"ARP", frame_of(60, 0x0806), false},
        {"cut off in the middle", ip4_frame(33, kTcp, 0), false},
        {"nothing but Ethernet", frame_of(14, 0x0800), false},
    };
    const std::vector<std::vector<uint8_t>> all_tags = {
        {},
        {0x81, 0x00, 0xb0, 0x07},
        {0x88, 0xa8, 0xb0, 0x08, 0x81, 0x00, 0xb0, 0x07}};
    for (const auto &[what, plain, whole] : cases) {
        for (const auto &tags : all_tags) {
            for (bool taken_out : {false, true}) {
                auto frame = plain;
                frame.insert(frame.begin() + 12, tags.begin(), tags.end());
                auto size = static_cast<uint32_t>(frame.size());
                uint16_t vlan = taken_out ? NETVSC_RX_VLAN : 0;
                auto mark = [&](unsigned flags) {
                    return static_cast<uint16_t>(vlan | flags);
                };
                netvsc_fragment fragment = {frame.data(), size};
                incoming = {{&fragment, 1, size, 7, 0x2001,
                             mark(NETVSC_RX_L4_GOOD | NETVSC_RX_IP_GOOD)},
                            {&fragment, 1, size, 7, 0x2001,
                             mark(NETVSC_RX_L4_BAD | NETVSC_RX_HASH)},
                            {&fragment, 1, size, 7, 0x2001, mark(0)}};
                std::array<dp_packet *, 32> packets;
                ASSERT_EQ(probe_receive(nullptr, pool_, packets.data()), 3u);
                SCOPED_TRACE(std::string(what) + " with " +
                             std::to_string(tags.size() / 4 + taken_out) +
                             " tags");
                EXPECT_EQ(probe_l4_checksum_is_good(packets[0]), whole);
                EXPECT_EQ(probe_l4_checksum_is_bad(packets[1]), whole);
                EXPECT_FALSE(probe_l4_checksum_is_bad(packets[0]));
                EXPECT_FALSE(probe_l4_checksum_is_good(packets[1]));
                EXPECT_FALSE(probe_l4_checksum_is_good(packets[2]) ||
                             probe_l4_checksum_is_bad(packets[2]));
                /* The rest of what the host says stays. */
                uint32_t hash = 0;
                EXPECT_TRUE(probe_ip_checksum_is_good(packets[0]));
                EXPECT_TRUE(probe_rss(packets[1], &hash));
                probe_delete_all(packets.data(), 3);
            }
        }
    }
}

/* A train, cut in the most unpleasant places, with and without a tag. */
TEST_F(PacketTest, JoinsFragments)
{
    auto bytes = numbers(200, 0);
    auto tagged = bytes;
    const uint8_t tag[] = {0x81, 0x00, 0xb0, 0x07};
    tagged.insert(tagged.begin() + 12, std::begin(tag), std::end(tag));
    for (uint32_t cut : {1u, 11u, 12u, 13u, 14u, 199u}) {
        for (uint32_t end : {cut, cut + 1, 200u}) {
            std::vector<netvsc_fragment> fragments = {{&bytes[0], cut}};
            if (end > cut) {
                fragments.push_back({&bytes[cut], end - cut});
            }
            if (end < 200) {
                fragments.push_back({&bytes[end], 200 - end});
            }
            auto n = static_cast<uint32_t>(fragments.size());
            incoming = {{fragments.data(), n, 200, 0, 0, 0},
                        {fragments.data(), n, 200, 0, 0xb007, NETVSC_RX_VLAN}};
            std::array<dp_packet *, 32> packets;
            ASSERT_EQ(probe_receive(nullptr, pool_, packets.data()), 2u);
            EXPECT_EQ(content(packets[0]), bytes) << cut << " " << end;
            EXPECT_EQ(content(packets[1]), tagged) << cut << " " << end;
            probe_delete_all(packets.data(), 2);
        }
    }
}

/* A dp_packet counts its bytes, headroom included, with 16 bits. */
TEST_F(PacketTest, TheLongestFrameFits)
{
    const uint32_t size = NETVSC_MAX_RX_FRAME;
    auto bytes = numbers(size, 3);
    netvsc_fragment fragment = {bytes.data(), size};
    incoming = {{&fragment, 1, size, 0, 0, 0},
                {&fragment, 1, size, 0, 0xb007, NETVSC_RX_VLAN}};
    std::array<dp_packet *, 32> packets;
    ASSERT_EQ(probe_receive(nullptr, pool_, packets.data()), 2u);
    EXPECT_EQ(content(packets[0]), bytes);
    EXPECT_EQ(probe_size(packets[1]), size + 4);
    for (dp_packet *packet : {packets[0], packets[1]}) {
        /* What OVS believes of it. */
        EXPECT_EQ(probe_headroom(packet), kLeastHeadroom);
        EXPECT_LE(probe_tailroom(packet), 4u);
    }
    probe_delete_all(packets.data(), 2);
}

TEST_F(PacketTest, ReleasesWhenNothingCame)
{
    std::array<dp_packet *, 32> packets;
    EXPECT_EQ(probe_receive(nullptr, pool_, packets.data()), 0u);
    EXPECT_EQ(releases, 1);
}

/* --- Send --- */

TEST_F(PacketTest, SendsABurstInOneCall)
{
    std::array<dp_packet *, 32> packets;
    for (size_t i = 0; i < packets.size(); i++) {
        packets[i] = probe_new_packet(pool_, 100);
        probe_put(packets[i], numbers(60 + i, i).data(), 60 + i);
    }
    EXPECT_EQ(probe_send(nullptr, 0, packets.data(), 32), 0);
    EXPECT_EQ(bursts, std::vector<unsigned>{32});
    for (size_t i = 0; i < packets.size(); i++) {
        EXPECT_EQ(sent[i], numbers(60 + i, i));
    }
    send_error = EAGAIN;
    EXPECT_EQ(probe_send(nullptr, 0, packets.data(), 1), EAGAIN);
    probe_delete_all(packets.data(), 32);
}

TEST_F(PacketTest, SendsOnlyEthernet)
{
    std::array<dp_packet *, 3> packets;
    for (size_t i = 0; i < packets.size(); i++) {
        packets[i] = probe_new_packet(pool_, 100);
        probe_put(packets[i], numbers(60, i).data(), 60);
    }
    probe_make_ip(packets[1]);
    EXPECT_EQ(probe_send(nullptr, 0, packets.data(), 3), EPFNOSUPPORT);
    ASSERT_EQ(sent.size(), 2u);
    EXPECT_EQ(sent[1], numbers(60, 2));
    EXPECT_EQ(not_ethernet, 1u);

    EXPECT_EQ(probe_send(nullptr, 0, &packets[1], 1), EPFNOSUPPORT);
    EXPECT_EQ(bursts, std::vector<unsigned>{2}) << "an empty call";
    probe_delete_all(packets.data(), 3);
}

} // namespace
