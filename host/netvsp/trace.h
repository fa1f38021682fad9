/* The trace of everything that crosses the rings.
 *
 * A file of records that a decoder written from the protocol reference alone
 * can judge: ring packets with their trailers, and the bytes of the shared
 * buffers that they name.  One file for all NICs of the process; records of
 * one NIC are in protocol order.
 *
 * Frame data may be cut to `snap` bytes; headers and control messages are
 * always whole.  A cut payload is a list of {u32 offset, u32 size, bytes
 * padded to 8} pieces of the original, in ascending order. */

#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "host/base/bytes.h"
#include "host/base/unique_fd.h"

namespace netvsc::host {

enum class TraceKind : uint16_t {
    kSessionOpen = 1,
    kToHost = 2,
    kToGuest = 3,
    kSendBuffer = 4,
    kGpa = 5,
    kReceiveBuffer = 6,
    kSessionClose = 7,
    kEvent = 8,
};

/* Part of a payload that a cut record keeps. */
struct TracePiece {
    uint32_t offset;
    uint32_t size;
};

/* The file.  Any thread. */
class TraceFile {
public:
    /* Keeps everything. */
    static constexpr uint32_t kSnapAll = UINT32_MAX;

    /* Throws HostError. */
    TraceFile(const std::string &path, uint32_t snap);
    ~TraceFile();

    [[nodiscard]] uint32_t
    snap() const
    {
        return snap_;
    }
    void append(Bytes header, std::span<const Bytes> payload);
    /* Writes what is buffered, so that a reader of the file sees it. */
    void flush();

private:
    void flush_locked();

    std::mutex mutex_;
    UniqueFd fd_;
    uint32_t snap_;
    std::vector<std::byte> buffer_;
};

/* One session's records; a null object when nobody traces. */
class Trace {
public:
    Trace() = default;
    /* Of the primary channel; what concerns no channel goes here, too. */
    Trace(TraceFile *file, uint32_t nic, uint32_t session)
        : file_(file), nic_(nic), session_(session)
    {
    }
    [[nodiscard]] Trace
    of_channel(uint16_t index) const
    {
        Trace trace(file_, nic_, session_);
        trace.channel_ = index;
        return trace;
    }

    [[nodiscard]] bool
    on() const
    {
        return file_ != nullptr;
    }
    [[nodiscard]] uint32_t
    snap() const
    {
        return file_->snap();
    }

    /* All of `bytes`. */
    void record(TraceKind kind, Bytes bytes, uint64_t position = 0);
    /* Only `pieces` of `bytes` (ascending, disjoint), if that is shorter. */
    void record_cut(TraceKind kind, Bytes bytes,
                    std::span<const TracePiece> pieces, uint64_t position);
    void text(TraceKind kind, const std::string &json);
    void flush();

private:
    void write(TraceKind kind, std::span<const Bytes> payload, uint32_t length,
               uint32_t original, uint64_t position);

    TraceFile *file_ = nullptr;
    uint32_t nic_ = 0;
    uint32_t session_ = 0;
    uint16_t channel_ = 0;       /* Sub-channel index. */
    std::vector<std::byte> cut_; /* Reused for cut payloads. */
};

} // namespace netvsc::host
