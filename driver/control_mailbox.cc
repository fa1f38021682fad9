#include "driver/control_mailbox.h"

#include <algorithm>
#include <cstring>

#include "driver/shared_memory.h"
#include "wire/nvsp.h"
#include "wire/rndis.h"

namespace netvsc {

using namespace wire::rndis;

void
ControlMailbox::expect_nvsp(uint32_t number)
{
    std::lock_guard lock(lock_);
    nvsp_expected_ = number;
    nvsp_.reset();
}

std::optional<std::array<uint8_t, wire::nvsp::kMessageSize>>
ControlMailbox::collect_nvsp()
{
    std::lock_guard lock(lock_);
    return std::exchange(nvsp_, std::nullopt);
}

void
ControlMailbox::expect_rndis(uint32_t type, uint32_t request_id)
{
    std::lock_guard lock(lock_);
    rndis_type_ = type;
    rndis_id_ = request_id;
    rndis_expected_ = true;
    rndis_size_ = 0;
}

std::optional<std::vector<uint8_t>>
ControlMailbox::collect_rndis()
{
    std::lock_guard lock(lock_);
    if (rndis_size_ == 0) {
        return std::nullopt;
    }
    return std::vector<uint8_t>(
        rndis_.begin(), rndis_.begin() + static_cast<ptrdiff_t>(
                                             std::exchange(rndis_size_, 0)));
}

std::optional<HostEvent>
ControlMailbox::collect_event()
{
    std::lock_guard lock(lock_);
    if (n_indications_ > 0) {
        Indication oldest = indications_[0];
        std::copy(indications_.begin() + 1,
                  indications_.begin() + n_indications_, indications_.begin());
        n_indications_--;
        return oldest;
    }
    if (vf_) {
        return *std::exchange(vf_, std::nullopt);
    }
    if (table_) {
        return *std::exchange(table_, std::nullopt);
    }
    return std::nullopt;
}

/* Once for all events that wait: a host that floods costs no system call for
 * each message.  Before the event is there; lock_ is held. */
void
ControlMailbox::wake_for_event()
{
    if (n_indications_ == 0 && !vf_ && !table_) {
        uio_->wake();
    }
}

bool
ControlMailbox::deliver_nvsp(uint32_t number,
                             std::span<const uint8_t> payload) noexcept
{
    std::lock_guard lock(lock_);
    if (nvsp_expected_ != number) {
        return false;
    }
    nvsp_expected_.reset();
    nvsp_.emplace();
    nvsp_->fill(0);
    std::copy_n(payload.begin(), std::min(payload.size(), nvsp_->size()),
                nvsp_->begin());
    uio_->wake();
    return true;
}

bool
ControlMailbox::deliver_rndis(std::span<const uint8_t> message) noexcept
{
    if (message.size() < sizeof(Header)) {
        return false;
    }
    auto header = read_shared<Header>(message.data());
    if (header.length < sizeof header || header.length > message.size() ||
        header.length > kMaxControlReply) {
        return false;
    }
    message = message.first(header.length);
    std::lock_guard lock(lock_);
    if (header.type == kIndicateStatus) {
        return deliver_indication(message);
    }
    /* Every reply carries its request id behind the header. */
    if (!rndis_expected_ || header.type != rndis_type_ ||
        message.size() < sizeof header + sizeof rndis_id_ ||
        read_shared<uint32_t>(message.data() + sizeof header) != rndis_id_) {
        return false;
    }
    rndis_expected_ = false;
    rndis_size_ = message.size();
    std::memcpy(rndis_.data(), message.data(), message.size());
    /* What was checked, in case the host changed it since. */
    std::memcpy(rndis_.data(), &header, sizeof header);
    uio_->wake();
    return true;
}

bool
ControlMailbox::deliver_indication(std::span<const uint8_t> message)
{
    if (message.size() < sizeof(IndicateStatus)) {
        return false;
    }
    auto indicate = read_shared<IndicateStatus>(message.data());
    Indication indication = {indicate.status, 0, false};
    if (indicate.buffer_length >= sizeof indication.value) {
        uint64_t end = uint64_t{kOffsetBase} + indicate.buffer_offset +
                       sizeof indication.value;
        if (end > message.size()) {
            return false;
        }
        indication.value = read_shared<uint32_t>(message.data() + kOffsetBase +
                                                 indicate.buffer_offset);
        indication.has_value = true;
    }
    wake_for_event();
    n_indications_ = std::min(n_indications_ + 1, kMaxIndications);
    indications_[n_indications_ - 1] = indication;
    return true;
}

bool
ControlMailbox::deliver_inband(std::span<const uint8_t> message) noexcept
{
    uint32_t type;
    if (message.size() < sizeof type) {
        return false;
    }
    std::memcpy(&type, message.data(), sizeof type);
    switch (type) {
    case wire::nvsp::kSendVfAssociation: {
        wire::nvsp::SendVfAssociation vf;
        if (message.size() < sizeof vf) {
            return false;
        }
        std::memcpy(&vf, message.data(), sizeof vf);
        std::lock_guard lock(lock_);
        wake_for_event();
        vf_ = {vf.allocated != 0, vf.serial};
        return true;
    }
    case wire::nvsp::kSendIndirectionTable: {
        constexpr size_t kHead =
            offsetof(wire::nvsp::SendIndirectionTable, table);
        wire::nvsp::SendIndirectionTable head;
        IndirectionTable table;
        if (message.size() < kHead) {
            return false;
        }
        std::memcpy(&head, message.data(), kHead);
        if (head.count != table.channels.size() || head.offset < kHead ||
            uint64_t{head.offset} + sizeof table > message.size()) {
            /* Some hosts say a wrong place (D.3): there is no table then, and
             * no harm done, because it is only their advice. */
            return true;
        }
        std::memcpy(&table, &message[head.offset], sizeof table);
        std::lock_guard lock(lock_);
        wake_for_event();
        table_ = table;
        return true;
    }
    default:
        return false;
    }
}

} // namespace netvsc
