/* The machine's ports, as a kernel's drivers use them, and its hypercalls. */

#include <map>
#include <optional>

#include <gtest/gtest.h>

#include "host/vmm/hypercall.h"
#include "host/vmm/platform.h"
#include "tests/unit/host_guest.h"
#include "tests/unit/vmm_ram.h"

namespace netvsc::host::vmm::test {

namespace {

using host::test::from_hex;

class VmmPlatform : public ::testing::Test {
protected:
    void
    out(uint16_t port, uint8_t value)
    {
        platform_.write(port, bytes_of(value));
    }
    void
    out(uint16_t port, const std::string &text)
    {
        for (char c : text) {
            out(port, static_cast<uint8_t>(c));
        }
    }
    uint8_t
    in(uint16_t port)
    {
        std::byte value{};
        platform_.read(port, {&value, 1});
        return static_cast<uint8_t>(value);
    }
    /* What an interrupt handler of the port would read. */
    std::string
    read_input(uint16_t port = 0x3f8)
    {
        std::string text;
        while (text.size() < 100 && (in(port + 5) & 1)) {
            text += static_cast<char>(in(port));
        }
        return text;
    }

    std::string console_;
    std::map<uint32_t, bool> lines_;
    std::optional<GuestEnd> end_;
    unsigned drained_ = 0;
    Platform platform_{
        {[this](std::string_view text) { console_ += text; },
         [this] { drained_++; },
         [this](uint32_t line, bool level) { lines_[line] = level; },
         [this](GuestEnd end) { end_ = end; }}};
};

TEST_F(VmmPlatform, SendsTheConsoleByLines)
{
    out(0x3f8, "boot");
    EXPECT_EQ(console_, "");
    out(0x3f8, "ing\n~");
    EXPECT_EQ(console_, "booting\n");
    platform_.flush_console();
    EXPECT_EQ(console_, "booting\n~");
    out(0x3f8, std::string(600, 'x'));
    EXPECT_GT(console_.size(), 500u) << "no line is that long";
}

TEST_F(VmmPlatform, LeavesTheDivisorAndTheLoopOutOfTheText)
{
    out(0x3fb, 0x80);
    out(0x3f8, 0x0c);
    out(0x3f9, 0x00);
    EXPECT_EQ(in(0x3f8), 0x0c);
    out(0x3fb, 0x03);
    out(0x3fc, 0x10); /* Loop. */
    out(0x3f8, "x");
    out(0x3fc, 0x03);
    out(0x3f8, "\n");
    EXPECT_EQ(console_, "\n");
    EXPECT_EQ(in(0x3fb), 0x03);
    out(0x3ff, 0x5a);
    EXPECT_EQ(in(0x3ff), 0x5a);
}

TEST_F(VmmPlatform, InterruptsWhenTheTransmitterIsEmpty)
{
    out(0x3fa, 0x01); /* FIFOs on. */
    EXPECT_EQ(in(0x3fa), 0xc1) << "no interrupt";
    EXPECT_EQ(in(0x3fd), 0x60) << "empty";
    out(0x3f9, 0x02);
    EXPECT_TRUE(lines_[4]);
    EXPECT_EQ(in(0x3fa), 0xc2);
    EXPECT_FALSE(lines_[4]) << "the guest knows";
    EXPECT_EQ(in(0x3fa), 0xc1);
    out(0x3f8, "x");
    EXPECT_TRUE(lines_[4]);
    out(0x3f9, 0x00);
    EXPECT_FALSE(lines_[4]) << "it does not want to know";
    EXPECT_FALSE(lines_[3]);
}

TEST_F(VmmPlatform, TypesWhenTheGuestListens)
{
    platform_.type("ls\n");
    EXPECT_EQ(in(0x3f8), 0) << "a driver that starts empties the port";
    EXPECT_FALSE(lines_[4]);
    out(0x3f9, 0x01);
    EXPECT_TRUE(lines_[4]);
    EXPECT_EQ(in(0x3fa), 0x04) << "data";
    EXPECT_EQ(drained_, 0u);
    EXPECT_EQ(read_input(), "ls\n");
    EXPECT_EQ(drained_, 1u);
    EXPECT_FALSE(lines_[4]);
    EXPECT_EQ(in(0x3f8), 0);
    EXPECT_EQ(drained_, 1u);

    platform_.type("x");
    EXPECT_TRUE(lines_[4]);
    EXPECT_EQ(read_input(), "x");
    EXPECT_EQ(drained_, 2u);
}

TEST_F(VmmPlatform, TakesTheVerdictFromTheSecondPort)
{
    EXPECT_FALSE(platform_.verdict());
    for (const char *nothing : {"\r\n", "-1\r\n", "256\n", "7 \n", "x\n",
                                "99999999999999999999\n", "0\r"}) {
        out(0x2f8, nothing);
        EXPECT_FALSE(platform_.verdict()) << nothing;
    }
    out(0x2f8, "\n");
    EXPECT_EQ(platform_.verdict(), 0);
    out(0x2f8, "255\n");
    EXPECT_EQ(platform_.verdict(), 255);
    EXPECT_EQ(console_, "");
    out(0x2f9, 0x02);
    EXPECT_TRUE(lines_[3]);
    EXPECT_FALSE(lines_[4]);
}

TEST_F(VmmPlatform, SwitchesOffAndResets)
{
    out(0x600, 0x14);
    EXPECT_FALSE(end_) << "SLP_EN is not set";
    out(0x600, 0x34);
    EXPECT_EQ(end_, GuestEnd::kPoweredOff);
    struct {
        uint16_t port;
        uint8_t value;
    } resets[] = {{0x602, 1}, {0xcf9, 6}, {0x64, 0xfe}};
    for (auto [port, value] : resets) {
        end_.reset();
        out(port, value);
        EXPECT_EQ(end_, GuestEnd::kReset) << std::hex << port;
    }
    end_.reset();
    out(0x602, 0);
    out(0xcf9, 2);
    out(0x64, 0xd1);
    EXPECT_FALSE(end_);
}

TEST_F(VmmPlatform, ReadsOnesWhereNothingIs)
{
    uint32_t value = 0;
    platform_.read(0xcfc, std::as_writable_bytes(std::span(&value, 1)));
    EXPECT_EQ(value, UINT32_MAX);
    EXPECT_EQ(in(0x601), 0);
    platform_.write(0x600, {});
    platform_.write(0xcf8, from_hex("00000080"));
    EXPECT_FALSE(end_);
}

TEST(VmmCmosClock, TellsTheTime)
{
    constexpr time_t kThen = 1795379696; /* 2026-11-22 20:34:56, a Sunday. */
    struct {
        uint8_t index, value;
    } registers[] = {{0x00, 0x56}, {0x02, 0x34}, {0x04, 0x20}, {0x06, 0x01},
                     {0x07, 0x22}, {0x08, 0x11}, {0x09, 0x26}, {0x32, 0x20},
                     {0x0a, 0x26}, {0x0b, 0x02}, {0x0d, 0x80}, {0x7f, 0x00}};
    CmosClock clock;
    for (auto [index, value] : registers) {
        clock.select(index | 0x80);
        EXPECT_EQ(clock.read(kThen), value) << std::hex << unsigned{index};
    }
}

/* A bus that remembers what it was told. */
class Bus : public HypercallSink {
public:
    uint16_t
    message_posted(uint32_t connection, uint32_t type, Bytes payload) override
    {
        told =
            "post " + std::to_string(connection) + " " + std::to_string(type);
        posted.assign(payload.begin(), payload.end());
        return 19;
    }
    uint16_t
    event_signalled(uint32_t connection, uint16_t flag) override
    {
        told = "signal " + std::to_string(connection) + " " +
               std::to_string(flag);
        return 18;
    }
    void
    guest_gone() override
    {
    }

