/* Memory and wires that are not the session's own: DMA regions, the memory of
 * another process, and the queue between two NICs. */

#include <cstdlib>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>

#include "host/netvsp/guest_memory.h"
#include "host/wires/peer.h"
#include "tests/unit/host_guest.h"

namespace netvsc::host::test {

namespace {

UniqueFd
region(size_t pages, uint8_t fill,
       int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW)
{
    UniqueFd fd(memfd_create("region", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    std::vector<uint8_t> bytes(pages * 4096, fill);
    EXPECT_EQ(write(fd.get(), bytes.data(), bytes.size()),
              static_cast<ssize_t>(bytes.size()));
    EXPECT_EQ(fcntl(fd.get(), F_ADD_SEALS, seals), 0);
    return fd;
}

TEST(HostDmaRegions, AreReadPieceByPiece)
{
    DmaRegions memory;
    ASSERT_TRUE(memory.add(region(2, 0xaa), 16, 2));
    ASSERT_TRUE(memory.add(region(1, 0xbb), 100, 1));
    GpaPiece pieces[] = {{100 * 4096 + 4094, 2}, {17 * 4096 + 4095, 1}};
    Buffer bytes(3);
    ASSERT_TRUE(memory.read(pieces, bytes));
    EXPECT_EQ(to_hex(bytes), to_hex(from_hex("bbbbaa")));
}

TEST(HostDmaRegions, EndWhereTheyEnd)
{
    DmaRegions memory;
    ASSERT_TRUE(memory.add(region(1, 0xaa), 16, 1));
    Buffer bytes(2);
    constexpr uint64_t kWrong[] = {16 * 4096 - 1, 16 * 4096 + 4095, 17 * 4096,
                                   0, UINT64_MAX};
    for (uint64_t address : kWrong) {
        GpaPiece piece{address, 2};
        EXPECT_FALSE(memory.read({&piece, 1}, bytes)) << address;
    }
    EXPECT_FALSE(memory.add(region(1, 0), 16, 1)) << "overlaps";
    EXPECT_FALSE(memory.add(region(1, 0), 32, 2)) << "longer than its memory";
}

/* A guest could take others away under the host, or let it wait: a file may be
 * of a file system that the guest serves itself. */
TEST(HostDmaRegions, AreSealedMemoryOnly)
{
    DmaRegions memory;
    for (int seals : {0, F_SEAL_SEAL, F_SEAL_SHRINK | F_SEAL_GROW}) {
        EXPECT_FALSE(memory.add(region(1, 0, seals), 16, 1)) << seals;
    }
    std::string path = "/tmp/netvsc-region-XXXXXX";
    UniqueFd file(mkstemp(path.data()));
    unlink(path.c_str());
    ASSERT_EQ(ftruncate(file.get(), 4096), 0);
    EXPECT_FALSE(memory.add(std::move(file), 16, 1));
    EXPECT_TRUE(memory.add(region(1, 0), 16, 1));
}

TEST(HostProcessMemory, IsReadByAddress)
{
    ProcessMemory memory;
    memory.attach(getpid());
    Buffer there = from_hex("0102030405");
    auto address = reinterpret_cast<uint64_t>(there.data());
    GpaPiece pieces[] = {{address + 3, 2}, {address, 1}};
    Buffer bytes(3);
    ASSERT_TRUE(memory.read(pieces, bytes));
    EXPECT_EQ(to_hex(bytes), to_hex(from_hex("040501")));
    GpaPiece nowhere{8, 3};
    EXPECT_FALSE(memory.read({&nowhere, 1}, bytes));
}

class HostPeer : public testing::Test {
protected:
    PeerQueues queues;
    WireCounters left_counters;
    WireCounters right_counters;
    PeerBackend left{queues.between("right", "left"),
                     queues.between("left", "right"), left_counters};
    std::optional<PeerBackend> right{
        std::in_place, queues.between("left", "right"),
        queues.between("right", "left"), right_counters};
};

TEST_F(HostPeer, PassesFramesInOrder)
{
    ASSERT_TRUE(left.transmit(plain_frame(60, 1), true));
    ASSERT_TRUE(left.transmit(plain_frame(70, 2), false));
    std::optional<WireFrame> frame = right->receive();
    ASSERT_TRUE(frame);
    EXPECT_EQ(to_hex(frame->bytes), to_hex(plain_frame(60, 1)));
    EXPECT_TRUE(frame->checksum_good);
    frame = right->receive();
    ASSERT_TRUE(frame);
    EXPECT_EQ(frame->bytes.size(), 70u);
    EXPECT_FALSE(frame->checksum_good);
    EXPECT_FALSE(right->receive());
    EXPECT_FALSE(left.receive());
    EXPECT_EQ(left_counters.written, 2u);
    EXPECT_EQ(right_counters.read, 2u);
}

TEST_F(HostPeer, TakesNoMoreThanFits)
{
    unsigned taken = 0;
    while (left.transmit(plain_frame(60), false)) {
        ASSERT_LT(++taken, 100'000u);
    }
    EXPECT_EQ(left_counters.written, taken);
    unsigned got = 0;
    while (right->receive()) {
        got++;
    }
    EXPECT_EQ(got, taken);
    EXPECT_TRUE(left.transmit(plain_frame(60), false));
}

TEST_F(HostPeer, TakesNothingForAPeerThatIsNotThere)
{
    right.reset();
    EXPECT_FALSE(left.transmit(plain_frame(60), false));
    EXPECT_EQ(left_counters.written, 0u);
}

TEST_F(HostPeer, WakesOnlyWhoSleeps)
{
    auto readable = [&] {
        pollfd event = {right->event_fd(), POLLIN, 0};
        return poll(&event, 1, 0) == 1;
    };
    ASSERT_TRUE(left.transmit(plain_frame(60), false));
    left.flush();
    EXPECT_FALSE(readable());
    EXPECT_FALSE(right->prepare_sleep()) << "a frame waits";
    EXPECT_TRUE(right->receive());
    EXPECT_FALSE(right->receive());
    EXPECT_TRUE(right->prepare_sleep());
    ASSERT_TRUE(left.transmit(plain_frame(60), false));
    left.flush();
    EXPECT_TRUE(readable());
}

} // namespace

} // namespace netvsc::host::test
