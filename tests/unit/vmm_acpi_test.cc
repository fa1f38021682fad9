/* The ACPI tables, read as a kernel reads them: from the RSDP on, by the
 * literal offsets of the ACPI specification. */

#include <algorithm>

#include <gtest/gtest.h>

#include "host/base/bytes.h"
#include "host/vmm/acpi.h"
#include "host/vmm/aml.h"
#include "tests/unit/host_guest.h"

namespace netvsc::host::vmm::test {

namespace {

using host::test::from_hex;
using host::test::to_hex;

constexpr uint64_t kBase = 0xe0000;

unsigned
sum(Bytes bytes)
{
    unsigned total = 0;
    for (std::byte byte : bytes) {
        total += static_cast<unsigned>(byte);
    }
    return total & 0xff;
}

std::string
text(Bytes bytes)
{
    return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
}

/* The tables of a machine with so many vCPUs. */
class Tables {
public:
    explicit Tables(unsigned vcpus) : bytes_(build_acpi(kBase, vcpus)) {}

    [[nodiscard]] Bytes
    rsdp() const
    {
        return Bytes(bytes_).first(36);
    }
    /* A table that says that it is what it should be. */
    [[nodiscard]] Bytes
    table(uint64_t address, const std::string &signature) const
    {
        if (address < kBase || address + 36 > kBase + bytes_.size()) {
            ADD_FAILURE() << signature << " is elsewhere";
            return {};
        }
        Bytes from = Bytes(bytes_).subspan(address - kBase);
        auto length = load<uint32_t>(from, 4);
        EXPECT_EQ(text(from.first(4)), signature);
        if (length < 36 || length > from.size()) {
            ADD_FAILURE() << signature << " has a length of " << length;
            return {};
        }
        EXPECT_EQ(sum(from.first(length)), 0u) << signature;
        return from.first(length);
    }
    [[nodiscard]] Bytes
    listed(size_t index, const std::string &signature) const
    {
        Bytes xsdt = table(load<uint64_t>(rsdp(), 24), "XSDT");
        EXPECT_EQ(xsdt.size(), 36 + 2 * 8u);
        return table(load<uint64_t>(xsdt, 36 + index * 8), signature);
    }

private:
    std::vector<std::byte> bytes_;
};

TEST(VmmAcpi, StartsWithARootPointerOfBothChecksums)
{
    Tables tables(1);
    Bytes rsdp = tables.rsdp();
    EXPECT_EQ(text(rsdp.first(8)), "RSD PTR ");
    EXPECT_EQ(sum(rsdp.first(20)), 0u);
    EXPECT_EQ(sum(rsdp), 0u);
    EXPECT_EQ(load<uint8_t>(rsdp, 15), 2);
    EXPECT_EQ(load<uint32_t>(rsdp, 20), 36u);
    EXPECT_LT(build_acpi(kBase, 8).size(), kAcpiSize);
}

TEST(VmmAcpi, HasReducedHardwareThatCanBeSwitchedOffAndReset)
{
    Tables tables(1);
    Bytes fadt = tables.listed(0, "FACP");
    ASSERT_EQ(fadt.size(), 276u);
    auto flags = load<uint32_t>(fadt, 112);
    EXPECT_TRUE(flags & 1u << 20) << "hardware-reduced";
    EXPECT_TRUE(flags & 1u << 10) << "reset register";
    struct {
        size_t at;
        uint64_t port;
    } registers[] = {{116, 0x602}, {244, 0x600}, {256, 0x601}};
    for (auto [at, port] : registers) {
        EXPECT_EQ(load<uint8_t>(fadt, at), 1) << "port space";
        EXPECT_EQ(load<uint8_t>(fadt, at + 1), 8) << "bits";
        EXPECT_EQ(load<uint64_t>(fadt, at + 4), port);
    }
    EXPECT_EQ(load<uint8_t>(fadt, 128), 1);
    EXPECT_EQ(load<uint32_t>(fadt, 40), load<uint64_t>(fadt, 140));
    EXPECT_FALSE(tables.table(load<uint64_t>(fadt, 140), "DSDT").empty());
}

TEST(VmmAcpi, ListsEveryProcessor)
{
    for (unsigned vcpus : {1u, 2u, 8u}) {
        Tables tables(vcpus);
        Bytes madt = tables.listed(1, "APIC");
        ASSERT_EQ(madt.size(), 44 + vcpus * 8 + 12);
        EXPECT_EQ(load<uint32_t>(madt, 36), 0xfee00000);
        for (unsigned i = 0; i < vcpus; i++) {
            Bytes entry = madt.subspan(44 + i * 8, 8);
            EXPECT_EQ(load<uint8_t>(entry, 0), 0) << "local APIC";
            EXPECT_EQ(load<uint8_t>(entry, 1), 8);
            EXPECT_EQ(load<uint8_t>(entry, 3), i) << "APIC id";
            EXPECT_EQ(load<uint32_t>(entry, 4), 1u) << "enabled";
        }
        Bytes ioapic = madt.last(12);
        EXPECT_EQ(load<uint8_t>(ioapic, 0), 1);
        EXPECT_EQ(load<uint8_t>(ioapic, 1), 12);
        EXPECT_EQ(load<uint32_t>(ioapic, 4), 0xfec00000);
    }
}

/* Where the bytes are in `code`, or its size. */
size_t
position(Bytes code, const std::string &hex)
{
    std::vector<std::byte> bytes = from_hex(hex);
    auto found =
        std::search(code.begin(), code.end(), bytes.begin(), bytes.end());
    return static_cast<size_t>(found - code.begin());
}

bool
holds(Bytes code, const std::string &hex)
{
    return position(code, hex) < code.size();
}

/* What the blocks of AML code hold, found by their lengths alone. */
struct Block {
    std::string name;
    Bytes body;
};

/* Takes one Scope or Device from the front of `code`. */
Block
take_block(Bytes &code)
{
    size_t at = 0;
    if (load<uint8_t>(code, 0) == 0x5b) {
        EXPECT_EQ(load<uint8_t>(code, 1), 0x82) << "Device";
        at = 2;
    } else {
        EXPECT_EQ(load<uint8_t>(code, 0), 0x10) << "Scope";
        at = 1;
    }
    auto lead = load<uint8_t>(code, at);
    size_t length = lead & 0x3f;
    size_t length_bytes = 1;
    if (lead >> 6) {
        EXPECT_EQ(lead >> 6, 1) << "bytes that follow";
        length = (lead & 0xf) | load<uint8_t>(code, at + 1) << 4;
        length_bytes = 2;
    }
    if (at + length > code.size()) {
        ADD_FAILURE() << "A block ends behind its table";
        code = {};
        return {};
    }
    Bytes block = code.subspan(at + length_bytes, length - length_bytes);
    code = code.subspan(at + length);
    return {text(block.first(4)), block.subspan(4)};
}

TEST(VmmAcpi, HoldsTheVmbusAndTwoSerialPorts)
{
    std::vector<std::byte> dsdt = build_dsdt();
    Bytes code = Bytes(dsdt).subspan(36);
    /* Name (\_S5_, Package () {5, 5, 0, 0}) */
    EXPECT_EQ(to_hex(code.first(15)),
              to_hex(from_hex("08 5c5f53355f 12 08 04 0a05 0a05 00 00")));
    code = code.subspan(15);

    Block scope = take_block(code);
    EXPECT_TRUE(code.empty());
    EXPECT_EQ(scope.name, "_SB_");

    Block module = take_block(scope.body);
    EXPECT_EQ(module.name, "VMOD");
    EXPECT_TRUE(holds(module.body, "08 5f484944 0d 41435049303030 34 00"))
        << "_HID ACPI0004";
    EXPECT_TRUE(holds(module.body, "87 1700 00 0c 03 00000000 000000f8"
                                   "fffffffb 00000000 00000004 7900"))
        << "memory from f8000000 to fbffffff";
    Bytes rest =
        module.body.last(module.body.size() - position(module.body, "5b82"));
    Block vmbus = take_block(rest);
    EXPECT_TRUE(rest.empty());
    EXPECT_EQ(vmbus.name, "VMBS");
    EXPECT_TRUE(holds(vmbus.body, "08 5f484944 0d 564d42757300"))
        << "_HID VMBus";

    struct {
        const char *name;
        const char *resources; /* Eight ports, a line, the end. */
    } ports[] = {{"COM1", "47 01 f803 f803 01 08 22 1000 7900"},
                 {"COM2", "47 01 f802 f802 01 08 22 0800 7900"}};
    for (auto [name, resources] : ports) {
        Block port = take_block(scope.body);
        EXPECT_EQ(port.name, name);
        EXPECT_TRUE(holds(port.body, "08 5f484944 0c 41d00501")) << "PNP0501";
        EXPECT_TRUE(holds(port.body, resources)) << name;
    }
    EXPECT_TRUE(scope.body.empty());
}

TEST(VmmAml, WritesALengthInOneByteOrTwo)
{
    /* A package of one string: length, count, opcode, text, end. */
    std::string longest(63 - 4, 'x');
    aml::Term one = aml::package({aml::string(longest)});
    EXPECT_EQ(load<uint8_t>(one, 1), 63);
    EXPECT_EQ(one.size(), 1 + 63u);

    aml::Term two = aml::package({aml::string(longest + 'x')});
    EXPECT_EQ(to_hex(Bytes(two).subspan(1, 2)), to_hex(from_hex("41 04")));
    EXPECT_EQ(two.size(), 1 + 65u);
}

TEST(VmmAml, WritesIntegersAsShortAsTheyAre)
{
    struct {
        uint32_t value;
        const char *hex;
    } rows[] = {{0, "00"},
                {1, "01"},
                {2, "0a02"},
                {255, "0aff"},
                {256, "0b0001"},
                {65535, "0bffff"},
                {65536, "0c00000100"},
                {UINT32_MAX, "0cffffffff"}};
    for (auto [value, hex] : rows) {
        EXPECT_EQ(to_hex(aml::integer(value)), to_hex(from_hex(hex)));
    }
}

} // namespace

} // namespace netvsc::host::vmm::test
