/* A kernel in memory as its boot protocol wants it: literal offsets of the
 * zero page and of the two file formats. */

#include <cstring>

#include <gtest/gtest.h>

#include "host/base/error.h"
#include "host/vmm/guest_ram.h"
#include "host/vmm/linux_boot.h"
#include "tests/unit/host_guest.h"
#include "tests/unit/vmm_ram.h"

namespace netvsc::host::vmm::test {

namespace {

using host::test::Buffer;

constexpr uint64_t kMib = 1 << 20;
constexpr uint64_t kRsdp = 0xe0000;
constexpr uint64_t kZeroPage = 0x7000;

template <typename T>
void
put(Buffer &file, size_t at, T value)
{
    store(MutableBytes(file), at, value);
}

/* A bzImage of one setup sector and `code` bytes that count up. */
Buffer
bzimage(size_t code = 0x1000)
{
    Buffer file(1024 + code);
    put<uint8_t>(file, 0x1f1, 1);           /* setup_sects */
    put<uint16_t>(file, 0x1fe, 0xaa55);     /* boot_flag */
    put<uint16_t>(file, 0x200, 0x6aeb);     /* jump over the header */
    put<uint32_t>(file, 0x202, 0x53726448); /* "HdrS" */
    put<uint16_t>(file, 0x206, 0x020f);     /* version */
    put<uint32_t>(file, 0x22c, 0x7fffffff); /* initrd_addr_max */
    put<uint32_t>(file, 0x230, 0x200000);   /* kernel_alignment */
    put<uint16_t>(file, 0x236, 1);          /* 64-bit entry */
    put<uint64_t>(file, 0x258, 16 * kMib);  /* pref_address */
    put<uint32_t>(file, 0x260, 4 * kMib);   /* init_size */
    for (size_t i = 0; i < code; i++) {
        put(file, 1024 + i, static_cast<uint8_t>(i));
    }
    return file;
}

/* An ELF kernel with one segment of 0x1000 bytes in the file and twice as
 * many in memory, at 2 MiB. */
Buffer
elf()
{
    Buffer file(0x2000);
    put<uint32_t>(file, 0, 0x464c457f);
    put<uint8_t>(file, 4, 2);            /* 64-bit */
    put<uint8_t>(file, 5, 1);            /* little-endian */
    put<uint16_t>(file, 18, 62);         /* x86-64 */
    put<uint64_t>(file, 24, 0x200040);   /* entry */
    put<uint64_t>(file, 32, 64);         /* program headers */
    put<uint16_t>(file, 54, 56);         /* size of one */
    put<uint16_t>(file, 56, 1);          /* and how many */
    put<uint32_t>(file, 64, 1);          /* PT_LOAD */
    put<uint64_t>(file, 64 + 8, 0x1000); /* in the file */
    put<uint64_t>(file, 64 + 16, 0xffffffff80200000);
    put<uint64_t>(file, 64 + 24, 0x200000);
    put<uint64_t>(file, 64 + 32, 0x1000);
    put<uint64_t>(file, 64 + 40, 0x2000);
    for (size_t i = 0; i < 0x1000; i++) {
        put(file, 0x1000 + i, static_cast<uint8_t>(i * 3));
    }
    return file;
}

class VmmBoot : public ::testing::Test {
protected:
    BootEntry
    load(const Buffer &kernel, const Buffer &initrd = {},
         const std::string &command_line = "quiet")
    {
        return load_linux(ram_, kernel, initrd, command_line, kRsdp);
    }
    /* The sentence of a kernel that is not loaded. */
    std::string
    refusal(const Buffer &kernel, const Buffer &initrd = {},
            const std::string &command_line = "quiet")
    {
        try {
            (void) load(kernel, initrd, command_line);
        } catch (const HostError &error) {
            return error.what();
        }
        return "";
    }

