/* Completions that the host owes the guest for its sends.
 *
 * They are collected here, so that a guest which does not read its ring holds
 * up nothing but itself, and may be held back on purpose: real hosts complete
 * late and out of order (G.1). */

#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace netvsc::host {

class CompletionQueue {
public:
    /* Sends that may be outstanding; the rest waits in the guest's ring
     * (openvmm's quota, G.1). */
    static constexpr size_t kCapacity = 1024;

    /* With `delay_ns` 0 completions are due at once and keep their order;
     * else each is due after a random time of that mean. */
    explicit CompletionQueue(uint64_t delay_ns) : delay_ns_(delay_ns)
    {
        heap_.reserve(kCapacity);
    }

    struct Completion {
        uint64_t due; /* Nanoseconds, CLOCK_MONOTONIC. */
        uint64_t sequence;
        uint64_t trans_id;
        uint32_t status;
    };

    void push(uint64_t trans_id, uint32_t status, uint64_t now_ns);
    void pop();
    /* The next one due. */
    [[nodiscard]] const Completion &
    front() const
    {
        return heap_.front();
    }
    [[nodiscard]] bool
    empty() const
    {
        return heap_.empty();
    }
    [[nodiscard]] bool
    full() const
    {
        return heap_.size() == kCapacity;
    }
    [[nodiscard]] size_t
    size() const
    {
        return heap_.size();
    }

private:
    uint64_t delay_ns_;
    uint64_t sequence_ = 0;
    std::vector<Completion> heap_;
    /* Fixed seed: a run can be repeated. */
    std::minstd_rand random_{1};
};

} // namespace netvsc::host
