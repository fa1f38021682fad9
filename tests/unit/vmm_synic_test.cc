/* The host's half of the SynIC against a guest that the test plays, from the
 * offsets of the protocol (B.1, B.9). */

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "host/vmm/synic.h"
#include "tests/unit/host_guest.h"
#include "tests/unit/vmm_ram.h"

namespace netvsc::host::vmm::test {

namespace {

using host::test::from_hex;
using host::test::to_hex;

constexpr uint64_t kMessages = 3 * kPage;
constexpr uint64_t kEvents = 4 * kPage;
/* SINT2 in either page. */
constexpr uint64_t kSlot = kMessages + 512;
constexpr uint64_t kFlags = kEvents + 512;

class VmmSynic : public ::testing::Test {
protected:
    void
    enable(unsigned vcpu = 0)
    {
        synic_.set_registers(vcpu, 1, kEvents | 1, kMessages | 1);
    }
    bool
    post(const std::string &hex, unsigned vcpu = 0)
    {
        return synic_.post_message(vcpu, from_hex(hex));
    }
    /* The payload in the slot is `hex`; the slot
     * is free when that is empty. */
    ::testing::AssertionResult
    holds(const std::string &hex)
    {
        size_t size =
            ram_.get<uint32_t>(kSlot) == 0 ? 0 : ram_.get<uint8_t>(kSlot + 4);
        std::string found = to_hex(ram_.at(kSlot + 16, size));
        return (found == to_hex(from_hex(hex)) ? ::testing::AssertionSuccess()
                                               : ::testing::AssertionFailure())
               << "the slot holds [" << found << "]";
    }
    bool
    pending()
    {
        return ram_.get<uint8_t>(kSlot + 5) & 1;
    }
    void
    free_slot()
    {
        ram_.put<uint32_t>(kSlot, 0);
    }

