/* Frames for measurements: valid IPv4/UDP, and able to prove that they came
 * through whole.
 *
 * They are of RFC 2544's address range.  The first 16 bytes of the UDP payload
 * are, big-endian: magic, number of the frame, number of its flow, and a
 * digest of the payload; a pattern that depends on the frame's number
 * follows. */

#pragma once

#include <optional>

#include "host/base/bytes.h"
#include "host/config.h"

namespace netvsc::host {

struct TestFrame {
    MacAddress source;
    MacAddress destination;
    uint32_t number;
    /* Chooses the source's address (of 2^16) and port (of 2^14). */
    uint32_t flow;
};

/* Fills `frame`, of kLeastTestFrame bytes or more in private memory, headers
 * and checksums included. */
void make_test_frame(MutableBytes frame, const TestFrame &about);

/* Headers, checksums and digest of a frame in private memory. */
enum class TestFrameVerdict { kGood, kDamaged, kForeign };
[[nodiscard]] TestFrameVerdict check_test_frame(MutableBytes frame);

/* The number in the frame; nothing when it is not one of these. */
[[nodiscard]] std::optional<uint32_t> test_frame_number(Bytes frame);

/* What a receive side scaling hash would be good for: a number that depends
 * on the flow, different for nearly all of them. */
[[nodiscard]] uint32_t test_flow_hash(uint32_t flow);

} // namespace netvsc::host
