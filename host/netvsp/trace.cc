#include "host/netvsp/trace.h"

#include <ctime>
#include <fcntl.h>

#include "host/base/error.h"
#include "host/base/log.h"

namespace netvsc::host {

namespace {

constexpr char kMagic[] = "NVSCTRC1";
constexpr uint32_t kVersion = 1;

/* Records are padded to this, so that a reader can map the file. */
constexpr size_t kAlignment = 8;

/* One write() for about a thousand small records. */
constexpr size_t kBufferSize = 256 * 1024;

struct [[gnu::packed]] FileHeader {
    char magic[8];
    uint32_t version;
    uint32_t snap;
};
static_assert(sizeof(FileHeader) == 16);

struct [[gnu::packed]] RecordHeader {
    uint32_t size; /* Header and padded payload. */
    uint16_t kind;
    uint16_t channel; /* Sub-channel index. */
    uint32_t nic;
    uint32_t session;
    uint64_t time; /* Nanoseconds, CLOCK_MONOTONIC. */
    uint32_t length;
    uint32_t original;
    uint64_t position;
    uint64_t reserved;
};
static_assert(sizeof(RecordHeader) == 48);

} // namespace

TraceFile::TraceFile(const std::string &path, uint32_t snap)
    : fd_(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)),
      snap_(snap)
{
    if (!fd_) {
        throw_errno("Cannot create the trace file " + path);
    }
    buffer_.reserve(kBufferSize);
    FileHeader header{};
    std::memcpy(header.magic, kMagic, sizeof header.magic);
    header.version = kVersion;
    header.snap = snap;
    append(bytes_of(header), {});
    flush();
}

TraceFile::~TraceFile()
{
    flush();
}

void
TraceFile::append(Bytes header, std::span<const Bytes> payload)
{
    std::lock_guard lock(mutex_);
    buffer_.insert(buffer_.end(), header.begin(), header.end());
    for (Bytes part : payload) {
        buffer_.insert(buffer_.end(), part.begin(), part.end());
    }
    buffer_.resize(round_up(buffer_.size(), kAlignment));
    if (buffer_.size() > kBufferSize / 2) {
        flush_locked();
    }
}

void
TraceFile::flush()
{
    std::lock_guard lock(mutex_);
    flush_locked();
}

void
TraceFile::flush_locked()
{
    Bytes rest = buffer_;
    while (!rest.empty() && fd_) {
        ssize_t written = write(fd_.get(), rest.data(), rest.size());
        if (written < 0 && errno != EINTR) {
            /* A full disk ends the trace, not the NICs. */
            log("trace", "Writing failed, the trace ends here: " +
                             std::generic_category().message(errno) + ".");
            fd_ = UniqueFd();
        } else if (written > 0) {
            rest = rest.subspan(static_cast<size_t>(written));
        }
    }
    buffer_.clear();
}

void
Trace::write(TraceKind kind, std::span<const Bytes> payload, uint32_t length,
             uint32_t original, uint64_t position)
{
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    RecordHeader header{};
    header.size =
        static_cast<uint32_t>(sizeof header + round_up(length, kAlignment));
    header.kind = static_cast<uint16_t>(kind);
    header.channel = channel_;
    header.nic = nic_;
    header.session = session_;
    header.time = static_cast<uint64_t>(now.tv_sec) * 1000000000u +
                  static_cast<uint64_t>(now.tv_nsec);
    header.length = length;
    header.original = original;
    header.position = position;
    file_->append(bytes_of(header), payload);
}

void
Trace::record(TraceKind kind, Bytes bytes, uint64_t position)
{
    if (on()) {
        auto size = static_cast<uint32_t>(bytes.size());
        write(kind, std::span(&bytes, 1), size, size, position);
    }
}

void
Trace::record_cut(TraceKind kind, Bytes bytes,
                  std::span<const TracePiece> pieces, uint64_t position)
{
    if (!on()) {
        return;
    }
    if (snap() == TraceFile::kSnapAll) {
        record(kind, bytes, position);
        return;
    }
    cut_.clear();
    for (const TracePiece &piece : pieces) {
        Bytes header = bytes_of(piece);
        Bytes part = bytes.subspan(piece.offset, piece.size);
        cut_.insert(cut_.end(), header.begin(), header.end());
        cut_.insert(cut_.end(), part.begin(), part.end());
        cut_.resize(round_up(cut_.size(), kAlignment));
    }
    if (cut_.size() >= bytes.size()) {
        record(kind, bytes, position);
        return;
    }
    Bytes cut = cut_;
    write(kind, std::span(&cut, 1), static_cast<uint32_t>(cut.size()),
          static_cast<uint32_t>(bytes.size()), position);
}

void
Trace::text(TraceKind kind, const std::string &json)
{
    record(kind, std::as_bytes(std::span(json)));
}

void
Trace::flush()
{
    if (on()) {
        file_->flush();
    }
}

} // namespace netvsc::host
