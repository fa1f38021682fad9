#include "host/netvsp/guest_memory.h"

#include <algorithm>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "wire/ring.h"
#include "wire/uio_socket.h"

namespace netvsc::host {

namespace {

/* A guest registers a few big regions; each costs a descriptor, and a guest
 * must not be able to use up those of the other NICs. */
constexpr size_t kMaxRegions = 64;

/* Pieces that go into one process_vm_readv(). */
constexpr size_t kPiecesPerCall = 64;

} // namespace

bool
DmaRegions::add(UniqueFd fd, uint64_t first_page, uint64_t pages)
{
    constexpr uint64_t kPages = UINT64_MAX / wire::kPageSize;
    constexpr int kSeals = wire::uio_socket::kSeals;
    struct stat status {};
    /* The seals first: only a memfd has them, and a file of another kind can
     * let even fstat() wait. */
    int seals = fcntl(fd.get(), F_GET_SEALS);
    if (seals < 0 || (seals & kSeals) != kSeals ||
        regions_.size() == kMaxRegions || !pages || pages > kPages ||
        first_page > kPages - pages || fstat(fd.get(), &status) < 0 ||
        status.st_size < 0 ||
        static_cast<uint64_t>(status.st_size) / wire::kPageSize < pages) {
        return false;
    }
    uint64_t first = first_page * wire::kPageSize;
    uint64_t size = pages * wire::kPageSize;
    for (const Region &region : regions_) {
        if (first < region.first + region.size &&
            region.first < first + size) {
            return false;
        }
    }
    regions_.push_back({std::move(fd), first, size});
    return true;
}

bool
DmaRegions::read(std::span<const GpaPiece> pieces, MutableBytes to)
{
    for (const GpaPiece &piece : pieces) {
        auto region = std::find_if(
            regions_.begin(), regions_.end(), [&](const Region &candidate) {
                return piece.address >= candidate.first &&
                       piece.address - candidate.first < candidate.size;
            });
        if (region == regions_.end()) {
            return false;
        }
        uint64_t offset = piece.address - region->first;
        if (piece.size > region->size - offset ||
            pread(region->fd.get(), to.data(), piece.size,
                  static_cast<off_t>(offset)) !=
                static_cast<ssize_t>(piece.size)) {
            return false;
        }
        to = to.subspan(piece.size);
    }
    return true;
}

bool
ProcessMemory::read(std::span<const GpaPiece> pieces, MutableBytes to)
{
    while (!pieces.empty()) {
        iovec remote[kPiecesPerCall];
        size_t count = std::min(pieces.size(), kPiecesPerCall);
        size_t total = 0;
        for (size_t i = 0; i < count; i++) {
            remote[i] = {reinterpret_cast<void *>(pieces[i].address),
                         pieces[i].size};
            total += pieces[i].size;
        }
        iovec local = {to.data(), total};
        if (process_vm_readv(pid_, &local, 1, remote, count, 0) !=
            static_cast<ssize_t>(total)) {
            return false;
        }
        pieces = pieces.subspan(count);
        to = to.subspan(total);
    }
    return true;
}

} // namespace netvsc::host
