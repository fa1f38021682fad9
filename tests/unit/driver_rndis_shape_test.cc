/* The form of the last good RNDIS PACKET: what it takes is what the full
 * checks would have taken, and nothing else (E.3 to E.7). */

#include <cstdlib>
#include <memory>
#include <random>

#include <gtest/gtest.h>

#include "driver/rndis_packet.h"
#include "tests/unit/far_ring.h"

namespace netvsc {
namespace {

using namespace test;

constexpr size_t kLength = 4, kDataOffset = 8, kDataLength = 12,
                 kPpiOffset = 28, kPpiLength = 32;
/* Of the first element. */
constexpr size_t kElementType = 48, kElementOffset = 52, kElementValue = 56;

/* Checksum good, hash value, hash info. */
Bytes
usual_frame(size_t size, uint32_t hash = 0x12345678)
{
    return rndis_frame(make_frame(size), {{0, 0x28}, {8, hash}, {9, 0x101}});
}

struct Result {
    bool good;
    netvsc_rx_frame frame = {};
    netvsc_fragment fragment = {};
};

Result
by_shape(RndisShape *shape, const Bytes &message)
{
    Result result;
    result.good = shape->parse(std::span(message.data(), message.size()),
                               &result.fragment, &result.frame);
    return result;
}

Result
by_walk(const Bytes &message, RndisShape *shape)
{
    Result result;
    result.good =
        !parse_rndis_packet(std::span(message.data(), message.size()),
                            &result.fragment, &result.frame, shape);
    return result;
}

void
expect_same(const Result &one, const Result &other)
{
    ASSERT_EQ(one.good, other.good);
    ASSERT_EQ(one.frame.size, other.frame.size);
    ASSERT_EQ(one.frame.flags, other.frame.flags);
    ASSERT_EQ(one.frame.n_fragments, other.frame.n_fragments);
    ASSERT_EQ(one.fragment.data, other.fragment.data);
    ASSERT_EQ(one.fragment.size, other.fragment.size);
    if (one.frame.flags & NETVSC_RX_HASH) {
        ASSERT_EQ(one.frame.rss_hash, other.frame.rss_hash);
    }
    if (one.frame.flags & NETVSC_RX_VLAN) {
        ASSERT_EQ(one.frame.vlan_tci, other.frame.vlan_tci);
    }
}

class RndisShapeTest : public testing::Test {
protected:
    void
    learn(const Bytes &message)
    {
        ASSERT_TRUE(by_walk(message, &shape).good);
    }

