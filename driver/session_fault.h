/* The reason why a session cannot go on: set once, on any thread. */

#pragma once

#include <atomic>

#include "driver/cache_line.h"
#include "driver/kernel/uio.h"

namespace netvsc {

/* After raise() the queues do nothing any more, and the control thread takes
 * the port down with the reason. */
class alignas(kCacheLine) SessionFault {
public:
    explicit SessionFault(Uio *uio) : uio_(uio) {}

    /* `reason`: a string literal, the end of the sentence "The host ...". */
    void
    raise(const char *reason) noexcept
    {
        const char *none = nullptr;
        if (reason_.compare_exchange_strong(none, reason,
                                            std::memory_order_release,
                                            std::memory_order_relaxed)) {
            uio_->wake();
        }
    }

    /* Null while all is well. */
    [[nodiscard]] const char *
    reason() const noexcept
    {
        return reason_.load(std::memory_order_acquire);
    }

private:
    std::atomic<const char *> reason_{nullptr};
    Uio *uio_;
};

} // namespace netvsc
