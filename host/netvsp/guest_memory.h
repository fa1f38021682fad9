/* How the host reads guest memory that a GPA-direct packet names (A.5). */

#pragma once

#include <vector>

#include "host/base/bytes.h"
#include "host/base/unique_fd.h"

namespace netvsc::host {

/* `size` bytes of guest memory from guest physical address `address` on,
 * contiguous there. */
struct GpaPiece {
    uint64_t address;
    uint32_t size;
};

class GuestMemory {
public:
    virtual ~GuestMemory() = default;

    /* Copies the pieces one after the other to `to`, which has exactly their
     * total size.  False, with `to` undefined, when any byte of them is not
     * guest memory. */
    [[nodiscard]] virtual bool read(std::span<const GpaPiece> pieces,
                                    MutableBytes to) = 0;
};

/* Memory that the guest process registered piece by piece, in sealed memfds.
 * It is read through its descriptors, not mapped: no guest then makes the host
 * fault or wait. */
class DmaRegions : public GuestMemory {
public:
    /* `fd` holds `pages` pages from guest page `first_page` on.  False when it
     * is no memfd with the seals of wire/uio_socket.h, is shorter, overlaps a
     * region or makes too many. */
    [[nodiscard]] bool add(UniqueFd fd, uint64_t first_page, uint64_t pages);
    void
    clear()
    {
        regions_.clear();
    }

    [[nodiscard]] bool read(std::span<const GpaPiece> pieces,
                            MutableBytes to) override;

private:
    struct Region {
        UniqueFd fd;
        uint64_t first; /* Address. */
        uint64_t size;  /* Bytes. */
    };
    std::vector<Region> regions_;
};

/* The memory of a process whose page numbers are virtual addresses, which is
 * what DPDK uses with IOVA = VA. */
class ProcessMemory : public GuestMemory {
public:
    void
    attach(pid_t pid)
    {
        pid_ = pid;
    }

    [[nodiscard]] bool read(std::span<const GpaPiece> pieces,
                            MutableBytes to) override;

private:
    pid_t pid_ = 0;
};

} // namespace netvsc::host
