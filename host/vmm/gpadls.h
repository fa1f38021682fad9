/* The GPADLs of a guest: lists of its pages, each list mapped once more in one
 * piece (B.3.7, B.7).
 *
 * The bus's thread creates and removes them; any thread may look one up.  What
 * a guest can make the host keep is bounded: lists, pages and mappings. */

#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "host/vmm/hypervisor.h"

namespace netvsc::host::vmm {

/* Pages of guest memory, one after the other in the host's address space.
 * Owns address space only; the guest still has the pages. */
class PageMapping {
public:
    /* Maps the pages with these numbers, of which each must be guest memory.
     * Throws HostError. */
    PageMapping(GuestRam &ram, std::span<const uint64_t> pages);
    ~PageMapping();
    PageMapping(const PageMapping &) = delete;
    PageMapping &operator=(const PageMapping &) = delete;

    [[nodiscard]] MutableBytes
    bytes() const
    {
        return bytes_;
    }

private:
    MutableBytes bytes_;
};

/* How many runs of adjacent pages there are, which is how many mappings of
 * the kernel's they take. */
[[nodiscard]] size_t count_runs(std::span<const uint64_t> pages);

class Gpadls {
public:
    /* At most so many at once.  A NIC has four, of which hosts give out a few
     * hundred. */
    static constexpr size_t kMaxGpadls = 2048;
    /* What a host of 2019 lets a VM establish together: 1,280 MiB (B.7). */
    static constexpr size_t kMaxPages = 1280u << 8;
    /* Share of the 65,530 mappings that Linux gives a process: three NICs'
     * buffers with no two pages together. */
    static constexpr size_t kMaxRuns = 49152;

    explicit Gpadls(GuestRam &ram) : ram_(ram) {}

    /* What a GPADL_HEADER or GPADL_BODY led to. */
    enum class Outcome {
        kMore,    /* Bodies are to come. */
        kCreated, /* Complete and mapped. */
        kRefused, /* The guest must be told; `reason` says why. */
        kIgnored, /* Nothing that a guest sends; `reason` says why. */
    };
    struct Result {
        Outcome outcome;
        uint32_t relid = 0;
        uint32_t handle = 0;
        std::string reason = {};
    };
    [[nodiscard]] Result take_header(Bytes message);
    [[nodiscard]] Result take_body(Bytes message);

    /* False when that channel has no such GPADL, complete or not. */
    [[nodiscard]] bool remove(uint32_t relid, uint32_t handle);
    void remove_of(uint32_t relid);
    void clear();

    /* Any thread: the complete GPADL of a channel, or nullptr.  Its memory
     * stays mapped while the caller holds it. */
    [[nodiscard]] std::shared_ptr<const PageMapping>
    find(uint32_t relid, uint32_t handle) const;

private:
    struct Gpadl {
        uint32_t relid;
        std::vector<uint64_t> pages; /* Until it is complete. */
        size_t wanted;               /* Pages it is to have. */
        size_t runs = 0;
        std::shared_ptr<const PageMapping> mapping = nullptr;
    };
    using Table = std::map<uint32_t, Gpadl>;

    void add_pages(Gpadl &gpadl, Bytes numbers);
    [[nodiscard]] Result finish(Table::iterator gpadl);
    Table::iterator erase(Table::iterator gpadl);

    GuestRam &ram_;
    /* Only the bus's thread changes what is below; the lock is for find(). */
    mutable std::mutex mutex_;
    Table gpadls_;
    size_t pages_ = 0;
    size_t runs_ = 0;
};

} // namespace netvsc::host::vmm
