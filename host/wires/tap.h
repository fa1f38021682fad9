/* A tap device as the wire: the host's network stack is the other end. */

#pragma once

#include <string>
#include <vector>

#include "host/base/unique_fd.h"
#include "host/wires/backend.h"

namespace netvsc::host {

class TapBackend : public Backend {
public:
    /* Creates or attaches the device, sets its MTU and brings it up.  The
     * descriptor stays valid when the device moves to another network
     * namespace.  Throws HostError. */
    TapBackend(const std::string &name, uint32_t mtu, WireCounters &counters);

    [[nodiscard]] std::optional<WireFrame> receive() override;
    [[nodiscard]] bool transmit(Bytes frame, bool checksum_good) override;
    [[nodiscard]] int
    event_fd() const override
    {
        return fd_.get();
    }

    [[nodiscard]] bool
    gone() const override
    {
        return gone_;
    }

private:
    UniqueFd fd_;
    WireCounters &counters_;
    std::vector<std::byte> frame_;
    bool gone_ = false;
};

} // namespace netvsc::host
