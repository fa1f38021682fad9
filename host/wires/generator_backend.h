/* The wire of a measurement: a generator at one end, a sink at the other. */

#pragma once

#include "host/wires/backend.h"
#include "host/wires/generator.h"

namespace netvsc::host {

class GeneratorBackend : public Backend {
public:
    GeneratorBackend(const NicConfig &nic, WireCounters &counters)
        : counters_(counters), generator_(nic, sink_)
    {
    }

    /* Its frames do not come this way. */
    [[nodiscard]] std::optional<WireFrame>
    receive() override
    {
        return std::nullopt;
    }
    /* A frame that had to be copied: of a message in guest memory, or in a
     * trace. */
    [[nodiscard]] bool
    transmit(Bytes frame, bool) override
    {
        sink_.take(frame, {});
        counters_.written++;
        return true;
    }
    [[nodiscard]] int
    event_fd() const override
    {
        return -1;
    }
    [[nodiscard]] Generator *
    generator() override
    {
        return &generator_;
    }
    [[nodiscard]] Sink *
    sink() override
    {
        return &sink_;
    }

private:
    WireCounters &counters_;
    Sink sink_;
    Generator generator_;
};

} // namespace netvsc::host