    TestRam ram_{8};
    std::vector<unsigned> interrupts_{0, 0};
    Synic synic_{ram_, 2, [this](unsigned vcpu) { interrupts_[vcpu]++; }};
};

TEST_F(VmmSynic, PutsAMessageIntoTheFreeSlot)
{
    enable();
    ASSERT_TRUE(post("0f00000000000000 01000000"));
    EXPECT_EQ(ram_.get<uint32_t>(kSlot), 1u);
    EXPECT_EQ(ram_.get<uint8_t>(kSlot + 4), 12);
    EXPECT_EQ(ram_.get<uint8_t>(kSlot + 5), 0);
    EXPECT_TRUE(holds("0f00000000000000 01000000"));
    EXPECT_EQ(interrupts_[0], 1u);
    EXPECT_EQ(interrupts_[1], 0u);
}

TEST_F(VmmSynic, NeverOverwritesAMessageAndKeepsTheOrder)
{
    enable();
    ASSERT_TRUE(post("01"));
    ASSERT_TRUE(post("02"));
    ASSERT_TRUE(post("03"));
    EXPECT_TRUE(holds("01"));
    EXPECT_TRUE(pending()) << "the guest must say when it is done";
    EXPECT_EQ(interrupts_[0], 1u);

    synic_.acknowledged(0);
    EXPECT_TRUE(holds("01")) << "it is not done";

    free_slot();
    synic_.acknowledged(0);
    EXPECT_TRUE(holds("02"));
    EXPECT_TRUE(pending());
    free_slot();
    synic_.acknowledged(0);
    EXPECT_TRUE(holds("03"));
    EXPECT_FALSE(pending());
    free_slot();
    synic_.acknowledged(0);
    EXPECT_TRUE(holds(""));
    EXPECT_EQ(interrupts_[0], 3u);
}

TEST_F(VmmSynic, WaitsForAGuestThatHasItsPageOff)
{
    ASSERT_TRUE(post("01"));
    EXPECT_TRUE(holds(""));
    synic_.set_registers(0, 0, kEvents | 1, kMessages | 1);
    EXPECT_TRUE(holds("")) << "SCONTROL is off";
    synic_.set_registers(0, 1, kEvents | 1, kMessages);
    EXPECT_TRUE(holds("")) << "SIMP is off";
    EXPECT_EQ(interrupts_[0], 0u);
    enable();
    EXPECT_TRUE(holds("01"));
}

TEST_F(VmmSynic, LeavesPagesOutsideOfTheMemoryAlone)
{
    for (uint64_t page : {8 * kPage, uint64_t{1} << 40, ~uint64_t{0xfff}}) {
        synic_.set_registers(0, 1, page | 1, page | 1);
        ASSERT_TRUE(post("01"));
        synic_.set_event_flag(0, 7);
    }
    EXPECT_EQ(interrupts_[0], 0u);
}

TEST_F(VmmSynic, KeepsABoundedNumberOfMessages)
{
    size_t kept = 0;
    while (kept < 100000 && post("01")) {
        kept++;
    }
    EXPECT_GE(kept, 500u) << "the offers of a VM full of NICs";
    EXPECT_LT(kept, 100000u);
    enable();
    EXPECT_TRUE(post("02"));
}

TEST_F(VmmSynic, RefusesWhatNoSlotHolds)
{
    enable();
    EXPECT_FALSE(synic_.post_message(0, host::test::Buffer(241)));
    EXPECT_FALSE(post("01", 2)) << "there is no such vCPU";
    EXPECT_TRUE(synic_.post_message(0, host::test::Buffer(240)));
    EXPECT_EQ(ram_.get<uint8_t>(kSlot + 4), 240);
}

TEST_F(VmmSynic, InterruptsOnceForAFlagUntilTheGuestClearsIt)
{
    enable(1);
    synic_.set_event_flag(1, 9);
    EXPECT_EQ(ram_.get<uint8_t>(kFlags + 1), 2) << "bit 9, lowest first";
    EXPECT_EQ(interrupts_[1], 1u);
    synic_.set_event_flag(1, 9);
    EXPECT_EQ(interrupts_[1], 1u);
    synic_.set_event_flag(1, 8);
    EXPECT_EQ(ram_.get<uint8_t>(kFlags + 1), 3);
    EXPECT_EQ(interrupts_[1], 2u);
    ram_.put<uint8_t>(kFlags + 1, 0);
    synic_.set_event_flag(1, 9);
    EXPECT_EQ(interrupts_[1], 3u);
    EXPECT_EQ(interrupts_[0], 0u);
}

TEST_F(VmmSynic, HasTwoThousandAndFortyEightFlags)
{
    enable();
    synic_.set_event_flag(0, 2047);
    EXPECT_EQ(ram_.get<uint8_t>(kFlags + 255), 0x80);
    synic_.set_event_flag(0, 2048);
    synic_.set_event_flag(0, UINT32_MAX);
    synic_.set_event_flag(2, 1);
    EXPECT_EQ(interrupts_[0], 1u);
    EXPECT_EQ(ram_.get<uint8_t>(kFlags + 256), 0);
}

/* A guest that frees the slot as Linux does, and says so only when it finds
 * the flag: no message may be forgotten between the two. */
TEST_F(VmmSynic, ForgetsNoMessageOfABusyGuest)
{
    constexpr uint32_t kCount = 20000;
    enable();
    std::atomic<bool> wrong = false;
    std::thread guest([&] {
        std::atomic_ref<uint32_t> type(
            *reinterpret_cast<uint32_t *>(&ram_.bytes()[kSlot]));
        std::atomic_ref<uint8_t> flags(
            *reinterpret_cast<uint8_t *>(&ram_.bytes()[kSlot + 5]));
        auto deadline =
            std::chrono::steady_clock::now() + std::chrono::seconds(20);
        for (uint32_t expected = 0; expected < kCount;) {
            if (type.load() == 0) {
                if (std::chrono::steady_clock::now() > deadline) {
                    wrong = true;
                    return;
                }
                std::this_thread::yield();
                continue;
            }
            wrong = wrong || ram_.get<uint32_t>(kSlot + 16) != expected;
            expected++;
            type.store(0);
            if (flags.load() & 1) {
                synic_.acknowledged(0);
            }
        }
    });
    for (uint32_t i = 0; i < kCount && !wrong; i++) {
        while (!synic_.post_message(0, bytes_of(i)) && !wrong) {
            std::this_thread::yield();
        }
    }
    guest.join();
    EXPECT_FALSE(wrong);
}

} // namespace

} // namespace netvsc::host::vmm::test
