#include "driver/kernel/guid.h"

#include <cctype>

namespace netvsc {

std::optional<Guid>
Guid::parse(std::string_view text)
{
    if (text.size() == 38 && text.front() == '{' && text.back() == '}') {
        text = text.substr(1, 36);
    }
    if (text.size() != 36) {
        return std::nullopt;
    }
    std::string guid;
    for (size_t i = 0; i < text.size(); i++) {
        auto c = static_cast<unsigned char>(text[i]);
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? c != '-' : !std::isxdigit(c)) {
            return std::nullopt;
        }
        guid.push_back(static_cast<char>(std::tolower(c)));
    }
    return Guid(std::move(guid));
}

} // namespace netvsc
