/* The receive buffer, in which the host puts its messages. */

#pragma once

#include <cstdint>
#include <span>

namespace netvsc {

/* Where ranges of transfer-pages packets must be.  Copied where it is used:
 * it does not change, which the compiler cannot know of a member. */
class ReceiveBuffer {
public:
    /* Before the host has it: no range is in it. */
    ReceiveBuffer() = default;
    ReceiveBuffer(std::span<uint8_t> buffer, uint32_t suballoc_size)
        : buffer_(buffer), suballoc_size_(suballoc_size)
    {
    }

    [[nodiscard]] bool
    empty() const noexcept
    {
        return buffer_.empty();
    }
    /* Where the range that `word` of a ring packet describes would be: size
     * in the low half, offset in the high one (A.5). */
    [[nodiscard]] const uint8_t *
    place(uint64_t word) const noexcept
    {
        return buffer_.data() + static_cast<uint32_t>(word >> 32);
    }
    /* The range, without data() if it is not in the buffer. */
    [[nodiscard]] std::span<const uint8_t>
    range(uint64_t word) const noexcept
    {
        const auto size = static_cast<uint32_t>(word);
        const auto offset = static_cast<uint32_t>(word >> 32);
        if (size > suballoc_size_ ||
            uint64_t{offset} + size > buffer_.size()) {
            return {};
        }
        return {buffer_.data() + offset, size};
    }

private:
    std::span<uint8_t> buffer_;
    uint32_t suballoc_size_ = 0;
};

} // namespace netvsc