    TestRam ram_{64 * kMib / kPage};
};

TEST_F(VmmBoot, LoadsABzImageWhereItWantsToBe)
{
    BootEntry boot = load(bzimage());
    EXPECT_EQ(boot.entry, 16 * kMib + 0x200);
    EXPECT_EQ(boot.boot_parameters, kZeroPage);
    for (size_t i = 0; i < 0x1000; i++) {
        ASSERT_EQ(ram_.get<uint8_t>(16 * kMib + i), i & 0xff) << i;
    }
    EXPECT_EQ(ram_.get<uint32_t>(kZeroPage + 0x202), 0x53726448u);
    EXPECT_EQ(ram_.get<uint64_t>(kZeroPage + 0x258), 16 * kMib);
    EXPECT_EQ(ram_.get<uint8_t>(kZeroPage + 0x210), 0xff) << "loader";
    EXPECT_EQ(ram_.get<uint8_t>(kZeroPage + 0x211) & 1, 1) << "loaded high";
}

TEST_F(VmmBoot, LoadsTheSegmentsOfAnElfFile)
{
    BootEntry boot = load(elf());
    EXPECT_EQ(boot.entry, 0x200040u);
    for (size_t i = 0; i < 0x1000; i++) {
        ASSERT_EQ(ram_.get<uint8_t>(0x200000 + i), i * 3 & 0xff) << i;
    }
    EXPECT_EQ(ram_.get<uint32_t>(kZeroPage + 0x202), 0x53726448u);
}

TEST_F(VmmBoot, TellsOfMemoryCommandLineAndTables)
{
    (void) load(bzimage(), {}, "console=ttyS0 quiet");
    auto at = ram_.get<uint32_t>(kZeroPage + 0x228);
    std::string line("console=ttyS0 quiet");
    EXPECT_EQ(std::memcmp(&ram_.bytes()[at], line.c_str(), line.size() + 1),
              0);
    EXPECT_EQ(ram_.get<uint64_t>(kZeroPage + 0x70), kRsdp);

    struct {
        uint64_t start, end;
        uint32_t type;
    } areas[] = {{0, 0x9fc00, 1}, {0xe0000, kMib, 2}, {kMib, 64 * kMib, 1}};
    ASSERT_EQ(ram_.get<uint8_t>(kZeroPage + 0x1e8), std::size(areas));
    for (size_t i = 0; i < std::size(areas); i++) {
        uint64_t entry = kZeroPage + 0x2d0 + i * 20;
        EXPECT_EQ(ram_.get<uint64_t>(entry), areas[i].start);
        EXPECT_EQ(ram_.get<uint64_t>(entry + 8),
                  areas[i].end - areas[i].start);
        EXPECT_EQ(ram_.get<uint32_t>(entry + 16), areas[i].type);
    }
}

TEST_F(VmmBoot, PutsTheInitramfsAtTheTop)
{
    Buffer initrd(5000, std::byte{0x42});
    (void) load(bzimage(), initrd);
    auto at = ram_.get<uint32_t>(kZeroPage + 0x218);
    EXPECT_EQ(ram_.get<uint32_t>(kZeroPage + 0x21c), 5000u);
    EXPECT_EQ(at, 64 * kMib - 2 * kPage);
    EXPECT_EQ(ram_.get<uint8_t>(at), 0x42);
    EXPECT_EQ(ram_.get<uint8_t>(at + 4999), 0x42);

    Buffer low = bzimage();
    put<uint32_t>(low, 0x22c, 32 * kMib - 1);
    (void) load(low, initrd);
    EXPECT_EQ(ram_.get<uint32_t>(kZeroPage + 0x218), 32 * kMib - 2 * kPage)
        << "not above initrd_addr_max";
}

TEST_F(VmmBoot, StartsInLongModeWithMemoryMappedToItself)
{
    BootEntry boot = load(bzimage());
    kvm_sregs sregs{};
    kvm_regs regs{};
    set_boot_state(boot, sregs, regs);
    EXPECT_EQ(regs.rip, boot.entry);
    EXPECT_EQ(regs.rsi, kZeroPage);
    EXPECT_FALSE(regs.rflags & 1u << 9) << "interrupts are off";
    EXPECT_EQ(sregs.efer & 0x500, 0x500u);
    EXPECT_TRUE(sregs.cr0 & 1u << 31);
    EXPECT_EQ(sregs.cs.selector, 0x10);
    EXPECT_EQ(sregs.ds.selector, 0x18);
    EXPECT_EQ(ram_.get<uint64_t>(sregs.gdt.base + 0x10) >> 53 & 1, 1u)
        << "64-bit code";

    for (uint64_t address : {uint64_t{0}, 16 * kMib + 0x234567,
                             uint64_t{0xfee00000}, uint64_t{0xffffffff}}) {
        auto top = ram_.get<uint64_t>(sregs.cr3 + (address >> 39) * 8);
        ASSERT_TRUE(top & 1);
        auto gib =
            ram_.get<uint64_t>((top & ~0xfffull) + (address >> 30 & 511) * 8);
        ASSERT_TRUE(gib & 1);
        auto page =
            ram_.get<uint64_t>((gib & ~0xfffull) + (address >> 21 & 511) * 8);
        EXPECT_EQ(page & 0x83, 0x83u) << "present, writable, large";
        EXPECT_EQ((page & ~0x1fffffull) | (address & 0x1fffff), address);
    }
}

TEST_F(VmmBoot, RefusesWhatIsNoKernel)
{
    EXPECT_NE(refusal(Buffer(64)), "");
    EXPECT_NE(refusal(Buffer(100000)), "");
    EXPECT_NE(refusal({}), "");

    Buffer old = bzimage();
    put<uint16_t>(old, 0x206, 0x020b);
    EXPECT_NE(refusal(old), "") << "before there was a 64-bit entry";
    Buffer other = bzimage();
    put<uint16_t>(other, 0x236, 0);
    EXPECT_NE(refusal(other), "") << "for 32-bit machines";
    Buffer many = bzimage();
    put<uint8_t>(many, 0x1f1, 200);
    EXPECT_NE(refusal(many), "") << "more setup sectors than bytes";

    Buffer machine = elf();
    put<uint16_t>(machine, 18, 183);
    EXPECT_NE(refusal(machine), "") << "for arm64";
    for (uint64_t wrong : {uint64_t{0x1001}, UINT64_MAX}) {
        Buffer segment = elf();
        put<uint64_t>(segment, 64 + 32, wrong);
        EXPECT_NE(refusal(segment), "") << "longer than the file " << wrong;
        Buffer offset = elf();
        put<uint64_t>(offset, 64 + 8, wrong);
        EXPECT_NE(refusal(offset), "") << "behind the file " << wrong;
    }
    Buffer headers = elf();
    put<uint64_t>(headers, 32, UINT64_MAX - 8);
    EXPECT_NE(refusal(headers), "");
}

TEST_F(VmmBoot, RefusesWhatDoesNotFit)
{
    Buffer big = bzimage();
    put<uint32_t>(big, 0x260, 49 * kMib);
    EXPECT_NE(refusal(big), "") << "init_size beyond the memory";
    Buffer high = bzimage();
    put<uint64_t>(high, 0x258, UINT64_MAX - kMib);
    EXPECT_NE(refusal(high), "");
    Buffer low = bzimage();
    put<uint64_t>(low, 0x258, 0x1000);
    EXPECT_NE(refusal(low), "") << "over the boot parameters";
    Buffer segment = elf();
    put<uint64_t>(segment, 64 + 24, 64 * kMib - 0x1000);
    EXPECT_NE(refusal(segment), "");

    EXPECT_NE(refusal(bzimage(), Buffer(45 * kMib)), "")
        << "the initramfs meets the kernel";
    EXPECT_NE(refusal(bzimage(), Buffer(65 * kMib)), "");
    EXPECT_NE(refusal(bzimage(), {}, std::string(2048, 'x')), "");
    EXPECT_EQ(refusal(bzimage(), {}, std::string(2047, 'x')), "");
}

TEST(VmmRam, HasAReasonableSize)
{
    EXPECT_THROW(MemfdRam(63), HostError);
    EXPECT_THROW(MemfdRam(3073), HostError);
    EXPECT_THROW(MemfdRam(UINT64_MAX), HostError);
    MemfdRam ram(64);
    EXPECT_EQ(ram.bytes().size(), 64 * kMib);
    EXPECT_EQ(ram.at(64 * kMib - 1, 1).size(), 1u);
    EXPECT_TRUE(ram.at(64 * kMib - 1, 2).empty());
    EXPECT_TRUE(ram.at(UINT64_MAX, 2).empty());
}

} // namespace

} // namespace netvsc::host::vmm::test
