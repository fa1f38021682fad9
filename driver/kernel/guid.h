/* VMBus instance GUID: the driver's key for a device. */

#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace netvsc {

/* Always lower case, 8-4-4-4-12, without braces: as sysfs spells it. */
class Guid {
public:
    /* Accepts upper case and braces; nothing for anything else. */
    [[nodiscard]] static std::optional<Guid> parse(std::string_view text);

    const std::string &
    str() const
    {
        return text_;
    }
    auto operator<=>(const Guid &) const = default;

private:
    explicit Guid(std::string text) : text_(std::move(text)) {}
    std::string text_;
};

} // namespace netvsc
