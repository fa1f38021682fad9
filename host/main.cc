/* netvsc-host: the host side of Hyper-V's synthetic NIC as a daemon, and the
 * tool that commands it.  One process is one virtual machine. */

#include <csignal>
#include <iostream>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/signalfd.h>

#include "host/base/error.h"
#include "host/base/log.h"
#include "host/command_line.h"
#include "host/control.h"
#include "host/uio/machine.h"
#include "host/wires/pcap_backend.h"

namespace netvsc::host {

namespace {

struct Options : HostOptions {
    std::string pidfile;
    bool detach = false;
    std::string gpa = "dma";
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

    use_pcap();
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
        std::vector<NicConfig> nics = parse_nics(options);
        if (options.detach) {
            ready = detach();
        }
        if (!options.log_file.empty()) {
            open_log(options.log_file);
        }
        std::unique_ptr<TraceFile> trace = open_trace(options);
        UniqueFd quitter = serve(options, nics, trace.get(), ready);
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
    add_host_options(app, options);
    app.set_config("--config", "", "Reads options from a file");
    /* A misspelt option would be an option that is silently not there. */
    app.allow_config_extras(CLI::config_extras_mode::error);
    app.add_option("--pidfile", options.pidfile,
                   "Writes the process id to this file");
    app.add_flag("--detach", options.detach,
                 "Runs in the background, once everything is ready");
    app.add_option("--gpa", options.gpa,
                   "What page numbers of the guest mean: dma or process")
        ->check(CLI::IsMember({"dma", "process"}));
    std::optional<int> done = parse_command_line(app, options, argc, argv, 1);
    return done ? *done : run_daemon(options);
}

} // namespace

} // namespace netvsc::host

int
main(int argc, char **argv)
{
    return netvsc::host::main(argc, argv);
}
