#include "host/wires/sink.h"

#include "host/base/ethernet.h"
#include "host/wires/test_frame.h"

namespace netvsc::host {

/* The longest that a guest can send: a tag in the frame and one beside it. */
Sink::Sink() : copy_(kMaxMtu + kEthernetHeader + 2 * kVlanTagSize) {}

void
Sink::check(Bytes frame, const ChecksumRequest &request)
{
    counters_.checked++;
    assert(frame.size() <= copy_.size());
    MutableBytes copy = MutableBytes(copy_).first(frame.size());
    std::memcpy(copy.data(), frame.data(), frame.size());
    if (request.ip_header || request.tcp || request.udp) {
        /* What cannot be computed shows as a wrong checksum. */
        (void) complete_checksums(copy, request);
    }
    switch (check_test_frame(copy)) {
    case TestFrameVerdict::kGood:
        break;
    case TestFrameVerdict::kDamaged:
        counters_.damaged++;
        break;
    case TestFrameVerdict::kForeign:
        counters_.foreign++;
        break;
    }
}

} // namespace netvsc::host