    std::string told;
    host::test::Buffer posted;
};

class VmmHypercall : public ::testing::Test {
protected:
    /* The input block of HvPostMessage (B.10). */
    void
    post_block(uint64_t at, uint32_t size)
    {
        ram_.put<uint32_t>(at, 4);
        ram_.put<uint32_t>(at + 8, 1);
        ram_.put<uint32_t>(at + 12, size);
        ram_.put<uint32_t>(at + 16, 0x04030201);
    }

    TestRam ram_{4};
    Bus bus_;
};

TEST_F(VmmHypercall, PostsAMessageFromMemory)
{
    post_block(0x1000, 3);
    EXPECT_EQ(hypercall(ram_, bus_, 0x5c, 0x1000), 19) << "the bus's answer";
    EXPECT_EQ(bus_.told, "post 4 1");
    EXPECT_EQ(bus_.posted, from_hex("010203"));
    post_block(3 * kPage + 4096 - 256, 0);
    EXPECT_EQ(hypercall(ram_, bus_, 0x5c, 3 * kPage + 4096 - 256), 19);
    EXPECT_TRUE(bus_.posted.empty());
    post_block(0x1000, 240);
    EXPECT_EQ(hypercall(ram_, bus_, 0x5c, 0x1000), 19);
}

TEST_F(VmmHypercall, RefusesMessagesOutsideOfTheirPlace)
{
    post_block(0x1000, 241);
    EXPECT_EQ(hypercall(ram_, bus_, 0x5c, 0x1000), 5) << "too long";
    post_block(0x1000, UINT32_MAX);
    EXPECT_EQ(hypercall(ram_, bus_, 0x5c, 0x1000), 5);
    post_block(0x1000, 3);
    EXPECT_EQ(hypercall(ram_, bus_, 0x1005c, 0x1000), 5) << "in registers";
    EXPECT_EQ(hypercall(ram_, bus_, 0x5c, 0x1004), 5) << "not aligned";
    EXPECT_EQ(hypercall(ram_, bus_, 0x5c, 0x1f08), 5) << "in two pages";
    for (uint64_t address :
         {4 * kPage, uint64_t{1} << 40, ~uint64_t{0xff}, ~uint64_t{7}}) {
        EXPECT_EQ(hypercall(ram_, bus_, 0x5c, address), 5) << address;
    }
    EXPECT_EQ(bus_.told, "");
}

TEST_F(VmmHypercall, SignalsAnEventFromARegisterOrFromMemory)
{
    EXPECT_EQ(hypercall(ram_, bus_, 0x1005d, 0x700010001), 18);
    EXPECT_EQ(bus_.told, "signal 65537 7");
    ram_.put<uint64_t>(0x2ff8, 0x10002);
    EXPECT_EQ(hypercall(ram_, bus_, 0x5d, 0x2ff8), 18);
    EXPECT_EQ(bus_.told, "signal 65538 0");
    EXPECT_EQ(hypercall(ram_, bus_, 0x5d, 0x2ffc), 5);
    EXPECT_EQ(hypercall(ram_, bus_, 0x5d, 4 * kPage), 5);
}

TEST_F(VmmHypercall, KnowsNoOther)
{
    for (uint64_t code : {0u, 1u, 0x5eu, 0x8001u, 0xffffu, 0x10002u}) {
        EXPECT_EQ(hypercall(ram_, bus_, code, 0x1000), 2) << code;
    }
    EXPECT_EQ(bus_.told, "");
}

} // namespace

} // namespace netvsc::host::vmm::test
