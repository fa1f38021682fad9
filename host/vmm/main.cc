/* netvsc-vmm: a small virtual machine monitor that boots a stock Linux kernel
 * as a guest of Hyper-V, with the NICs of netvsc-host on its VMBus.
 *
 * The guest judges: the exit status that it writes to its second serial port
 * is that of this program. */

#include <csignal>
#include <cstring>
#include <iostream>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include "host/base/error.h"
#include "host/base/log.h"
#include "host/command_line.h"
#include "host/control.h"
#include "host/vmm/kvm_machine.h"
#include "host/vmm/vm_machine.h"

namespace netvsc::host::vmm {

namespace {

/* Exit statuses that are not the guest's; the first like timeout(1). */
constexpr int kDeadlineStatus = 124;
constexpr int kNoVerdictStatus = 125;
constexpr int kCannotStatus = 126;
/* Of a signal, as shells have it, less the signal's number. */
constexpr int kSignalStatus = 128;

/* A guest that panicked has so long to write its reasons to the console. */
constexpr time_t kLastWordsSeconds = 3;

/* A machine that does not stop so long after its deadline is killed. */
constexpr unsigned kGraceSeconds = 10;

struct Options : HostOptions {
    std::string kernel;
    std::string initrd;
    std::string append = "console=ttyS0 quiet panic=-1";
    MachineOptions machine;
    std::string console;
    std::string console_input;
    std::string max_version = "5.3";
    unsigned deadline = 0; /* Seconds; 0 is none. */
    bool probe = false;
};

void
end_at_once(int)
{
    constexpr char kText[] = "netvsc-vmm: The machine did not stop after its "
                             "deadline and was killed.\n";
    [[maybe_unused]] ssize_t size =
        write(STDERR_FILENO, kText, sizeof kText - 1);
    _exit(kDeadlineStatus);
}

/* The guest's serial port, as a file or standard output. */
class Console {
public:
    explicit Console(const std::string &path)
        : fd_(path.empty()
                  ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
                  : open(path.c_str(),
                         O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644))
    {
        if (!fd_) {
            throw_errno("Cannot write the console to " +
                        (path.empty() ? "standard output" : path));
        }
    }

