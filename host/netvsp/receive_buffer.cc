#include "host/netvsp/receive_buffer.h"

#include <algorithm>

#include "host/base/ethernet.h"
#include "host/netvsp/message_head.h"
#include "wire/ring.h"

namespace netvsc::host {

namespace {

/* Left unused: Windows guests read that far beyond the message (E.10). */
constexpr uint32_t kTail = 36;

/* Sub-allocations of small MTUs still hold every control message. */
constexpr uint32_t kSmallestMtu = 1500;

} // namespace

uint32_t
ReceiveBuffer::suballoc_size_for(uint32_t mtu)
{
    size_t frame_size = std::max(mtu, kSmallestMtu) + kEthernetHeader;
    return static_cast<uint32_t>(
        round_up(kDataAt + frame_size + kTail, wire::kRingUnit));
}

bool
ReceiveBuffer::attach(MutableBytes buffer, uint32_t mtu)
{
    mtu_ = mtu;
    suballoc_size_ = suballoc_size_for(mtu);
    auto count = static_cast<uint32_t>(buffer.size() / suballoc_size_);
    if (count <= nic_.control_suballocs) {
        return false;
    }
    auto reuse = SubAllocations::Reuse::kHottest;
    if (nic_.generator) {
        reuse = SubAllocations::Reuse::kInTurn;
        if (nic_.generator->suballocs) {
            count = std::min(count, nic_.control_suballocs +
                                        nic_.generator->suballocs);
        }
    }
    buffer_ = buffer;
    ledger_.emplace(count, nic_.control_suballocs, reuse);
    return true;
}

void
ReceiveBuffer::revoke()
{
    buffer_ = {};
}

} // namespace netvsc::host
