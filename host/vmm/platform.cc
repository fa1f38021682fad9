#include "host/vmm/platform.h"

#include <algorithm>
#include <charconv>

#include "host/vmm/ports.h"

namespace netvsc::host::vmm {

namespace {

/* The PC's ways to reset that Linux tries when others fail. */
constexpr uint16_t kKeyboardPort = 0x64;
constexpr uint8_t kKeyboardReset = 0xfe;
constexpr uint16_t kChipsetResetPort = 0xcf9;
constexpr uint8_t kChipsetReset = 0x04;

[[nodiscard]] uint8_t
bcd(int value)
{
    return static_cast<uint8_t>(value / 10 << 4 | value % 10);
}

[[nodiscard]] bool
is_uart(uint16_t first, uint16_t port)
{
    return port >= first && port < first + kUartPorts;
}

} // namespace

Platform::Platform(Outside outside)
    : outside_(std::move(outside)),
      console_(
          outside_.console,
          [this](bool level) { outside_.set_irq(kConsoleIrq, level); },
          outside_.input_wanted),
      verdict_port_(
          [this](std::string_view line) { judge(line); },
          [this](bool level) { outside_.set_irq(kVerdictIrq, level); }, [] {})
{
}

uint8_t
CmosClock::read(time_t now) const
{
    tm time{};
    gmtime_r(&now, &time);
    switch (index_) {
    case 0x00:
        return bcd(time.tm_sec);
    case 0x02:
        return bcd(time.tm_min);
    case 0x04:
        return bcd(time.tm_hour);
    case 0x06:
        return bcd(time.tm_wday + 1);
    case 0x07:
        return bcd(time.tm_mday);
    case 0x08:
        return bcd(time.tm_mon + 1);
    case 0x09:
        return bcd(time.tm_year % 100);
    case 0x0a:
        /* The usual rates; no update in progress, for which Linux would wait
         * seconds. */
        return 0x26;
    case 0x0b:
        return 0x02; /* 24 hours, decimal. */
    case 0x0d:
        return 0x80; /* The battery is good. */
    case 0x32:
        return bcd((time.tm_year + 1900) / 100);
    default:
        return 0;
    }
}

uint8_t
Platform::read_byte(uint16_t port)
{
    if (is_uart(kConsolePort, port)) {
        return console_.read(port - kConsolePort);
    }
    if (is_uart(kVerdictPort, port)) {
        return verdict_port_.read(port - kVerdictPort);
    }
    switch (port) {
    case kCmosDataPort:
        return clock_.read(std::time(nullptr));
    case kSleepControlPort:
    case kSleepStatusPort:
        return 0;
    default:
        return 0xff;
    }
}

void
Platform::read(uint16_t port, MutableBytes data)
{
    std::lock_guard lock(mutex_);
    std::fill(data.begin(), data.end(), std::byte{0xff});
    if (!data.empty()) {
        data[0] = static_cast<std::byte>(read_byte(port));
    }
}

void
Platform::write(uint16_t port, Bytes data)
{
    if (data.empty()) {
        return;
    }
    auto value = static_cast<uint8_t>(data[0]);
    std::optional<GuestEnd> end;
    {
        std::lock_guard lock(mutex_);
        if (is_uart(kConsolePort, port)) {
            console_.write(port - kConsolePort, value);
        } else if (is_uart(kVerdictPort, port)) {
            verdict_port_.write(port - kVerdictPort, value);
        } else if (port == kCmosIndexPort) {
            clock_.select(value);
        } else if (port == kSleepControlPort && (value & kSleepEnable)) {
            end = GuestEnd::kPoweredOff;
        } else if ((port == kResetPort && value == kResetValue) ||
                   (port == kChipsetResetPort && (value & kChipsetReset)) ||
                   (port == kKeyboardPort && value == kKeyboardReset)) {
            end = GuestEnd::kReset;
        }
    }
    if (end) {
        outside_.end(*end);
    }
}

void
Platform::judge(std::string_view line)
{
    /* A terminal ends its lines with both. */
    line = line.substr(0, line.find_last_not_of("\r\n") + 1);
    uint8_t status = 0;
    auto [end, error] =
        std::from_chars(line.data(), line.data() + line.size(), status);
    if (error == std::errc() && end == line.data() + line.size()) {
        verdict_ = status;
    }
}

void
Platform::type(std::string_view text)
{
    std::lock_guard lock(mutex_);
    console_.receive(text);
}

std::optional<uint8_t>
Platform::verdict()
{
    std::lock_guard lock(mutex_);
    return verdict_;
}

void
Platform::flush_console()
{
    std::lock_guard lock(mutex_);
    console_.flush();
}

} // namespace netvsc::host::vmm