    /* A reader that went does not stop the guest. */
    void
    write(std::string_view text)
    {
        while (!text.empty()) {
            ssize_t size = ::write(fd_.get(), text.data(), text.size());
            if (size <= 0) {
                return;
            }
            text.remove_prefix(static_cast<size_t>(size));
        }
    }

private:
    UniqueFd fd_;
};

/* What is typed at the guest's console, from a FIFO or a terminal.  No more is
 * read than the guest takes. */
class ConsoleInput {
public:
    /* Nothing is ever typed when `path` is empty. */
    ConsoleInput(EventLoop &loop, const std::string &path)
        : loop_(loop), wanted_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC))
    {
        if (!path.empty()) {
            file_ = UniqueFd(
                open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
            if (!file_) {
                throw_errno("Cannot read the console's input from " + path);
            }
        }
    }

    void
    connect(std::function<void(std::string_view)> typed)
    {
        typed_ = std::move(typed);
        if (file_) {
            loop_.watch(file_.get(), [this] { read_file(); });
            loop_.watch(wanted_.get(), [this] {
                eventfd_t ignored;
                eventfd_read(wanted_.get(), &ignored);
                loop_.enable(file_.get(), true);
            });
        }
    }
    /* Any thread: the guest has read all there was. */
    void
    ask()
    {
        eventfd_write(wanted_.get(), 1);
    }

private:
    void
    read_file()
    {
        char text[512];
        ssize_t size = read(file_.get(), text, sizeof text);
        if (size > 0) {
            loop_.enable(file_.get(), false);
            typed_({text, static_cast<size_t>(size)});
        } else if (size == 0 || errno != EAGAIN) {
            loop_.forget(file_.get());
        }
    }

    EventLoop &loop_;
    UniqueFd file_;
    UniqueFd wanted_;
    std::function<void(std::string_view)> typed_;
};

/* What the main thread waits for besides the control socket. */
class Waiting {
public:
    Waiting(EventLoop &loop, unsigned deadline)
        : ended_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
          timer_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC))
    {
        /* Blocked before there are threads, which inherit it. */
        sigset_t signals;
        sigemptyset(&signals);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGTERM);
        sigprocmask(SIG_BLOCK, &signals, nullptr);
        signals_ = UniqueFd(signalfd(-1, &signals, SFD_CLOEXEC));
        if (!ended_ || !timer_ || !signals_) {
            throw_errno("Cannot create the descriptors to wait for");
        }
        if (deadline) {
            itimerspec at{};
            at.it_value.tv_sec = deadline;
            timerfd_settime(timer_.get(), 0, &at, nullptr);
            std::signal(SIGALRM, end_at_once);
            alarm(deadline + kGraceSeconds);
        }
        loop.watch(ended_.get(), [this] { handle_end(); });
        loop.watch(timer_.get(), [this] { handle_timer(); });
        loop.watch(signals_.get(), [this] {
            signalfd_siginfo info{};
            if (read(signals_.get(), &info, sizeof info) == sizeof info) {
                finish(kSignalStatus + static_cast<int>(info.ssi_signo));
            }
        });
    }

    /* Any thread: the first end counts. */
    void
    guest_ended(GuestEnd end)
    {
        std::lock_guard lock(mutex_);
        if (!end_) {
            end_ = end;
        }
        over_ = over_ || end != GuestEnd::kPanicked;
        eventfd_write(ended_.get(), 1);
    }
    /* How the guest ended, when it runs no more. */
    [[nodiscard]] std::optional<GuestEnd>
    end()
    {
        std::lock_guard lock(mutex_);
        return over_ ? end_ : std::nullopt;
    }
    /* Known when there is no need to ask the guest. */
    [[nodiscard]] std::optional<int>
    status() const
    {
        return status_;
    }

private:
    void
    finish(int status)
    {
        status_ = status_.value_or(status);
    }
    /* The guest told of an end. */
    void
    handle_end()
    {
        eventfd_t ignored;
        eventfd_read(ended_.get(), &ignored);
        std::lock_guard lock(mutex_);
        if (end_ == GuestEnd::kPanicked) {
            itimerspec at{};
            at.it_value.tv_sec = kLastWordsSeconds;
            timerfd_settime(timer_.get(), 0, &at, nullptr);
        }
    }
    /* Either the deadline or the end of a panic. */
    void
    handle_timer()
    {
        std::lock_guard lock(mutex_);
        if (end_ == GuestEnd::kPanicked) {
            over_ = true;
        } else {
            finish(kDeadlineStatus);
        }
    }

    UniqueFd ended_;
    UniqueFd timer_;
    UniqueFd signals_;
    std::mutex mutex_;
    std::optional<GuestEnd> end_;
    bool over_ = false; /* A guest that panicked runs on for a while. */
    std::optional<int> status_;
};

/* A guest that did not switch itself off had no chance to be sure. */
int
guest_status(GuestEnd end, std::optional<uint8_t> verdict)
{
    if (end != GuestEnd::kPoweredOff) {
        const char *what = end == GuestEnd::kReset      ? "reset"
                           : end == GuestEnd::kPanicked ? "panicked"
                                                        : "broke down";
        std::cerr << "netvsc-vmm: The guest " << what
                  << " instead of switching itself off; its console says "
                     "why.\n";
        return kNoVerdictStatus;
    }
    if (!verdict) {
        std::cerr << "netvsc-vmm: The guest switched itself off without a "
                     "verdict.\n";
        return kNoVerdictStatus;
    }
    return *verdict;
}

