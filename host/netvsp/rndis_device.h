/* The RNDIS device behind a session: control messages (E.2). */

#pragma once

#include <deque>
#include <string>

#include "host/netvsp/oids.h"

namespace netvsc::host {

/* RNDIS messages on their way to the guest, oldest first. */
class ControlQueue {
public:
    void push(std::vector<std::byte> message);
    void pop();
    [[nodiscard]] bool
    empty() const
    {
        return messages_.empty();
    }
    [[nodiscard]] Bytes
    front() const
    {
        return messages_.front();
    }
    /* A guest that asks and never reads the answers. */
    [[nodiscard]] bool
    overflown() const
    {
        return bytes_ > kLimit;
    }

private:
    /* openvmm's (G.1): about 400 of the longest answers. */
    static constexpr size_t kLimit = 100 * 1024;

    std::deque<std::vector<std::byte>> messages_;
    size_t bytes_ = 0;
};

class RndisDevice {
public:
    RndisDevice(const NicConfig &nic, const Agreement &agreement, bool link_up)
        : nic_(nic), oids_(nic, agreement, link_up)
    {
    }

    /* Handles one control message (private memory, as long as the guest said)
     * and queues the answer.  Returns nullptr, or the protocol error that
     * ends the session. */
    [[nodiscard]] const char *handle(Bytes message, ControlQueue &answers);

    /* Tells the guest when the link changes. */
    void set_link(bool up, ControlQueue &answers);

    /* Between INITIALIZE and HALT. */
    [[nodiscard]] bool
    running() const
    {
        return state_ == State::kRunning;
    }
    [[nodiscard]] const Oids &
    oids() const
    {
        return oids_;
    }

private:
    enum class State { kUninitialized, kRunning, kHalted };

    const char *initialize(Bytes message, ControlQueue &answers);
    const char *query(Bytes message, ControlQueue &answers);
    const char *set(Bytes message, ControlQueue &answers);
    const char *halt();
    const char *keepalive(Bytes message, ControlQueue &answers);
    static void indicate(uint32_t status, Bytes data, ControlQueue &answers);
    void log(const std::string &text) const;

    const NicConfig &nic_;
    Oids oids_;
    State state_ = State::kUninitialized;
};

} // namespace netvsc::host
