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

class ControlMailbox {
public:
    /* `uio`: what the control thread waits on. */
    explicit ControlMailbox(Uio *uio) : uio_(uio) {}

    /* --- Control thread --- */

    /* The next NVSP reply that counts is the one to request `number`. */
    void expect_nvsp(uint32_t number);
    /* The payload of that reply, zero extended, once it came. */
    [[nodiscard]] std::optional<std::array<uint8_t, wire::nvsp::kMessageSize>>
    take_nvsp();

    /* The next RNDIS reply that counts has this type and request id. */
    void expect_rndis(uint32_t type, uint32_t request_id);
    /* That whole message, once it came. */
    [[nodiscard]] std::optional<std::vector<uint8_t>> take_rndis();

    /* The oldest status indication. */
    [[nodiscard]] std::optional<Indication> take_indication();

    /* --- Ring reader --- */

    /* False if the reply was not asked for. */
    [[nodiscard]] bool deliver_nvsp(uint32_t number,
                                    std::span<const uint8_t> payload) noexcept;
    /* One RNDIS control message, in memory that the host can write.  False
     * if it is malformed or not asked for. */
    [[nodiscard]] bool
    deliver_rndis(std::span<const uint8_t> message) noexcept;
    /* The control section came back: the control thread may look. */
    void
    notify() noexcept
    {
        uio_->wake();
    }

private:
    [[nodiscard]] bool deliver_indication(std::span<const uint8_t> message);

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
};

} // namespace netvsc
