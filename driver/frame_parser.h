/* From ranges of the receive buffer to frame views (E.3, E.10). */

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "driver/counters.h"
#include "driver/ethernet.h"
#include "driver/frame.h"
#include "driver/receive_buffer.h"
#include "driver/ring.h"
#include "driver/rndis_packet.h"
#include "driver/rndis_shape.h"

namespace netvsc {

/* Frames of one burst: OVS's. */
inline constexpr unsigned kMaxBurst = 32;

/* Ranges that one poll handles at the most, well-formed or not: more than the
 * 375 of the largest packet that hosts send, and of a malformed one, which can
 * hold tens of thousands, no more.  The pieces of a burst's frames are no
 * more than that either. */
inline constexpr unsigned kMaxRangesPerPoll = 512;

/* A burst on its way from the ring to its user. */
struct RxBurst {
    std::span<netvsc_rx_frame> frames;
    unsigned n = 0;           /* Of them filled. */
    unsigned n_fragments = 0; /* Used for them. */
    unsigned packets = 0;     /* Ring packets handled. */
    unsigned ranges = 0;
    unsigned room = 0; /* Transfers that can be completed yet. */
    FrameTally tally;
    uint32_t multicast = 0;
};

class FrameParser {
public:
    FrameParser(const ReceiveBuffer &buffer, Counters *counters)
        : buffer_(buffer), counters_(counters)
    {
    }

    /* Adds the frames of `n` ranges, for all of which there is room, to the
     * burst.  False if one was malformed. */
    [[nodiscard]] bool
    parse(uint64_t *ranges, uint32_t n, RxBurst *burst) noexcept
    {
        const ReceiveBuffer buffer = buffer_;
        netvsc_rx_frame *frame = &burst->frames[burst->n];
        netvsc_fragment *fragment = &fragments_[burst->n_fragments];
        bool good = true;
        for (uint32_t left = n; left > 0; left--, ranges++) {
            if (left > kFetchAhead) {
                shape_.prefetch(buffer.place(load_word(ranges + kFetchAhead)));
            }
            auto range = buffer.range(load_word(ranges));
            if (!shape_.parse(range, fragment, frame)) [[unlikely]] {
                std::optional<Malformed> cause = Malformed::kRange;
                if (range.data()) {
                    cause = parse_rndis_packet(
                        range, fragment, frame,
                        shape_.wants_to_learn() ? &shape_ : nullptr);
                }
                if (cause) {
                    counters_->add(*cause);
                    good = false;
                    continue;
                }
            }
            /* As OVS sees it, with the tag back in. */
            burst->tally.add(fragment->size +
                             (frame->flags & NETVSC_RX_VLAN ? kVlanTag : 0));
            /* Group bit of the destination, broadcast included. */
            burst->multicast += fragment->data[0] & 1;
            frame++;
            fragment++;
        }
        burst->n = static_cast<unsigned>(frame - burst->frames.data());
        burst->n_fragments =
            static_cast<unsigned>(fragment - fragments_.data());
        burst->ranges += n;
        return good;
    }

private:
    /* Messages between the one that is read and the one that is fetched.  A
     * host that uses its whole buffer in turn lets every message be a miss:
     * without this, a frame of 64 bytes took 50% longer. */
    static constexpr uint32_t kFetchAhead = 8;

    ReceiveBuffer buffer_;
    Counters *counters_;
    RndisShape shape_;
    std::array<netvsc_fragment, kMaxRangesPerPoll> fragments_;
};

} // namespace netvsc
