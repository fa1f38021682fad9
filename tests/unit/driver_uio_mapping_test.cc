/* What a device's memory does when the device goes: a file stands for it. */

#include <vector>

#include <gtest/gtest.h>

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "driver/kernel/uio_mapping.h"

namespace netvsc {
namespace {

constexpr uint64_t kSize = 1 << 20;

class MappingTest : public testing::Test {
protected:
    MappingTest() : file_(memfd_create("device", MFD_CLOEXEC))
    {
        EXPECT_EQ(ftruncate(file_.get(), kSize), 0);
    }

    FileDescriptor file_;
};

TEST_F(MappingTest, APopulatedMappingHasAllItsPages)
{
    auto mapping =
        Mapping::create(file_.get(), 0, kSize, 0, "buffer of device");
    ASSERT_TRUE(mapping);
    EXPECT_TRUE(mapping->populate("buffer of device"));
    std::vector<unsigned char> present(kSize / 4096);
    ASSERT_EQ(mincore(mapping->span().data(), kSize, present.data()), 0);
    for (unsigned char page : present) {
        EXPECT_EQ(page & 1, 1);
    }
}

/* Absent, as a NIC that is not there: it may come back at any time. */
TEST_F(MappingTest, ADeviceThatGoesMeanwhileIsAbsent)
{
    auto mapping =
        Mapping::create(file_.get(), 0, kSize, 0, "buffer of device");
    ASSERT_TRUE(mapping);
    ASSERT_EQ(ftruncate(file_.get(), kSize / 2), 0);
    Status status = mapping->populate("buffer of device");
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ENODEV);
    EXPECT_EQ(status.error().message,
              "The buffer of device is gone: the host has just taken the "
              "adapter away.");
}

} // namespace
} // namespace netvsc