int
run_machine(const Options &options)
{
    if (options.kernel.empty() || options.root.empty()) {
        throw HostError("--kernel and --root are required.");
    }
    std::vector<NicConfig> nics = parse_nics(options);
    if (!options.log_file.empty()) {
        open_log(options.log_file);
    }
    std::unique_ptr<TraceFile> trace = open_trace(options);
    EventLoop loop;
    Waiting waiting(loop, options.deadline);
    /* A console whose reader went is no reason to end. */
    std::signal(SIGPIPE, SIG_IGN);
    Console console(options.console);

    ConsoleInput input(loop, options.console_input);

    KvmMachine machine(options.machine,
                       {[&](std::string_view text) { console.write(text); },
                        [&] { input.ask(); },
                        [&](GuestEnd end) { waiting.guest_ended(end); }});
    input.connect(
        [&](std::string_view text) { machine.platform().type(text); });
    {
        FileMapping kernel(options.kernel);
        std::optional<FileMapping> initrd;
        if (!options.initrd.empty()) {
            initrd.emplace(options.initrd);
        }
        machine.load_kernel(kernel.bytes(), initrd ? initrd->bytes() : Bytes{},
                            options.append);
    }

    VmMachine bus(machine, options.root, parse_version(options.max_version),
                  trace.get());
    for (const NicConfig &nic : nics) {
        bus.add(nic);
    }
    ControlServer control(loop, bus);
    machine.start(bus);
    while (!waiting.end() && !waiting.status() && !control.quit_requested()) {
        loop.wait(EventLoop::kForever);
    }
    machine.stop();

    if (waiting.status() == kDeadlineStatus) {
        std::cerr << "netvsc-vmm: The guest did not end within "
                  << options.deadline << " s.\n";
    }
    int status = kNoVerdictStatus;
    if (waiting.status()) {
        status = *waiting.status();
    } else if (waiting.end()) {
        status = guest_status(*waiting.end(), machine.platform().verdict());
    }
    UniqueFd quitter = control.take_quitter();
    if (quitter) {
        send_result(quitter.get(), nlohmann::ordered_json::object());
    }
    return status;
}

int
run(const Options &options)
{
    try {
        if (options.probe) {
            KvmSystem system;
            return 0;
        }
        return run_machine(options);
    } catch (const std::exception &error) {
        std::cerr << "netvsc-vmm: " << error.what() << "\n";
        return kCannotStatus;
    }
}

int
main(int argc, char **argv)
{
    Options options;
    CLI::App app("Boots a Linux kernel as a guest of Hyper-V, with synthetic "
                 "NICs.  Its exit status is the number that the guest writes "
                 "to its second serial port before it switches itself off; "
                 "124 after the deadline, 125 without a verdict, 126 where "
                 "no such machine can be.",
                 "netvsc-vmm");
    add_host_options(app, options);
    app.add_option("--kernel", options.kernel, "A bzImage or an ELF vmlinux");
    app.add_option("--initrd", options.initrd, "The initramfs");
    app.add_option("--append", options.append, "The kernel's command line");
    app.add_option("--memory", options.machine.memory_mib,
                   "The guest's memory in MiB (default: 256)");
    app.add_option("--vcpus", options.machine.vcpus,
                   "The guest's processors (default: 1)");
    app.add_option("--console", options.console,
                   "Writes the guest's serial port to this file (default: "
                   "standard output)");
    app.add_option("--console-input", options.console_input,
                   "Types what comes from this FIFO at the serial port");
    app.add_option("--max-vmbus-version", options.max_version,
                   "The highest version of VMBus to accept (default: 5.3)");
    app.add_option("--deadline", options.deadline,
                   "Seconds until the machine is stopped (default: never)");
    app.add_flag("--probe", options.probe,
                 "Only tells whether this machine could run a guest");

    /* A wrong command line is not a guest's verdict either. */
    std::optional<int> done =
        parse_command_line(app, options, argc, argv, kCannotStatus);
    return done ? *done : run(options);
}

} // namespace

} // namespace netvsc::host::vmm

int
main(int argc, char **argv)
{
    return netvsc::host::vmm::main(argc, argv);
}
