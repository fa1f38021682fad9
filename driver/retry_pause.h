/* How long a device waits before it is tried again. */

#pragma once

#include <algorithm>
#include <chrono>

namespace netvsc {

/* Control thread only. */
class RetryPause {
public:
    using Duration = std::chrono::steady_clock::duration;

    /* Doubled after each failure, so that neither host nor switch is kept
     * busy by a device that does not work (each attempt has OVS stop its PMD
     * threads), up to the longest that an operator should have to wait. */
    static constexpr std::chrono::seconds kFirst{1};
    static constexpr std::chrono::seconds kLongest{30};
    /* An attach alone proves nothing: a session that lived shorter counts as
     * one more failure. */
    static constexpr std::chrono::seconds kProven{30};

    /* The device failed, after a session that lived for `lived` (0: there was
     * none).  Returns the time to wait. */
    [[nodiscard]] std::chrono::seconds
    after_failure(Duration lived) noexcept
    {
        if (lived >= kProven) {
            next_ = kFirst;
        }
        auto pause = next_;
        next_ = std::min(next_ * 2, kLongest);
        return pause;
    }

    /* Another port, another story. */
    void
    reset() noexcept
    {
        next_ = kFirst;
    }

private:
    std::chrono::seconds next_ = kFirst;
};

} // namespace netvsc
