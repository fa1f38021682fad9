/* The host's log: one line for each thing a guest or an operator did. */

#pragma once

#include <string>
#include <string_view>

namespace netvsc::host {

/* Sends the log to `path` (appended) from now on; standard error before.
 * Throws HostError.  Call it before there are other threads. */
void open_log(const std::string &path);

/* Writes a line with the time of day, whole or not at all.  Any thread. */
void log(std::string_view subject, std::string_view text);

} // namespace netvsc::host
