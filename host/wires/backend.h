/* The wire of a NIC: interface of its backends. */

#pragma once

#include <memory>
#include <optional>

#include "host/base/bytes.h"
#include "host/config.h"
#include "host/counters.h"

namespace netvsc::host {

/* A frame from the wire, in memory that the backend owns until its next
 * receive().  `checksum_good`: its transport checksum was verified or
 * completed on the way. */
struct WireFrame {
    MutableBytes bytes;
    bool checksum_good = false;
};

class Generator;
class Sink;

/* Used by the NIC's worker thread alone.  It counts what it reads and
 * writes. */
class Backend {
public:
    virtual ~Backend() = default;

    /* The next frame, or none for now.  Never blocks. */
    [[nodiscard]] virtual std::optional<WireFrame> receive() = 0;

    /* The wire can wait: frames that the guest cannot take now stay there
     * instead of being dropped. */
    [[nodiscard]] virtual bool
    patient() const
    {
        return false;
    }

    /* False when the frame was not taken.  Never blocks. */
    [[nodiscard]] virtual bool transmit(Bytes frame, bool checksum_good) = 0;

    /* Ends a batch of transmit() calls. */
    virtual void
    flush()
    {
    }

    /* Readable when a frame waits and prepare_sleep() was true; -1 when none
     * can come. */
    [[nodiscard]] virtual int event_fd() const = 0;

    /* The wire was taken away for good: nothing comes or leaves any more. */
    [[nodiscard]] virtual bool
    gone() const
    {
        return false;
    }

    /* What writes frames into the receive buffer itself, and what takes
     * frames where they lie, so that a measurement does not pay for copies;
     * nullptr for the ordinary way through receive() and transmit(). */
    [[nodiscard]] virtual Generator *
    generator()
    {
        return nullptr;
    }
    [[nodiscard]] virtual Sink *
    sink()
    {
        return nullptr;
    }

    /* Asks for an event with the next frame.  False when one waits. */
    [[nodiscard]] virtual bool
    prepare_sleep()
    {
        return true;
    }
};

/* Frames vanish and none come. */
class NullBackend : public Backend {
public:
    explicit NullBackend(WireCounters &counters) : counters_(counters) {}

    [[nodiscard]] std::optional<WireFrame>
    receive() override
    {
        return std::nullopt;
    }
    [[nodiscard]] bool
    transmit(Bytes, bool) override
    {
        counters_.written++;
        return true;
    }
    [[nodiscard]] int
    event_fd() const override
    {
        return -1;
    }

private:
    WireCounters &counters_;
};

} // namespace netvsc::host
