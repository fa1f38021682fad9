/* The ports of the machine: its two serial ports, its clock, and the registers
 * that switch it off. */

#pragma once

#include <ctime>
#include <functional>
#include <mutex>
#include <optional>

#include "host/base/bytes.h"
#include "host/vmm/uart.h"

namespace netvsc::host::vmm {

/* How a guest ends by itself. */
enum class GuestEnd {
    kPoweredOff, /* ACPI's soft off. */
    kReset,      /* By register, or by a triple fault. */
    kPanicked,   /* It told so (Hyper-V's crash registers), and runs on. */
    kBroken,     /* KVM cannot run it any further. */
};

/* The registers of a PC's clock, in CMOS memory. */
class CmosClock {
public:
    void
    select(uint8_t index)
    {
        /* The top bit masks NMIs. */
        index_ = index & 0x7f;
    }
    /* The selected register, at `now`, in UTC. */
    [[nodiscard]] uint8_t read(time_t now) const;

private:
    uint8_t index_ = 0;
};

/* Any thread. */
class Platform {
public:
    struct Outside {
        Uart::Sink console;
        /* The guest has read all of its input. */
        Uart::Drained input_wanted;
        std::function<void(uint32_t, bool)> set_irq;
        /* The guest asks for its end. */
        std::function<void(GuestEnd)> end;
    };

    explicit Platform(Outside outside);

    /* An access of 1, 2 or 4 bytes.  Reads fill all of `data`; where nothing
     * is, with ones. */
    void read(uint16_t port, MutableBytes data);
    void write(uint16_t port, Bytes data);

    /* Text for the guest's console. */
    void type(std::string_view text);
    /* The exit status that the guest wrote to its second serial port: the
     * last line there that was a number from 0 to 255 and nothing else. */
    [[nodiscard]] std::optional<uint8_t> verdict();
    /* Sends the console's unfinished line. */
    void flush_console();

private:
    [[nodiscard]] uint8_t read_byte(uint16_t port);
    void judge(std::string_view line);

    Outside outside_;
    std::mutex mutex_;
    Uart console_;
    Uart verdict_port_;
    CmosClock clock_;
    std::optional<uint8_t> verdict_;
};

} // namespace netvsc::host::vmm
