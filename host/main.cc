/* netvsc-host: the host side of Hyper-V's synthetic NIC as a daemon, and the
 * tool that commands it.  One process is one virtual machine. */

#include <csignal>
#include <iostream>

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <sys/signalfd.h>

#include "host/control.h"
#include "host/error.h"
#include "host/log.h"
#include "host/machine.h"

namespace netvsc::host {

namespace {

struct Options {
    std::string root;
    std::vector<std::string> nics;
    std::string trace;
    uint32_t trace_snap = TraceFile::kSnapAll;
    std::string log_file;
    std::string pidfile;
    bool detach = false;
    std::string gpa = "dma";
    std::vector<std::string> command;
};

/* Tells the process that started a daemon how it went. */
class Readiness {
public:
    /* In the foreground nobody waits. */
    Readiness() = default;
    explicit Readiness(UniqueFd pipe) : pipe_(std::move(pipe)) {}

    /* An empty text means success. */
    void
    report(const std::string &error)
    {
        if (pipe_ && write(pipe_.get(), error.c_str(), error.size() + 1) < 0) {
            log("netvsc-host", "nobody waits for this daemon any more");
        }
        pipe_ = UniqueFd();
    }
    [[nodiscard]] bool
    detached() const
    {
        return static_cast<bool>(pipe_);
    }

private:
    UniqueFd pipe_;
};

/* The original process: waits for the daemon and returns its exit status. */
int
wait_for_daemon(int pipe)
{
    std::string text;
    char buffer[512];
    for (ssize_t size; (size = read(pipe, buffer, sizeof buffer)) > 0;) {
        text.append(buffer, static_cast<size_t>(size));
    }
    if (text.empty()) {
        text = "The daemon ended before it was ready.";
    } else {
        text.pop_back();
    }
    if (!text.empty()) {
        std::cerr << "netvsc-host: " << text << "\n";
    }
    return text.empty() ? 0 : 1;
}

/* Continues in a background process.  There are no threads yet. */
Readiness
detach()
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        throw_errno("Cannot create a pipe to the daemon");
    }
    UniqueFd read_end(ends[0]);
    UniqueFd write_end(ends[1]);
    pid_t pid = fork();
    if (pid < 0) {
        throw_errno("Cannot start the daemon");
    }
    if (pid > 0) {
        write_end = UniqueFd();
        _exit(wait_for_daemon(read_end.get()));
    }
    setsid();
    return Readiness(std::move(write_end));
}

/* A daemon keeps nothing of its caller open, or the caller's pipes never
 * end. */
void
close_standard_files()
{
    UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    dup2(null.get(), STDIN_FILENO);
    dup2(null.get(), STDOUT_FILENO);
    dup2(null.get(), STDERR_FILENO);
}

/* The file with our process id; gone when we are. */
class Pidfile {
public:
    explicit Pidfile(const std::string &path) : path_(path)
    {
        if (!path_.empty()) {
            UniqueFd fd(open(path_.c_str(),
                             O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
            std::string text = std::to_string(getpid()) + "\n";
            if (!fd || write(fd.get(), text.data(), text.size()) < 0) {
                throw_errno("Cannot write the pidfile " + path_);
            }
        }
    }
    ~Pidfile()
    {
        if (!path_.empty()) {
            unlink(path_.c_str());
        }
    }
    Pidfile(const Pidfile &) = delete;
    Pidfile &operator=(const Pidfile &) = delete;

private:
    std::string path_;
};

/* Serves until a signal or `quit`.  Returns the client that wants to hear of
 * the end, if any. */
UniqueFd
serve(const Options &options, const std::vector<NicConfig> &nics,
      TraceFile *trace, Readiness &ready)
{
    /* Blocked before there are threads, which inherit it. */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    UniqueFd signal_fd(signalfd(-1, &signals, SFD_CLOEXEC));

    Machine machine(options.root,
                    options.gpa == "dma" ? GpaMode::kDma : GpaMode::kProcess,
                    trace);
    for (const NicConfig &nic : nics) {
        machine.add(nic);
    }
    EventLoop loop;
    ControlServer control(loop, machine);
    Pidfile pidfile(options.pidfile);
    bool stopped = false;
    loop.watch(signal_fd.get(), [&] { stopped = true; });

    log("netvsc-host", "ready at " + options.root);
    if (ready.detached()) {
        close_standard_files();
    }
    ready.report("");
    while (!stopped && !control.quit_requested()) {
        loop.wait(EventLoop::kForever);
    }
    log("netvsc-host", "ending");
    return control.take_quitter();
}

int
run_daemon(const Options &options)
{
    Readiness ready;
    try {
        if (options.root.empty()) {
            throw HostError("--root is required.");
        }
        std::vector<NicConfig> nics;
        for (const std::string &text : options.nics) {
            nics.push_back(parse_nic(text));
        }
        if (options.detach) {
            ready = detach();
        }
        if (!options.log_file.empty()) {
            open_log(options.log_file);
        }
        std::optional<TraceFile> trace;
        if (!options.trace.empty()) {
            trace.emplace(options.trace, options.trace_snap);
        }
        UniqueFd quitter =
            serve(options, nics, trace ? &*trace : nullptr, ready);
        trace.reset();
        if (quitter) {
            send_result(quitter.get(), Machine::Json::object());
        }
        return 0;
    } catch (const std::exception &error) {
        if (ready.detached()) {
            ready.report(error.what());
        } else {
            std::cerr << "netvsc-host: " << error.what() << "\n";
        }
        return 1;
    }
}

int
main(int argc, char **argv)
{
    Options options;
    CLI::App app("Emulates the host side of Hyper-V's synthetic NIC.",
                 "netvsc-host");
    app.option_defaults()->always_capture_default(false);
    app.add_option("--root", options.root,
                   "Directory below which the guest finds sys and dev");
    app.set_config("--config", "", "Reads options from a file");
    /* A misspelt option would be an option that is silently not there. */
    app.allow_config_extras(CLI::config_extras_mode::error);
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
    app.add_option("--pidfile", options.pidfile,
                   "Writes the process id to this file");
    app.add_flag("--detach", options.detach,
                 "Runs in the background, once everything is ready");
    app.add_option("--gpa", options.gpa,
                   "What page numbers of the guest mean: dma or process")
        ->check(CLI::IsMember({"dma", "process"}));

    CLI::App *ctl =
        app.add_subcommand("ctl", "Commands a running netvsc-host");
    ctl->configurable(false);
    std::string ctl_root;
    ctl->add_option("--root", ctl_root, "The host's root directory")
        ->required();
    ctl->add_option("command", options.command,
                    "list | stats [GUID] | add KEY=VALUE,... | remove GUID | "
                    "reoffer GUID | link GUID up|down | bind GUID DRIVER | "
                    "quit")
        ->required();
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success &done) { /* --help */
        return app.exit(done);
    } catch (const CLI::ParseError &error) {
        std::cerr << "netvsc-host: " << error.what()
                  << ": see 'netvsc-host --help' and netvsc-host(8).\n";
        return 1;
    }

    return ctl->parsed() ? control_client(ctl_root, options.command)
                         : run_daemon(options);
}

} // namespace

} // namespace netvsc::host

int
main(int argc, char **argv)
{
    return netvsc::host::main(argc, argv);
}
