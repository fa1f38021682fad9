#include "host/netvsp/completion_queue.h"

#include <algorithm>
#include <cassert>
#include <tuple>

namespace netvsc::host {

namespace {

/* The heap keeps the earliest in front. */
bool
later(const CompletionQueue::Completion &a,
      const CompletionQueue::Completion &b)
{
    return std::tie(a.due, a.sequence) > std::tie(b.due, b.sequence);
}

} // namespace

void
CompletionQueue::push(uint64_t trans_id, uint32_t status, uint64_t now_ns)
{
    assert(!full());
    /* Without delays all are due at time 0: the sequence alone orders them,
     * and appending to the heap moves nothing. */
    uint64_t due = 0;
    if (delay_ns_) {
        std::uniform_int_distribution<uint64_t> spread(0, 2 * delay_ns_);
        due = now_ns + spread(random_);
    }
    heap_.push_back({due, sequence_++, trans_id, status});
    std::push_heap(heap_.begin(), heap_.end(), later);
}

void
CompletionQueue::pop()
{
    std::pop_heap(heap_.begin(), heap_.end(), later);
    heap_.pop_back();
}

} // namespace netvsc::host
