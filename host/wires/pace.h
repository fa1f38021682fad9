/* The pace of a generator: how fast it makes frames. */

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace netvsc::host {

struct Pace {
    enum class Kind {
        kNone,   /* Only when asked to: Nic::fill(). */
        kMax,    /* As fast as the guest takes them. */
        kWindow, /* At most `limit` that the guest did not complete. */
        kLoop,   /* At most `limit` that did not come back. */
        kRate,   /* `limit` in a second. */
    };
    Kind kind = Kind::kMax;
    uint64_t limit = 0;
};

/* "none", "max", "window:N", "loop:N" or "rate:N".  Throws HostError. */
[[nodiscard]] Pace parse_pace(std::string_view text);
[[nodiscard]] std::string to_text(const Pace &pace);

} // namespace netvsc::host
