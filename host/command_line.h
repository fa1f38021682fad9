/* Command-line options that the host's programs share. */

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "host/config.h"
#include "host/netvsp/trace.h"

namespace netvsc::host {

struct HostOptions {
    std::string root;
    std::vector<std::string> nics;
    std::string trace;
    uint32_t trace_snap = TraceFile::kSnapAll;
    std::string log_file;

    /* Of the subcommand `ctl`. */
    std::string ctl_root;
    std::vector<std::string> command;
};

/* Adds the options, and `ctl`, to a program's own; `options` must outlive
 * the parsing. */
void add_host_options(CLI::App &app, HostOptions &options);

/* Parses the command line and, for `ctl`, carries it out.  Returns the exit
 * status when there is nothing more to do: `wrong` for a command line that is
 * none, with a sentence to standard error. */
[[nodiscard]] std::optional<int> parse_command_line(CLI::App &app,
                                                    const HostOptions &options,
                                                    int argc, char **argv,
                                                    int wrong);

/* The NICs; the trace, or nullptr if none is wanted.  Both throw
 * HostError. */
[[nodiscard]] std::vector<NicConfig> parse_nics(const HostOptions &options);
[[nodiscard]] std::unique_ptr<TraceFile>
open_trace(const HostOptions &options);

} // namespace netvsc::host
