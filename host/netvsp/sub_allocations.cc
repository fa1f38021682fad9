#include "host/netvsp/sub_allocations.h"

#include <algorithm>
#include <cassert>

namespace netvsc::host {

SubAllocations::SubAllocations(uint32_t count, uint32_t control, Reuse reuse)
    : slots_(count), control_(std::min(control, count)), reuse_(reuse)
{
    for (uint32_t i = control_; i-- > 0;) {
        put(i);
    }
    divide(1);
}

void
SubAllocations::divide(uint32_t channels)
{
    assert(channels && channels <= kMaxChannels);
    uint32_t data = count() - control_;
    uint32_t share = data / channels;
    ranges_.assign(channels, {});
    for (uint32_t i = 0; i < channels; i++) {
        ranges_[i].first = control_ + i * share;
        /* The last one gets what the division leaves. */
        ranges_[i].count = i + 1 < channels ? share : data - i * share;
    }
    for (uint32_t i = 0; i < channels; i++) {
        Range &range = ranges_[i];
        for (uint32_t n = 0; n < range.count; n++) {
            /* The list is built so that the lowest comes first. */
            uint32_t index =
                range.first +
                (reuse_ == Reuse::kInTurn ? n : range.count - 1 - n);
            slots_[index].range = static_cast<uint8_t>(i);
            if (slots_[index].state == State::kFree) {
                put_data(index);
            }
        }
    }
}

std::optional<uint32_t>
SubAllocations::take_control()
{
    return take(free_control_, 0);
}

void
SubAllocations::put(uint32_t index)
{
    if (index >= control_) {
        put_data(index);
        return;
    }
    slots_[index].state = State::kFree;
    slots_[index].next = free_control_;
    free_control_ = index;
}

void
SubAllocations::put_data(uint32_t index)
{
    Slot &slot = slots_[index];
    Range &range = ranges_[slot.range];
    slot.state = State::kFree;
    if (reuse_ == Reuse::kHottest) {
        slot.next = range.first_free;
        range.first_free = index;
    } else {
        slot.next = kEnd;
        (range.free ? slots_[range.last_free].next : range.first_free) = index;
        range.last_free = index;
    }
    range.free++;
}

void
SubAllocations::join(uint32_t id, uint32_t index)
{
    assert(slots_[id].state == State::kFirst);
    assert(slots_[index].state == State::kFirst && index != id);

    slots_[index].next = slots_[id].next;
    slots_[index].state = State::kJoined;
    slots_[id].next = index;
}

uint32_t
SubAllocations::give_back(uint64_t id, uint32_t channel)
{
    if (id >= slots_.size() || slots_[id].state != State::kFirst ||
        slots_[id].channel != channel) {
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