    RndisShape shape;
};

TEST_F(RndisShapeTest, KnowsNothingAtFirst)
{
    EXPECT_FALSE(by_shape(&shape, usual_frame(60)).good);
}

TEST_F(RndisShapeTest, LearnsTheFirstAndThenNowAndThen)
{
    EXPECT_TRUE(shape.wants_to_learn());
    unsigned learned = 0;
    for (unsigned i = 0; i < 100; i++) {
        learned += shape.wants_to_learn();
    }
    EXPECT_GT(learned, 5u);
    EXPECT_LT(learned, 20u);
}

TEST_F(RndisShapeTest, TakesOtherLengthsAndValues)
{
    learn(usual_frame(60));
    for (size_t size : {14u, 60u, 61u, 1514u, 64507u}) {
        Bytes message = usual_frame(size, static_cast<uint32_t>(size) * 77);
        put32(message, kElementValue, size % 2 ? 0x28 : 0x05);
        Result result = by_shape(&shape, message);
        ASSERT_TRUE(result.good) << size;
        EXPECT_EQ(result.frame.rss_hash, size * 77);
        EXPECT_EQ(result.fragment.data, message.data() + 44 + 48);
        RndisShape other;
        expect_same(result, by_walk(message, &other));
    }
}

TEST_F(RndisShapeTest, KnowsEveryNumberOfElementsThatFits)
{
    std::vector<Element> elements;
    for (Element element : std::vector<Element>{
             {9, 1}, {6, 0x640005}, {0, 0x28}, {8, 99}, {0x80000001, 7}}) {
        elements.push_back(element);
        Bytes message = rndis_frame(make_frame(14), elements);
        learn(message);
        Result result = by_shape(&shape, message);
        ASSERT_TRUE(result.good) << elements.size();
        RndisShape other;
        expect_same(result, by_walk(message, &other));
    }
    /* A sixth is walked each time. */
    elements.push_back({10, 1});
    Bytes message = rndis_frame(make_frame(60), elements);
    learn(message);
    EXPECT_FALSE(by_shape(&shape, message).good);
}

TEST_F(RndisShapeTest, RefusesEveryOtherForm)
{
    learn(usual_frame(60));
    for (size_t at : {size_t{0}, kDataOffset, size_t{16}, kPpiOffset,
                      kPpiLength, size_t{36}, size_t{40}, size_t{44},
                      kElementType, kElementOffset, size_t{60}, size_t{80}}) {
        Bytes message = usual_frame(60);
        message[at] ^= 4;
        EXPECT_FALSE(by_shape(&shape, message).good) << at;
    }
}

TEST_F(RndisShapeTest, RefusesLengthsThatAreWrong)
{
    learn(usual_frame(60));
    Bytes good = usual_frame(60);
    for (auto [at, value] :
         std::vector<std::pair<size_t, uint32_t>>{{kLength, 0},
                                                  {kLength, 151},
                                                  {kLength, 153},
                                                  {kLength, ~0u},
                                                  {kDataLength, 13},
                                                  {kDataLength, 61},
                                                  {kDataLength, 65532},
                                                  {kDataLength, ~0u - 91}}) {
        Bytes message = good;
        put32(message, at, value);
        EXPECT_FALSE(by_shape(&shape, message).good) << at << " " << value;
    }
    /* And ranges that end early. */
    for (size_t size = 0; size < good.size(); size++) {
        Bytes message(good.begin(), good.begin() + static_cast<long>(size));
        EXPECT_FALSE(by_shape(&shape, message).good) << size;
    }
}

TEST_F(RndisShapeTest, FormsThatMustBeWalkedAreNotLearned)
{
    /* Two elements of a kind. */
    learn(rndis_frame(make_frame(60), {{8, 1}, {8, 2}}));
    EXPECT_FALSE(
        by_shape(&shape, rndis_frame(make_frame(60), {{8, 1}, {8, 2}})).good);
    /* Elements behind the frame. */
    Bytes behind = rndis_frame(make_frame(60));
    behind.resize(44 + 60 + 16);
    put32(behind, kLength, 44 + 60 + 16);
    put32(behind, kPpiOffset, 36 + 60);
    put32(behind, kPpiLength, 16);
    put32(behind, 104, 16);
    put32(behind, 108, 8);
    put32(behind, 112, 12);
    learn(behind);
    EXPECT_FALSE(by_shape(&shape, behind).good);
    /* A frame that begins among the elements. */
    Bytes over = usual_frame(60);
    put32(over, kDataOffset, 36 + 47);
    learn(over);
    EXPECT_FALSE(by_shape(&shape, over).good);
}

TEST_F(RndisShapeTest, AWrongMessageIsNotLearned)
{
    Bytes message = usual_frame(60);
    put32(message, 44 + 32, 0); /* The third element's size. */
    EXPECT_FALSE(by_walk(message, &shape).good);
    EXPECT_FALSE(by_shape(&shape, message).good);
    EXPECT_FALSE(by_shape(&shape, usual_frame(60)).good);
}

/* Random damage to good messages: whatever the form takes, the walk takes in
 * the same way. */
TEST_F(RndisShapeTest, TakesNothingThatTheWalkRefuses)
{
    const std::vector<Bytes> seeds = {
        usual_frame(60), rndis_frame(make_frame(60)),
        rndis_frame(make_frame(200), {{0, 0x28}}),
        rndis_frame(make_frame(33), {{6, 0x640005}, {8, 1}, {0, 5}}),
        rndis_frame(make_frame(64), {{9, 1}, {0x80000002, 1}, {8, 3}})};
    std::mt19937 random(2026);
    const uint32_t words[] = {0, 4, 12, 16, 36, 44, 48, 0x7fffffff, ~0u};
    unsigned taken = 0;
    for (unsigned round = 0; round < 200'000; round++) {
        Bytes message = seeds[random() % seeds.size()];
        unsigned damages = random() % 4;
        for (unsigned i = 0; i < damages && message.size() > 8; i++) {
            size_t at = random() % (message.size() - 4);
            switch (random() % 3) {
            case 0:
                message[at] ^= static_cast<uint8_t>(1 << random() % 8);
                break;
            case 1:
                put32(message, at & ~size_t{3}, words[random() % 9]);
                break;
            case 2:
                message.resize(at + 4);
                break;
            }
        }
        Result quick = by_shape(&shape, message);
        RndisShape other;
        Result full = by_walk(message, &other);
        if (quick.good) {
            taken++;
            ASSERT_NO_FATAL_FAILURE(expect_same(quick, full)) << round;
        } else {
            (void) by_walk(message, &shape);
        }
    }
    EXPECT_GT(taken, 10'000u);
}

} // namespace
} // namespace netvsc
