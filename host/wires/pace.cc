#include "host/wires/pace.h"

#include <charconv>

#include "host/base/error.h"

namespace netvsc::host {

namespace {

struct Name {
    Pace::Kind kind;
    const char *text;
    bool has_limit;
};

constexpr Name kNames[] = {
    {Pace::Kind::kNone, "none", false},    {Pace::Kind::kMax, "max", false},
    {Pace::Kind::kWindow, "window", true}, {Pace::Kind::kLoop, "loop", true},
    {Pace::Kind::kRate, "rate", true},
};

/* More frames a second than any ring carries; its product with a second in
 * nanoseconds fits 64 bits. */
constexpr uint64_t kMostFrames = 1'000'000'000;

} // namespace

Pace
parse_pace(std::string_view text)
{
    size_t colon = text.find(':');
    for (const Name &name : kNames) {
        if (text.substr(0, colon) != name.text ||
            name.has_limit != (colon != std::string_view::npos)) {
            continue;
        }
        Pace pace{name.kind, 0};
        if (!name.has_limit) {
            return pace;
        }
        const char *end = text.data() + text.size();
        auto [rest, error] =
            std::from_chars(text.data() + colon + 1, end, pace.limit);
        if (error == std::errc() && rest == end && pace.limit > 0 &&
            pace.limit <= kMostFrames) {
            return pace;
        }
    }
    throw HostError("pace=" + std::string(text) +
                    " is not none, max, window:FRAMES, loop:FRAMES or "
                    "rate:FRAMES-PER-SECOND.");
}

std::string
to_text(const Pace &pace)
{
    for (const Name &name : kNames) {
        if (name.kind == pace.kind) {
            return name.text +
                   (name.has_limit ? ":" + std::to_string(pace.limit) : "");
        }
    }
    return "";
}

} // namespace netvsc::host
