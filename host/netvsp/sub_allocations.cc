#include "host/netvsp/sub_allocations.h"

#include <algorithm>
#include <cassert>

namespace netvsc::host {

SubAllocations::SubAllocations(uint32_t count, uint32_t control, Reuse reuse)
    : slots_(count), control_(std::min(control, count)), reuse_(reuse)
{
    for (uint32_t i = 0; i < count; i++) {
        put(reuse == Reuse::kInTurn ? i : count - 1 - i);
    }
}

std::optional<uint32_t>
SubAllocations::take_control()
{
    return take(free_control_);
}

void
SubAllocations::put(uint32_t index)
{
    if (index >= control_) {
        put_data(index);
        return;
    }
    slots_[index] = {free_control_, State::kFree};
    free_control_ = index;
}

void
SubAllocations::put_data(uint32_t index)
{
    if (reuse_ == Reuse::kHottest) {
        slots_[index] = {free_data_, State::kFree};
        free_data_ = index;
    } else {
        slots_[index] = {kEnd, State::kFree};
        (data_free_ ? slots_[last_data_].next : free_data_) = index;
        last_data_ = index;
    }
    data_free_++;
}

void
SubAllocations::join(uint32_t id, uint32_t index)
{
    assert(slots_[id].state == State::kFirst);
    assert(slots_[index].state == State::kFirst && index != id);

    slots_[index] = {slots_[id].next, State::kJoined};
    slots_[id].next = index;
}

uint32_t
SubAllocations::give_back(uint64_t id)
{
    if (id >= slots_.size() || slots_[id].state != State::kFirst) {
        return 0;
    }
    uint32_t returned = 0;
    for (auto index = static_cast<uint32_t>(id); index != kEnd; returned++) {
        uint32_t next = slots_[index].next;
        put(index);
        index = next;
    }
    returned_ += returned;
    return returned;
}

} // namespace netvsc::host
