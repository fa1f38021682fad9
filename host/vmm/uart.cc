#include "host/vmm/uart.h"

namespace netvsc::host::vmm {

namespace {

/* Registers by offset; while the divisor latch is open, the first two are
 * the divisor. */
constexpr uint16_t kData = 0;
constexpr uint16_t kInterruptEnable = 1;
constexpr uint16_t kInterruptId = 2; /* FIFO control when written. */
constexpr uint16_t kLineControl = 3;
constexpr uint16_t kModemControl = 4;
constexpr uint16_t kLineStatus = 5;
constexpr uint16_t kModemStatus = 6;
constexpr uint16_t kScratch = 7;

constexpr uint8_t kDivisorLatch = 0x80;
constexpr uint8_t kLoopback = 0x10;
constexpr uint8_t kReceiverInterrupt = 0x01;
constexpr uint8_t kTransmitterInterrupt = 0x02;
constexpr uint8_t kWritableEnables = 0x0f;

constexpr uint8_t kNoInterrupt = 0x01;
constexpr uint8_t kTransmitterEmpty = 0x02;
constexpr uint8_t kDataReceived = 0x04;
constexpr uint8_t kFifoEnable = 0x01;
constexpr uint8_t kFifosOn = 0xc0;

/* The transmitter and its FIFO are always empty; carrier, data set ready and
 * clear to send always hold. */
constexpr uint8_t kDataReady = 0x01;
constexpr uint8_t kAlwaysEmpty = 0x60;
constexpr uint8_t kAlwaysConnected = 0xb0;

/* Text without an end of line leaves when there is so much of it. */
constexpr size_t kLongestText = 512;

} // namespace

/* A driver that starts reads and throws away what it finds; so nothing
 * arrives before it listens. */
bool
Uart::data_ready() const
{
    return !received_.empty() && (interrupt_enable_ & kReceiverInterrupt);
}

bool
Uart::transmitter_interrupts() const
{
    return empty_unseen_ && (interrupt_enable_ & kTransmitterInterrupt);
}

void
Uart::update_line()
{
    bool line = data_ready() || transmitter_interrupts();
    if (line != line_) {
        line_ = line;
        set_line_(line);
    }
}

void
Uart::flush()
{
    if (!text_.empty()) {
        sink_(text_);
        text_.clear();
    }
}

void
Uart::send(uint8_t byte)
{
    if (modem_control_ & kLoopback) {
        return; /* A driver that tries what port this is. */
    }
    text_.push_back(static_cast<char>(byte));
    if (byte == '\n' || text_.size() >= kLongestText) {
        flush();
    }
    empty_unseen_ = true;
    update_line();
}

void
Uart::receive(std::string_view text)
{
    received_.insert(received_.end(), text.begin(), text.end());
    update_line();
}

uint8_t
Uart::take()
{
    if (!data_ready()) {
        return 0;
    }
    auto byte = static_cast<uint8_t>(received_.front());
    received_.pop_front();
    if (received_.empty()) {
        update_line();
        drained_();
    }
    return byte;
}

/* Why the line is up, the most urgent reason first. */
uint8_t
Uart::identify()
{
    uint8_t fifos = fifo_control_ & kFifoEnable ? kFifosOn : 0;
    if (data_ready()) {
        return fifos | kDataReceived;
    }
    if (transmitter_interrupts()) {
        /* Having been told is the acknowledgement. */
        empty_unseen_ = false;
        update_line();
        return fifos | kTransmitterEmpty;
    }
    return fifos | kNoInterrupt;
}

uint8_t
Uart::read(uint16_t offset)
{
    bool latch = line_control_ & kDivisorLatch;
    switch (offset) {
    case kData:
        return latch ? static_cast<uint8_t>(divisor_) : take();
    case kInterruptEnable:
        return latch ? static_cast<uint8_t>(divisor_ >> 8) : interrupt_enable_;
    case kInterruptId:
        return identify();
    case kLineControl:
        return line_control_;
    case kModemControl:
        return modem_control_;
    case kLineStatus:
        return data_ready() ? kAlwaysEmpty | kDataReady : kAlwaysEmpty;
    case kModemStatus:
        return kAlwaysConnected;
    case kScratch:
        return scratch_;
    default:
        return 0xff;
    }
}

void
Uart::write(uint16_t offset, uint8_t value)
{
    bool latch = line_control_ & kDivisorLatch;
    switch (offset) {
    case kData:
        if (latch) {
            divisor_ = static_cast<uint16_t>((divisor_ & 0xff00) | value);
        } else {
            send(value);
        }
        break;
    case kInterruptEnable:
        if (latch) {
            divisor_ = static_cast<uint16_t>((divisor_ & 0x00ff) | value << 8);
            break;
        }
        /* Enabling it while the transmitter is empty raises it. */
        if ((value & ~interrupt_enable_) & kTransmitterInterrupt) {
            empty_unseen_ = true;
        }
        interrupt_enable_ = value & kWritableEnables;
        update_line();
        break;
    case kInterruptId:
        fifo_control_ = value;
        break;
    case kLineControl:
        line_control_ = value;
        break;
    case kModemControl:
        modem_control_ = value;
        break;
    case kScratch:
        scratch_ = value;
        break;
    default:
        break;
    }
}

} // namespace netvsc::host::vmm
