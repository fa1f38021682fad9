#include "host/command_line.h"

#include <iostream>

#include "host/control.h"

namespace netvsc::host {

void
add_host_options(CLI::App &app, HostOptions &options)
{
    app.option_defaults()->always_capture_default(false);
    app.add_option("--root", options.root,
                   "Directory of the control socket, and of sys and dev for "
                   "a guest that is a process");
    app.add_option("--nic", options.nics,
                   "A NIC: KEY=VALUE,... (may be repeated)")
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    app.add_option("--trace", options.trace,
                   "Records what crosses the rings in this file");
    app.add_option("--trace-snap", options.trace_snap,
                   "Bytes of each frame to record (default: all)");
    app.add_option("--log-file", options.log_file,
                   "Appends the log to this file (default: standard error)");

    CLI::App *ctl =
        app.add_subcommand("ctl", "Commands a running " + app.get_name());
    ctl->configurable(false);
    ctl->add_option("--root", options.ctl_root, "The host's root directory")
        ->required();
    ctl->add_option("command", options.command,
                    "list | stats [GUID] | add KEY=VALUE,... | remove GUID | "
                    "reoffer GUID | link GUID up|down | bind GUID DRIVER | "
                    "quit")
        ->required();
}

std::optional<int>
parse_command_line(CLI::App &app, const HostOptions &options, int argc,
                   char **argv, int wrong)
{
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success &done) { /* --help */
        return app.exit(done);
    } catch (const CLI::ParseError &error) {
        std::cerr << app.get_name() << ": " << error.what() << ": see '"
                  << app.get_name() << " --help' and netvsc-host(8).\n";
        return wrong;
    }
    if (app.got_subcommand("ctl")) {
        return control_client(options.ctl_root, options.command);
    }
    return std::nullopt;
}

std::vector<NicConfig>
parse_nics(const HostOptions &options)
{
    std::vector<NicConfig> nics;
    for (const std::string &text : options.nics) {
        nics.push_back(parse_nic(text));
    }
    return nics;
}

std::unique_ptr<TraceFile>
open_trace(const HostOptions &options)
{
    return options.trace.empty() ? nullptr
                                 : std::make_unique<TraceFile>(
                                       options.trace, options.trace_snap);
}

} // namespace netvsc::host
