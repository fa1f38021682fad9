/* What the guest learns from CPUID (B.12), out of tables that KVM could have
 * given. */

#include <optional>

#include <gtest/gtest.h>

#include "host/vmm/cpuid.h"

namespace netvsc::host::vmm::test {

namespace {

using Entry = kvm_cpuid_entry2;

Entry
entry(uint32_t function, uint32_t eax, uint32_t ebx, uint32_t ecx,
      uint32_t edx, uint32_t index = 0)
{
    Entry entry{};
    entry.function = function;
    entry.index = index;
    entry.eax = eax;
    entry.ebx = ebx;
    entry.ecx = ecx;
    entry.edx = edx;
    return entry;
}

constexpr uint32_t kAll = 0xffffffff;

/* A processor with every feature there is, and KVM's own leaves. */
const std::vector<Entry> &
everything()
{
    static const std::vector<Entry> table = {
        entry(0, 0x1f, 0x756e6547, 0x6c65746e, 0x49656e69),
        entry(1, 0x800f12, kAll, kAll, kAll),
        entry(7, 2, kAll, kAll, kAll),
        entry(7, kAll, kAll, kAll, kAll, 1),
        entry(0xb, 1, 2, 0x100, 0x55),
        entry(0xb, 6, 64, 0x201, 0x55, 1),
        entry(0xd, 0x2e7, 0x988, 0xa88, 0),
        entry(0x1f, 1, 2, 0x100, 0x55),
        entry(0x40000000, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d),
        entry(0x40000001, 0x01007efb, 0, 0, 0),
        entry(0x80000001, 0, 0, kAll, kAll),
        entry(0x80000008, 0x3030, 0, 0xf0ff, 0),
        entry(0x8000000a, 1, 8, 0, kAll),
        entry(0x8000001e, 0x55, 0x155, 0x155, 0),
    };
    return table;
}

/* As KVM of Linux 6.1 has them, and more bits than any version has. */
const std::vector<Entry> &
hyperv()
{
    static const std::vector<Entry> table = {
        entry(0x40000000, 0x40000082, 0x756e694c, 0x564b2078, 0x7648204d),
        entry(0x40000001, 0x31237648, 0, 0, 0),
        entry(0x40000002, 0x3839, 0xa0000, 0, 0),
        entry(0x40000003, kAll, kAll, kAll, kAll),
        entry(0x40000004, kAll, 0xfff, kAll, kAll),
        entry(0x40000005, 0x400, 0x40, 0, 0),
        entry(0x4000000a, kAll, kAll, kAll, kAll),
        entry(0x40000080, 0x40000082, 0, 0, 0),
        entry(0x40000082, kAll, 0, 0, 0),
    };
    return table;
}

std::optional<Entry>
find(const std::vector<Entry> &table, uint32_t function, uint32_t index = 0)
{
    std::optional<Entry> found;
    for (const Entry &entry : table) {
        if (entry.function == function && entry.index == index) {
            EXPECT_FALSE(found) << std::hex << function << " is there twice";
            found = entry;
        }
    }
    return found;
}

std::vector<Entry>
of_vcpu(unsigned vcpu, unsigned vcpus)
{
    return guest_cpuid(everything(), hyperv(), vcpu, vcpus);
}

TEST(VmmCpuid, SaysMicrosoftAndNotKvm)
{
    std::vector<Entry> table = of_vcpu(0, 1);
    auto vendor = find(table, 0x40000000);
    ASSERT_TRUE(vendor);
    EXPECT_EQ(vendor->eax, 0x40000005u);
    EXPECT_EQ(vendor->ebx, 0x7263694du);
    EXPECT_EQ(vendor->ecx, 0x666f736fu);
    EXPECT_EQ(vendor->edx, 0x76482074u);
    auto interface = find(table, 0x40000001);
    ASSERT_TRUE(interface);
    EXPECT_EQ(interface->eax, 0x31237648u);
    EXPECT_TRUE(find(table, 1)->ecx & 1u << 31) << "a hypervisor is there";
    EXPECT_FALSE(find(table, 0x4000000a));
    EXPECT_FALSE(find(table, 0x40000080));
}

TEST(VmmCpuid, OffersWhatVmbusNeedsAndNoMore)
{
    std::vector<Entry> table = of_vcpu(0, 1);
    auto features = find(table, 0x40000003);
    ASSERT_TRUE(features);
    for (unsigned bit : {2u, 5u, 6u}) {
        EXPECT_TRUE(features->eax & 1u << bit) << bit;
    }
    EXPECT_EQ(features->ebx, 0x30u) << "post messages, signal events";
    EXPECT_FALSE(features->eax & 1u << 13) << "reenlightenment";
    EXPECT_FALSE(features->edx & 1u << 1) << "debugging";
    /* Nested virtualisation, and what no reader of this test knows. */
    auto hints = find(table, 0x40000004);
    ASSERT_TRUE(hints);
    EXPECT_EQ(hints->eax, 0x40e2cu);
}

TEST(VmmCpuid, PromisesNothingThatKvmDoesNot)
{
    std::vector<Entry> poor = {entry(0x40000003, 0x64, 0, 0, 0),
                               entry(0x40000004, 0, 0, 0, 0)};
    std::vector<Entry> table = guest_cpuid(everything(), poor, 0, 1);
    EXPECT_EQ(find(table, 0x40000003)->eax, 0x64u);
    EXPECT_EQ(find(table, 0x40000003)->edx, 0u);
    EXPECT_EQ(find(table, 0x40000004)->eax, 0u);
}

TEST(VmmCpuid, HidesXsaveAndVirtualisation)
{
    std::vector<Entry> table = of_vcpu(0, 2);
    uint32_t ecx = find(table, 1)->ecx;
    for (unsigned bit : {5u, 12u, 26u, 27u, 28u, 29u}) {
        EXPECT_FALSE(ecx & 1u << bit) << "leaf 1, bit " << bit;
    }
    for (unsigned bit : {0u, 9u, 13u, 19u, 20u, 23u, 24u}) {
        EXPECT_TRUE(ecx & 1u << bit) << "leaf 1, bit " << bit;
    }
    auto features = find(table, 7);
    EXPECT_EQ(features->eax, 0u) << "sub-leaves";
    EXPECT_FALSE(features->ebx & 1u << 5) << "AVX2";
    EXPECT_FALSE(features->ebx & 1u << 16) << "AVX-512";
    EXPECT_FALSE(features->ecx & 1u << 3) << "PKU";
    EXPECT_TRUE(features->ebx & 1u << 9) << "fast string copies";
    EXPECT_FALSE(find(table, 7, 1));
    EXPECT_FALSE(find(table, 0xd));
    EXPECT_FALSE(find(table, 0x80000001)->ecx & 1u << 2) << "SVM";
    EXPECT_FALSE(find(table, 0x8000000a));
}

TEST(VmmCpuid, NumbersTheProcessors)
{
    struct {
        unsigned vcpus;
        uint32_t id_bits;
    } rows[] = {{1, 0}, {2, 1}, {3, 2}, {4, 2}, {8, 3}};
    for (auto [vcpus, id_bits] : rows) {
        for (unsigned vcpu = 0; vcpu < vcpus; vcpu++) {
            std::vector<Entry> table = of_vcpu(vcpu, vcpus);
            auto basic = find(table, 1);
            EXPECT_EQ(basic->ebx >> 24, vcpu);
            EXPECT_EQ(basic->ebx >> 16 & 0xff, vcpus);
            EXPECT_EQ((basic->edx & 1u << 28) != 0, vcpus > 1);

            auto thread = find(table, 0xb, 0);
            auto core = find(table, 0xb, 1);
            ASSERT_TRUE(thread && core);
            EXPECT_EQ(thread->eax, 0u);
            EXPECT_EQ(thread->ebx, 1u);
            EXPECT_EQ(thread->ecx, 0x100u);
            EXPECT_EQ(core->eax, id_bits);
            EXPECT_EQ(core->ebx, vcpus);
            EXPECT_EQ(core->ecx, 0x201u);
            EXPECT_EQ(core->edx, vcpu);
            EXPECT_FALSE(find(table, 0x1f));

            auto sizes = find(table, 0x80000008);
            EXPECT_EQ(sizes->ecx & 0xff, vcpus - 1);
            EXPECT_EQ(sizes->ecx >> 12 & 0xf, id_bits);
            EXPECT_EQ(find(table, 0x8000001e)->eax, vcpu);
        }
    }
}

} // namespace

} // namespace netvsc::host::vmm::test
