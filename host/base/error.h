/* Errors of set-up and control commands.
 *
 * Data paths return values; what an operator asked for and cannot have is
 * thrown, with a full sentence that names the thing and the fix. */

#pragma once

#include <cerrno>
#include <stdexcept>
#include <string>
#include <system_error>

namespace netvsc::host {

class HostError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/* Throws `what` with the text of the current errno and a full stop. */
[[noreturn]] inline void
throw_errno(const std::string &what)
{
    throw HostError(what + ": " + std::generic_category().message(errno) +
                    ".");
}

} // namespace netvsc::host
