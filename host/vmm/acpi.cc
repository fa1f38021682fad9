#include "host/vmm/acpi.h"

#include <cstring>
#include <numeric>
#include <span>
#include <string_view>

#include "host/base/bytes.h"
#include "host/vmm/aml.h"
#include "host/vmm/ports.h"

namespace netvsc::host::vmm {

namespace {

using Table = std::vector<std::byte>;

/* Offsets in the header that every table but the RSDP starts with. */
constexpr size_t kLengthAt = 4;
constexpr size_t kRevisionAt = 8;
constexpr size_t kChecksumAt = 9;
constexpr size_t kOemAt = 10;
constexpr size_t kOemTableAt = 16;
constexpr size_t kOemRevisionAt = 24;
constexpr size_t kCreatorAt = 28;
constexpr size_t kCreatorRevisionAt = 32;
constexpr size_t kHeaderSize = 36;

/* What Hyper-V's own tables say. */
constexpr std::string_view kOem = "VRTUAL";
constexpr std::string_view kOemTable = "MICROSFT";
constexpr std::string_view kCreator = "MSFT";

constexpr size_t kRsdpSize = 36;
/* The part of the RSDP that ACPI 1.0 knew, with a checksum of its own. */
constexpr size_t kRsdpOldSize = 20;
constexpr size_t kFadtSize = 276;

void
put_text(Table &table, size_t at, std::string_view text)
{
    std::memcpy(table.data() + at, text.data(), text.size());
}

template <typename T>
void
put(Table &table, size_t at, T value)
{
    store(MutableBytes(table), at, value);
}

template <typename T>
void
append(Table &table, T value)
{
    table.resize(table.size() + sizeof value);
    put(table, table.size() - sizeof value, value);
}

/* The byte that makes the sum of all bytes zero. */
[[nodiscard]] std::byte
checksum(std::span<const std::byte> bytes)
{
    unsigned sum = std::accumulate(
        bytes.begin(), bytes.end(), 0u, [](unsigned total, std::byte byte) {
            return total + static_cast<unsigned>(byte);
        });
    return static_cast<std::byte>(-sum);
}

Table
start_table(std::string_view signature, uint8_t revision)
{
    Table table(kHeaderSize);
    put_text(table, 0, signature);
    put(table, kRevisionAt, revision);
    put_text(table, kOemAt, kOem);
    put_text(table, kOemTableAt, kOemTable);
    put<uint32_t>(table, kOemRevisionAt, 1);
    put_text(table, kCreatorAt, kCreator);
    put<uint32_t>(table, kCreatorRevisionAt, 1);
    return table;
}

void
finish_table(Table &table)
{
    put(table, kLengthAt, static_cast<uint32_t>(table.size()));
    table[kChecksumAt] = checksum(table);
}

/* A generic address: one byte wide in port space. */
void
put_port(Table &table, size_t at, uint16_t port)
{
    constexpr uint8_t kSystemIo = 1;
    constexpr uint8_t kByteAccess = 1;
    put<uint8_t>(table, at, kSystemIo);
    put<uint8_t>(table, at + 1, 8);
    put<uint8_t>(table, at + 2, 0);
    put<uint8_t>(table, at + 3, kByteAccess);
    put<uint64_t>(table, at + 4, port);
}

/* Hardware-reduced: no power-management timer, no fixed events, no 8042, no
 * PIT; the kernel finds what it needs in CPUID. */
Table
build_fadt(uint64_t dsdt)
{
    /* IA-PC boot flags. */
    constexpr uint16_t kNoVga = 1 << 2;
    constexpr uint16_t kNoCmosClock = 1 << 5;
    /* Feature flags. */
    constexpr uint32_t kWbinvd = 1 << 0;
    constexpr uint32_t kPowerButtonIsDevice = 1 << 4;
    constexpr uint32_t kSleepButtonIsDevice = 1 << 5;
    constexpr uint32_t kResetRegister = 1 << 10;
    constexpr uint32_t kHardwareReduced = 1 << 20;

    Table table = start_table("FACP", 6);
    table.resize(kFadtSize);
    put(table, 40, static_cast<uint32_t>(dsdt));
    put<uint16_t>(table, 109, kNoVga | kNoCmosClock);
    put<uint32_t>(table, 112,
                  kWbinvd | kPowerButtonIsDevice | kSleepButtonIsDevice |
                      kResetRegister | kHardwareReduced);
    put_port(table, 116, kResetPort);
    put(table, 128, kResetValue);
    put<uint8_t>(table, 131, 4); /* ACPI 6.4. */
    put(table, 140, dsdt);
    put_port(table, 244, kSleepControlPort);
    put_port(table, 256, kSleepStatusPort);
    /* Which hypervisor this is. */
    put_text(table, 268, "MsHyperV");
    finish_table(table);
    return table;
}

Table
build_madt(unsigned vcpus)
{
    constexpr uint8_t kLocalApic = 0;
    constexpr uint8_t kIoApic = 1;
    constexpr uint32_t kEnabled = 1;

    Table table = start_table("APIC", 5);
    append(table, kLapicAddress);
    append<uint32_t>(table, 0); /* No PICs. */
    for (unsigned vcpu = 0; vcpu < vcpus; vcpu++) {
        append(table, kLocalApic);
        append<uint8_t>(table, 8);
        append(table, static_cast<uint8_t>(vcpu)); /* Its number in ACPI. */
        append(table, static_cast<uint8_t>(vcpu)); /* Its APIC id. */
        append(table, kEnabled);
    }
    append(table, kIoApic);
    append<uint8_t>(table, 12);
    append(table, static_cast<uint8_t>(vcpus)); /* Its own id. */
    append<uint8_t>(table, 0);
    append(table, kIoapicAddress);
    append<uint32_t>(table, 0); /* Its first interrupt. */
    finish_table(table);
    return table;
}

Table
build_xsdt(std::initializer_list<uint64_t> tables)
{
    Table table = start_table("XSDT", 1);
    for (uint64_t address : tables) {
        append(table, address);
    }
    finish_table(table);
    return table;
}

Table
build_rsdp(uint64_t xsdt)
{
    Table table(kRsdpSize);
    put_text(table, 0, "RSD PTR ");
    put_text(table, 9, kOem);
    put<uint8_t>(table, 15, 2);
    put(table, 20, static_cast<uint32_t>(table.size()));
    put(table, 24, xsdt);
    table[8] = checksum(std::span(table).first(kRsdpOldSize));
    table[32] = checksum(table);
    return table;
}

/* _STA: the device is present, enabled, shown and working. */
constexpr uint32_t kPresent = 0xf;

aml::Term
uart(std::string_view segment, uint32_t uid, uint16_t port, uint32_t line)
{
    using namespace aml;

    return device(
        segment,
        {name("_HID", eisa_id("PNP0501")), name("_UID", integer(uid)),
         name("_STA", integer(kPresent)),
         name("_CRS", resources({io_ports(port, kUartPorts), irq(line)}))});
}

/* Lays tables one after the other. */
class Area {
public:
    explicit Area(uint64_t address) : address_(address), bytes_(kRsdpSize) {}

