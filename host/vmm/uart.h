/* A serial port of the guest: a 16550.
 *
 * Linux's driver and its early console write one byte at a time; here lines
 * are put together and leave whole.  What comes in waits in a queue instead
 * of a FIFO of 16 bytes, so that none is lost. */

#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>

namespace netvsc::host::vmm {

/* Not thread-safe. */
class Uart {
public:
    using Sink = std::function<void(std::string_view)>;
    using Line = std::function<void(bool)>;
    using Drained = std::function<void()>;

    /* `sink` takes the text, `set_line` the state of the interrupt line
     * whenever it changes; `drained` is called when the guest has read all
     * that receive() was given. */
    Uart(Sink sink, Line set_line, Drained drained)
        : sink_(std::move(sink)), set_line_(std::move(set_line)),
          drained_(std::move(drained))
    {
    }

    /* `offset` of a register, 0 to 7. */
    [[nodiscard]] uint8_t read(uint16_t offset);
    void write(uint16_t offset, uint8_t value);
    /* Sends the text of an unfinished line. */
    void flush();
    /* Text for the guest. */
    void receive(std::string_view text);

private:
    void send(uint8_t byte);
    [[nodiscard]] uint8_t take();
    [[nodiscard]] uint8_t identify();
    [[nodiscard]] bool data_ready() const;
    [[nodiscard]] bool transmitter_interrupts() const;
    void update_line();

    Sink sink_;
    Line set_line_;
    Drained drained_;
    std::string text_;
    std::deque<char> received_;
    bool line_ = false;

    /* The transmitter ran empty and nobody has heard of it. */
    bool empty_unseen_ = false;
    uint16_t divisor_ = 1; /* 115,200 Bd. */
    uint8_t interrupt_enable_ = 0;
    uint8_t fifo_control_ = 0;
    uint8_t line_control_ = 0;
    uint8_t modem_control_ = 0;
    uint8_t scratch_ = 0;
};

} // namespace netvsc::host::vmm
