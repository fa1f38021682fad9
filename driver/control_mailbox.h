/* Where control messages of the host wait for the control thread.
 *
 * Whoever reads the ring delivers; the control thread collects.  Only what
 * was asked for is accepted: a late, repeated or invented reply is refused,
 * and its sender counts it. */

#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "driver/kernel/uio.h"
#include "wire/nvsp.h"

namespace netvsc {

/* Longest RNDIS reply that is accepted; the longest answer to what we ask,
 * the offload object, has 180 bytes. */
inline constexpr size_t kMaxControlReply = 1024;

/* A status indication: the code and the first word of its buffer. */
struct Indication {
    uint32_t status;
    uint32_t value;
    bool has_value;
};

/* The host offers a virtual function for the adapter, or takes it away. */
struct VfAssociation {
    bool allocated;
    uint32_t serial; /* Of the PCI device. */
};

/* On which channel the host wants the frames of a hash value, modulo the
 * number of entries. */
struct IndirectionTable {
    std::array<uint32_t, wire::nvsp::kSendTableEntries> channels;
};

/* What the host says without being asked. */
using HostEvent = std::variant<Indication, VfAssociation, IndirectionTable>;

/* Bytes of an in-band message that are looked at: the longest is an
 * indirection table behind the largest message that NVSP 6 knows. */
inline constexpr uint32_t kMaxInbandMessage = 128;

class ControlMailbox {
public:
    /* `uio`: what the control thread waits on. */
    explicit ControlMailbox(Uio *uio) : uio_(uio) {}

    /* --- Control thread --- */

    /* The next NVSP reply that counts is the one to request `number`. */
    void expect_nvsp(uint32_t number);
    /* The payload of that reply, zero extended, once it came. */
    [[nodiscard]] std::optional<std::array<uint8_t, wire::nvsp::kMessageSize>>
    collect_nvsp();

    /* The next RNDIS reply that counts has this type and request id. */
    void expect_rndis(uint32_t type, uint32_t request_id);
    /* That whole message, once it came. */
    [[nodiscard]] std::optional<std::vector<uint8_t>> collect_rndis();

    /* The next event: status indications in order, then the last word on
     * everything else. */
    [[nodiscard]] std::optional<HostEvent> collect_event();

    /* --- Ring reader --- */

    /* False if the reply was not asked for. */
    [[nodiscard]] bool deliver_nvsp(uint32_t number,
                                    std::span<const uint8_t> payload) noexcept;
    /* One RNDIS control message, in memory that the host can write.  False
     * if it is malformed or not asked for. */
    [[nodiscard]] bool
    deliver_rndis(std::span<const uint8_t> message) noexcept;
    /* An in-band NVSP message, in private memory.  False if it is of a type
     * that does not come by itself, or malformed. */
    [[nodiscard]] bool
    deliver_inband(std::span<const uint8_t> message) noexcept;
    /* The control section came back: the control thread may look. */
    void
    notify() noexcept
    {
        uio_->wake();
    }

private:
    [[nodiscard]] bool deliver_indication(std::span<const uint8_t> message);
    void wake_for_event();

    /* More link events at once than any host sends; further ones replace the
     * newest, so that the last state is never lost. */
    static constexpr unsigned kMaxIndications = 16;

    Uio *uio_;
    std::mutex lock_;
    std::optional<uint32_t> nvsp_expected_;
    std::optional<std::array<uint8_t, wire::nvsp::kMessageSize>> nvsp_;
    uint32_t rndis_type_ = 0, rndis_id_ = 0;
    bool rndis_expected_ = false;
    size_t rndis_size_ = 0; /* 0: nothing came yet. */
    std::array<uint8_t, kMaxControlReply> rndis_;
    std::array<Indication, kMaxIndications> indications_;
    unsigned n_indications_ = 0;
    /* A later one says it all. */
    std::optional<VfAssociation> vf_;
    std::optional<IndirectionTable> table_;
};

} // namespace netvsc