    [[nodiscard]] uint64_t
    place(const Table &table)
    {
        bytes_.resize(round_up(bytes_.size(), 8));
        uint64_t at = address_ + bytes_.size();
        bytes_.insert(bytes_.end(), table.begin(), table.end());
        return at;
    }
    [[nodiscard]] Table
    finish(const Table &rsdp)
    {
        std::memcpy(bytes_.data(), rsdp.data(), rsdp.size());
        return std::move(bytes_);
    }

private:
    uint64_t address_;
    Table bytes_;
};

} // namespace

std::vector<std::byte>
build_dsdt()
{
    using namespace aml;

    Table table = start_table("DSDT", 2);
    /* Sleep type 5 is soft off. */
    Term soft_off = package({integer(5), integer(5), integer(0), integer(0)});
    /* As in Hyper-V the VMBus is below a module device with a window of
     * address space. */
    Term vmbus = device("VMBS", {name("_HID", string("VMBus")),
                                 name("_UID", integer(0)),
                                 name("_DDN", string("VMBUS")),
                                 name("_STA", integer(kPresent))});
    Term module = device(
        "VMOD",
        {name("_HID", string("ACPI0004")), name("_UID", integer(0)),
         name("_CRS", resources({memory_window(kMmioFirst, kMmioLast)})),
         vmbus});
    Term all = concat(
        {name("\\_S5_", soft_off),
         scope("_SB_", {module, uart("COM1", 1, kConsolePort, kConsoleIrq),
                        uart("COM2", 2, kVerdictPort, kVerdictIrq)})});
    table.insert(table.end(), all.begin(), all.end());
    finish_table(table);
    return table;
}

std::vector<std::byte>
build_acpi(uint64_t address, unsigned vcpus)
{
    Area area(address);
    uint64_t fadt = area.place(build_fadt(area.place(build_dsdt())));
    uint64_t madt = area.place(build_madt(vcpus));
    uint64_t xsdt = area.place(build_xsdt({fadt, madt}));
    return area.finish(build_rsdp(xsdt));
}

} // namespace netvsc::host::vmm
