#include "host/vmm/gpadls.h"

#include <sys/mman.h>

#include "host/base/error.h"
#include "wire/vmbus_messages.h"

namespace netvsc::host::vmm {

namespace vmbus = wire::vmbus;

/* --- PageMapping ------------------------------------------------------- */

namespace {

/* How many pages from the first on are neighbours. */
size_t
run_length(std::span<const uint64_t> pages)
{
    size_t length = 1;
    while (length < pages.size() && pages[length] == pages[length - 1] + 1) {
        length++;
    }
    return length;
}

} // namespace

size_t
count_runs(std::span<const uint64_t> pages)
{
    size_t runs = 0;
    while (!pages.empty()) {
        pages = pages.subspan(run_length(pages));
        runs++;
    }
    return runs;
}

PageMapping::PageMapping(GuestRam &ram, std::span<const uint64_t> pages)
{
    /* The address range first, then the guest's pages into it. */
    size_t size = pages.size() * wire::kPageSize;
    void *start = mmap(nullptr, size, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) {
        throw_errno("Cannot reserve addresses for a GPADL");
    }
    auto at = static_cast<std::byte *>(start);
    while (!pages.empty()) {
        size_t run = run_length(pages);
        if (mmap(at, run * wire::kPageSize, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_FIXED, ram.fd(),
                 static_cast<off_t>(pages[0] * wire::kPageSize)) ==
            MAP_FAILED) {
            int error = errno;
            munmap(start, size);
            errno = error;
            throw_errno("Cannot map the pages of a GPADL");
        }
        at += run * wire::kPageSize;
        pages = pages.subspan(run);
    }
    bytes_ = {static_cast<std::byte *>(start), size};
}

PageMapping::~PageMapping()
{
    munmap(bytes_.data(), bytes_.size());
}

/* --- Gpadls ------------------------------------------------------------ */

Gpadls::Result
Gpadls::take_header(Bytes message)
{
    if (message.size() < sizeof(vmbus::GpadlHeader)) {
        return {Outcome::kIgnored, 0, 0, "a GPADL header that is too short"};
    }
    auto header = load<vmbus::GpadlHeader>(message);
    auto refuse = [&](const char *reason) {
        return Result{Outcome::kRefused, header.relid, header.gpadl, reason};
    };
    Bytes list = message.subspan(sizeof header);
    if (header.ranges != 1 || list.size() < sizeof(vmbus::GpadlRange)) {
        return refuse("it has not one range");
    }
    auto range = load<vmbus::GpadlRange>(list);
    list = list.subspan(sizeof range);
    size_t pages = range.byte_count / wire::kPageSize;
    if (range.byte_offset || !pages || range.byte_count % wire::kPageSize) {
        return refuse("it is not of whole pages");
    }
    /* More page numbers than bytes are padding. */
    if (header.range_bytes < sizeof range + pages * sizeof(uint64_t)) {
        return refuse("it has fewer page numbers than pages");
    }
    if (gpadls_.contains(header.gpadl)) {
        return refuse("there is one with its number");
    }
    if (gpadls_.size() == kMaxGpadls || pages > kMaxPages - pages_) {
        return refuse("the guest has too many");
    }
    Table::iterator gpadl;
    {
        std::lock_guard lock(mutex_);
        gpadl =
            gpadls_.insert({header.gpadl, {header.relid, {}, pages}}).first;
    }
    pages_ += pages;
    add_pages(gpadl->second, list);
    return finish(gpadl);
}

Gpadls::Result
Gpadls::take_body(Bytes message)
{
    if (message.size() < sizeof(vmbus::GpadlBody)) {
        return {Outcome::kIgnored, 0, 0, "a GPADL body that is too short"};
    }
    auto body = load<vmbus::GpadlBody>(message);
    auto gpadl = gpadls_.find(body.gpadl);
    if (gpadl == gpadls_.end() || gpadl->second.mapping) {
        /* The header was refused, and the guest does not know yet. */
        return {Outcome::kIgnored};
    }
    add_pages(gpadl->second, message.subspan(sizeof body));
    return finish(gpadl);
}

void
Gpadls::add_pages(Gpadl &gpadl, Bytes numbers)
{
    while (numbers.size() >= sizeof(uint64_t) &&
           gpadl.pages.size() < gpadl.wanted) {
        gpadl.pages.push_back(load<uint64_t>(numbers));
        numbers = numbers.subspan(sizeof(uint64_t));
    }
}

Gpadls::Result
Gpadls::finish(Table::iterator entry)
{
    Gpadl &gpadl = entry->second;
    Result result{Outcome::kCreated, gpadl.relid, entry->first};
    if (gpadl.pages.size() < gpadl.wanted) {
        result.outcome = Outcome::kMore;
        return result;
    }
    uint64_t pages_of_ram = ram_.bytes().size() / wire::kPageSize;
    for (uint64_t page : gpadl.pages) {
        if (page >= pages_of_ram) {
            result.reason = "a page of it is not memory";
        }
    }
    size_t runs = count_runs(gpadl.pages);
    if (runs > kMaxRuns - runs_) {
        result.reason = "the guest's memory is in too many pieces";
    }
    if (result.reason.empty()) {
        try {
            auto mapping = std::make_shared<PageMapping>(ram_, gpadl.pages);
            std::lock_guard lock(mutex_);
            gpadl.mapping = std::move(mapping);
        } catch (const HostError &error) {
            result.reason = error.what();
        }
    }
    if (!result.reason.empty()) {
        result.outcome = Outcome::kRefused;
        erase(entry);
        return result;
    }
    gpadl.pages = {};
    gpadl.runs = runs;
    runs_ += runs;
    return result;
}

Gpadls::Table::iterator
Gpadls::erase(Table::iterator gpadl)
{
    pages_ -= gpadl->second.wanted;
    runs_ -= gpadl->second.runs;
    std::lock_guard lock(mutex_);
    return gpadls_.erase(gpadl);
}

bool
Gpadls::remove(uint32_t relid, uint32_t handle)
{
    auto gpadl = gpadls_.find(handle);
    if (gpadl == gpadls_.end() || gpadl->second.relid != relid) {
        return false;
    }
    erase(gpadl);
    return true;
}

void
Gpadls::remove_of(uint32_t relid)
{
    for (auto gpadl = gpadls_.begin(); gpadl != gpadls_.end();) {
        gpadl = gpadl->second.relid == relid ? erase(gpadl) : std::next(gpadl);
    }
}

void
Gpadls::clear()
{
    for (auto gpadl = gpadls_.begin(); gpadl != gpadls_.end();) {
        gpadl = erase(gpadl);
    }
}

std::shared_ptr<const PageMapping>
Gpadls::find(uint32_t relid, uint32_t handle) const
{
    std::lock_guard lock(mutex_);
    auto gpadl = gpadls_.find(handle);
    return gpadl != gpadls_.end() && gpadl->second.relid == relid
               ? gpadl->second.mapping
               : nullptr;
}

} // namespace netvsc::host::vmm
