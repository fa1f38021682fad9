/* Round-trip times of a loop's frames: counts by duration, in classes that are
 * 1/32 wide, so that ten million round trips need no more memory than one. */

#pragma once

#include <array>
#include <cstdint>

namespace netvsc::host {

/* In nanoseconds; 0 when there was none. */
struct RoundTripTimes {
    uint64_t count = 0;
    uint64_t median = 0;
    uint64_t p99 = 0;
    uint64_t p999 = 0;
};

class RoundTrips {
public:
    void add(uint64_t ns);
    void clear();

    [[nodiscard]] RoundTripTimes times() const;

private:
    /* A class is named by the duration's highest 6 bits and how many there are
     * below them. */
    static constexpr unsigned kFineBits = 5;
    static constexpr unsigned kFine = 1u << kFineBits;
    static constexpr unsigned kClasses = (64 - kFineBits + 1) * kFine;

    /* The longest time of the class that the round trip number `rank`, from 0
     * and by duration, is in. */
    [[nodiscard]] uint64_t longest(uint64_t rank) const;

    std::array<uint64_t, kClasses> counts_{};
    uint64_t total_ = 0;
};

} // namespace netvsc::host
