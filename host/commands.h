/* What an operator can ask of a host, whatever its guests are: the commands
 * of netvsc-host(8).  All throw HostError with the sentence for the
 * operator. */

#pragma once

#include <nlohmann/json_fwd.hpp>

#include "host/nic.h"

namespace netvsc::host {

class Commands {
public:
    using Json = nlohmann::ordered_json;

    virtual ~Commands() = default;

    virtual void add(const NicConfig &config) = 0;
    virtual void remove(const std::string &guid) = 0;
    virtual void reoffer(const std::string &guid) = 0;
    virtual void set_link(const std::string &guid, bool up) = 0;
    virtual void set_pace(const std::string &guid, const Pace &pace) = 0;
    virtual void bind(const std::string &guid, DriverBinding driver) = 0;
    [[nodiscard]] virtual Json list() = 0;
    /* Of one NIC, or of all by GUID. */
    [[nodiscard]] virtual Json stats(const std::string &guid) = 0;
    [[nodiscard]] virtual Json stats() = 0;

    /* Where the host listens for commands. */
    [[nodiscard]] virtual std::string control_path() const = 0;
};

/* What `list` says of any NIC, and what `stats` does. */
[[nodiscard]] Commands::Json describe(const NicConfig &config,
                                      const NicStatus &status);
[[nodiscard]] Commands::Json count(const NicStatus &status);

/* Runs one command; nothing for `quit`, which is the caller's.  Throws
 * HostError. */
[[nodiscard]] Commands::Json
run_command(Commands &host, const std::vector<std::string> &words);

} // namespace netvsc::host
