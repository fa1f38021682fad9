#include "host/vmm/linux_boot.h"

#include <algorithm>
#include <asm/bootparam.h>
#include <cstring>
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "host/base/error.h"
#include "host/base/unique_fd.h"
#include "host/vmm/acpi.h"

namespace netvsc::host::vmm {

namespace {

constexpr uint64_t kPage = 4096;

/* The first MiB: what the boot protocol wants to be somewhere. */
constexpr uint64_t kGdt = 0x500;
constexpr uint64_t kBootParameters = 0x7000;
constexpr uint64_t kStackTop = 0x8ff0;
/* One top page table, one of 1 GiB entries, four of 2 MiB entries. */
constexpr uint64_t kPageTables = 0x9000;
constexpr uint64_t kMappedGib = 4;
constexpr uint64_t kCommandLine = 0x20000;
constexpr uint64_t kCommandLineMax = 2048;
/* Where a PC's low memory ends and its high memory starts. */
constexpr uint64_t kLowEnd = 0x9fc00;
constexpr uint64_t kHighStart = 0x100000;

/* The boot protocol's selectors. */
constexpr uint16_t kCodeSelector = 0x10;
constexpr uint16_t kDataSelector = 0x18;

/* "HdrS" and the boot sector's mark. */
constexpr uint32_t kSetupMagic = 0x53726448;
constexpr uint16_t kBootMark = 0xaa55;
constexpr size_t kSetupHeaderAt = 0x1f1;
/* The header ends at this offset plus the byte there. */
constexpr size_t kSetupJumpAt = 0x201;
constexpr size_t kSector = 512;
/* Version 2.12 brought xloadflags, which tells of a 64-bit entry. */
constexpr uint16_t kProtocolWithXloadflags = 0x020c;
/* The 64-bit entry of a bzImage. */
constexpr uint64_t kEntry64 = 0x200;
constexpr uint8_t kUnknownLoader = 0xff;
/* Where an ELF kernel of no particular wish takes its initramfs. */
constexpr uint32_t kInitrdMax = 0x7fffffff;

constexpr uint32_t kE820Ram = 1;
constexpr uint32_t kE820Reserved = 2;

/* The part of memory that the kernel occupies, and its entry. */
struct Loaded {
    uint64_t entry;
    uint64_t end;
};

[[nodiscard]] MutableBytes
room(GuestRam &ram, uint64_t address, uint64_t size, const char *what)
{
    MutableBytes at = ram.at(address, size);
    if (at.size() != size) {
        throw HostError(std::string(what) +
                        " does not fit into the VM's memory: give it more "
                        "with --memory.");
    }
    return at;
}

void
copy(MutableBytes to, Bytes from)
{
    std::memcpy(to.data(), from.data(), from.size());
}

/* The bytes of a file that it says it has. */
[[nodiscard]] Bytes
part(Bytes file, uint64_t offset, uint64_t size)
{
    if (offset > file.size() || size > file.size() - offset) {
        throw HostError("The kernel file is shorter than it says.");
    }
    return file.subspan(offset, size);
}

Loaded
load_elf(GuestRam &ram, Bytes file, boot_params &params)
{
    auto header = load<Elf64_Ehdr>(part(file, 0, sizeof(Elf64_Ehdr)));
    if (header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_machine != EM_X86_64 ||
        header.e_phentsize != sizeof(Elf64_Phdr)) {
        throw HostError("The kernel is no 64-bit ELF file for x86.");
    }
    Bytes table = part(file, header.e_phoff,
                       uint64_t{header.e_phnum} * sizeof(Elf64_Phdr));
    uint64_t end = 0;
    for (size_t i = 0; i < header.e_phnum; i++) {
        auto segment = load<Elf64_Phdr>(table, i * sizeof(Elf64_Phdr));
        if (segment.p_type != PT_LOAD || segment.p_memsz == 0) {
            continue;
        }
        MutableBytes to =
            room(ram, segment.p_paddr, segment.p_memsz, "The kernel");
        if (segment.p_paddr < kHighStart ||
            segment.p_filesz > segment.p_memsz) {
            throw HostError("The kernel has a segment that no boot loader "
                            "could load.");
        }
        copy(to, part(file, segment.p_offset, segment.p_filesz));
        end = std::max(end, segment.p_paddr + segment.p_memsz);
    }
    if (ram.at(header.e_entry, 1).empty()) {
        throw HostError("The kernel's entry is outside of the VM's memory.");
    }

    /* What its bzImage's header would have said. */
    params.hdr.boot_flag = kBootMark;
    params.hdr.header = kSetupMagic;
    params.hdr.version = kProtocolWithXloadflags;
    params.hdr.initrd_addr_max = kInitrdMax;
    return {header.e_entry, end};
}

Loaded
load_bzimage(GuestRam &ram, Bytes file, boot_params &params)
{
    constexpr size_t kHeaderMax = sizeof params.hdr;
    Bytes header = part(file, kSetupHeaderAt, kHeaderMax);
    auto hdr = load<setup_header>(header);
    if (hdr.version < kProtocolWithXloadflags ||
        !(hdr.xloadflags & XLF_KERNEL_64)) {
        throw HostError("The kernel has no 64-bit entry: it is too old or "
                        "not for 64-bit machines.");
    }
    size_t size = kSetupJumpAt + 1 - kSetupHeaderAt +
                  static_cast<size_t>(file[kSetupJumpAt]);
    std::memcpy(&params.hdr, header.data(), std::min(size, kHeaderMax));

    /* 0 means 4, says the protocol. */
    size_t sectors = hdr.setup_sects ? hdr.setup_sects : 4;
    uint64_t code_at = (sectors + 1) * kSector;
    Bytes code = part(file, code_at,
                      file.size() - std::min<uint64_t>(code_at, file.size()));
    uint64_t needed = std::max<uint64_t>(hdr.init_size, code.size());
    copy(room(ram, hdr.pref_address, needed, "The kernel"), code);
    if (hdr.pref_address < kHighStart || code.size() <= kEntry64) {
        throw HostError("The kernel cannot be loaded where it wants to be.");
    }
    return {hdr.pref_address + kEntry64, hdr.pref_address + needed};
}

void
load_initrd(GuestRam &ram, Bytes initrd, uint64_t kernel_end,
            boot_params &params)
{
    if (initrd.empty()) {
        return;
    }
    /* As high as it may be, out of the way of the kernel's unpacking. */
    uint64_t top = std::min<uint64_t>(
        ram.bytes().size(), uint64_t{params.hdr.initrd_addr_max} + 1);
    if (initrd.size() > top) {
        throw HostError("The initramfs does not fit into the VM's memory: "
                        "give it more with --memory.");
    }
    uint64_t address = (top - initrd.size()) / kPage * kPage;
    if (address < kernel_end) {
        throw HostError("Kernel and initramfs do not fit into the VM's "
                        "memory: give it more with --memory.");
    }
    copy(room(ram, address, initrd.size(), "The initramfs"), initrd);
    params.hdr.ramdisk_image = static_cast<uint32_t>(address);
    params.hdr.ramdisk_size = static_cast<uint32_t>(initrd.size());
}

void
add_memory(boot_params &params, uint64_t start, uint64_t end, uint32_t type)
{
    boot_e820_entry &entry = params.e820_table[params.e820_entries++];
    entry.addr = start;
    entry.size = end - start;
    entry.type = type;
}

/* Present, writable. */
constexpr uint64_t kTableFlags = 0x3;
/* The same, and the entry is a 2 MiB page. */
constexpr uint64_t kLargePageFlags = 0x83;

void
write_page_tables(GuestRam &ram)
{
    MutableBytes at =
        room(ram, kPageTables, (2 + kMappedGib) * kPage, "The page table");
    std::fill(at.begin(), at.end(), std::byte{0});
    store<uint64_t>(at, 0, (kPageTables + kPage) | kTableFlags);
    for (uint64_t gib = 0; gib < kMappedGib; gib++) {
        uint64_t table = (2 + gib) * kPage;
        store<uint64_t>(at, kPage + gib * 8,
                        (kPageTables + table) | kTableFlags);
        for (uint64_t i = 0; i < kPage / 8; i++) {
            store<uint64_t>(at, table + i * 8,
                            gib << 30 | i << 21 | kLargePageFlags);
        }
    }
}

void
write_gdt(GuestRam &ram)
{
    /* Nothing, nothing, 64-bit code, data: present, ring 0, whole space. */
    constexpr uint64_t kDescriptors[] = {0, 0, 0x00af9b000000ffff,
                                         0x00cf93000000ffff};
    copy(room(ram, kGdt, sizeof kDescriptors, "The segment table"),
         bytes_of(kDescriptors));
}

[[nodiscard]] kvm_segment
code_segment()
{
    kvm_segment segment{};
    segment.limit = 0xffffffff;
    segment.selector = kCodeSelector;
    segment.type = 11; /* Execute, read, accessed. */
    segment.present = 1;
    segment.s = 1;
    segment.l = 1;
    segment.g = 1;
    return segment;
}

[[nodiscard]] kvm_segment
data_segment()
{
    kvm_segment segment = code_segment();
    segment.selector = kDataSelector;
    segment.type = 3; /* Read, write, accessed. */
    segment.l = 0;
    segment.db = 1;
    return segment;
}

} // namespace

FileMapping::FileMapping(const std::string &path)
{
    UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat status {};
    if (!fd || fstat(fd.get(), &status) < 0) {
        throw_errno("Cannot read " + path);
    }
    if (status.st_size == 0) {
        throw HostError("The file " + path + " is empty.");
    }
    auto size = static_cast<size_t>(status.st_size);
    void *at = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (at == MAP_FAILED) {
        throw_errno("Cannot map " + path);
    }
    bytes_ = {static_cast<const std::byte *>(at), size};
}

FileMapping::~FileMapping()
{
    munmap(const_cast<std::byte *>(bytes_.data()), bytes_.size());
}

BootEntry
load_linux(GuestRam &ram, Bytes kernel, Bytes initrd,
           const std::string &command_line, uint64_t rsdp)
{
    boot_params params{};
    Loaded loaded{};
    if (kernel.size() >= SELFMAG &&
        std::memcmp(kernel.data(), ELFMAG, SELFMAG) == 0) {
        loaded = load_elf(ram, kernel, params);
    } else if (kernel.size() >= kSetupHeaderAt + sizeof params.hdr &&
               load<setup_header>(kernel, kSetupHeaderAt).header ==
                   kSetupMagic) {
        loaded = load_bzimage(ram, kernel, params);
    } else {
        throw HostError("The kernel is neither a bzImage nor an ELF file.");
    }
    load_initrd(ram, initrd, loaded.end, params);

    if (command_line.size() >= kCommandLineMax) {
        throw HostError("The kernel takes a command line of at most " +
                        std::to_string(kCommandLineMax - 1) + " bytes.");
    }
    MutableBytes line =
        room(ram, kCommandLine, kCommandLineMax, "The command line");
    std::memcpy(line.data(), command_line.c_str(), command_line.size() + 1);
    params.hdr.cmd_line_ptr = kCommandLine;
    params.hdr.cmdline_size = static_cast<uint32_t>(command_line.size());
    params.hdr.type_of_loader = kUnknownLoader;
    params.hdr.loadflags |= LOADED_HIGH;

    add_memory(params, 0, kLowEnd, kE820Ram);
    add_memory(params, kAcpiAddress, kAcpiAddress + kAcpiSize, kE820Reserved);
    add_memory(params, kHighStart, ram.bytes().size(), kE820Ram);
    params.acpi_rsdp_addr = rsdp;
    copy(room(ram, kBootParameters, sizeof params, "The boot parameters"),
         bytes_of(params));

    write_page_tables(ram);
    write_gdt(ram);
    return {loaded.entry, kBootParameters};
}

void
set_boot_state(const BootEntry &boot, kvm_sregs &sregs, kvm_regs &regs)
{
    /* PAE; paging, write protection, numeric errors, protected mode and the
     * rest of what every 64-bit kernel has; long mode enabled and active. */
    constexpr uint64_t kCr4 = 0x20;
    constexpr uint64_t kCr0 = 0x80050033;
    constexpr uint64_t kEfer = 0x500;
    /* The bit that is always set. */
    constexpr uint64_t kFlags = 0x2;

    sregs.gdt.base = kGdt;
    sregs.gdt.limit = 4 * 8 - 1;
    sregs.idt.base = 0;
    sregs.idt.limit = 0;
    sregs.cs = code_segment();
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data_segment();
    sregs.cr3 = kPageTables;
    sregs.cr4 = kCr4;
    sregs.cr0 = kCr0;
    sregs.efer = kEfer;

    regs = {};
    regs.rip = boot.entry;
    regs.rsi = boot.boot_parameters;
    regs.rsp = kStackTop;
    regs.rbp = kStackTop;
    regs.rflags = kFlags;
}

} // namespace netvsc::host::vmm
