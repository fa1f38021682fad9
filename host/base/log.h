/* The host's log: one line for each thing a guest or an operator did. */

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace netvsc::host {

/* Sends the log to `path` (appended) from now on; standard error before.
 * Throws HostError.  Call it before there are other threads. */
void open_log(const std::string &path);

/* Writes a line with the time of day, whole or not at all.  Any thread. */
void log(std::string_view subject, std::string_view text);

/* The same for what a guest can bring about as often as it likes: lines beyond
 * the subject's LogAllowance are left out, and the next one says how many. */
void log_guest(std::string_view subject, std::string_view text);

/* Lines that a guest may cause, so that none fills the disk. */
class LogAllowance {
public:
    /* An attach is some 30 lines: room for many guests that come and go. */
    static constexpr uint64_t kAtOnce = 500;
    /* In the long run. */
    static constexpr uint64_t kPerSecond = 5;

    /* Takes a line from what is left at this (monotonic) time: how many were
     * left out since the last one, or nothing when this one is to be. */
    [[nodiscard]] std::optional<uint64_t> take(uint64_t now_ns);

private:
    uint64_t lines_ = kAtOnce;
    uint64_t since_ns_ = 0; /* Lines were earned up to this time. */
    uint64_t left_out_ = 0;
};

} // namespace netvsc::host
