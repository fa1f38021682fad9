/* An open UIO device: the driver's whole view of the kernel (C.4).
 *
 * Two forms behind one class: the character device of uio_hv_generic, and
 * the socket by which netvsc-host plays the kernel (wire/uio_socket.h).
 * Used by the device's control thread; wake() and irq_control() by any. */

#pragma once

#include <chrono>
#include <memory>
#include <span>

#include "driver/error.h"
#include "driver/kernel/sysfs.h"

namespace netvsc {

class Uio {
public:
    using Clock = std::chrono::steady_clock;

    virtual ~Uio() = default;

    /* Map `i` (wire::kUioMap...), mapped as long as this object lives. */
    [[nodiscard]] virtual std::span<uint8_t> map(unsigned i) noexcept = 0;

    enum class Event {
        kInterrupt, /* The host signalled. */
        kWoken,     /* wake() was called. */
        kTimeout,
        kRemoved, /* Rescinded or hung up: close at once. */
    };
    /* Waits for one of them.  Removal is reported again and again. */
    [[nodiscard]] virtual Event wait(Clock::time_point deadline) = 0;

    /* Makes wait() return.  Async-signal-safe, any thread. */
    virtual void wake() noexcept = 0;

    /* The 4-byte write: true unmasks interrupts, and signals the host when
     * the device has no monitor id (C.5). */
    virtual void irq_control(bool unmask) noexcept = 0;

protected:
    /* `deadline` as poll()'s timeout, in milliseconds, rounded up. */
    [[nodiscard]] static int poll_timeout(Clock::time_point deadline);
};

/* open() of the device: OPENCHANNEL, for which the kernel waits as long as
 * the host takes.  The last close() ends the session. */
Result<std::unique_ptr<Uio>> open_uio(const DeviceInfo &info);

} // namespace netvsc
