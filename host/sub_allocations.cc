#include "host/sub_allocations.h"

#include <algorithm>
#include <cassert>

namespace netvsc::host {

SubAllocations::SubAllocations(uint32_t count, uint32_t control)
    : slots_(count), control_(std::min(control, count))
{
    for (uint32_t index = count; index-- > 0;) {
        put(index);
    }
}

std::optional<uint32_t>
SubAllocations::take_data()
{
    return take(free_data_);
}

std::optional<uint32_t>
SubAllocations::take_control()
{
    return take(free_control_);
}

std::optional<uint32_t>
SubAllocations::take(uint32_t &head)
{
    if (head == kEnd) {
        return std::nullopt;
    }
    uint32_t index = head;
    head = slots_[index].next;
    slots_[index] = {kEnd, State::kFirst};
    issued_++;
    return index;
}

void
SubAllocations::put(uint32_t index)
{
    uint32_t &head = index < control_ ? free_control_ : free_data_;
    slots_[index] = {head, State::kFree};
    head = index;
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
