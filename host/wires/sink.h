/* Takes what a guest sends to nowhere: counts every frame and examines one of
 * a thousand where it lies.  The rest is never read, so that a measurement
 * meets the guest's limit and not the sink's. */

#pragma once

#include <vector>

#include "host/base/checksum.h"
#include "host/config.h"

namespace netvsc::host {

struct SinkCounters {
    uint64_t frames = 0;
    uint64_t checked = 0; /* Good ones included. */
    uint64_t damaged = 0; /* Of these: a checksum is wrong. */
    uint64_t foreign = 0; /* Of these: no generator made it. */
};

class Sink {
public:
    /* Worth about 0.1 cycle for each frame of the least size. */
    static constexpr uint32_t kCheckEvery = 1000;

    Sink();

    /* A frame, perhaps in memory that the guest changes meanwhile, and what
     * the guest wants computed in it. */
    void
    take(Bytes frame, const ChecksumRequest &request)
    {
        counters_.frames++;
        if (--until_check_ == 0) {
            until_check_ = kCheckEvery;
            check(frame, request);
        }
    }

    [[nodiscard]] const SinkCounters &
    counters() const
    {
        return counters_;
    }

private:
    void check(Bytes frame, const ChecksumRequest &request);

    SinkCounters counters_;
    uint32_t until_check_ = kCheckEvery;
    std::vector<std::byte> copy_;
};

} // namespace netvsc::host
