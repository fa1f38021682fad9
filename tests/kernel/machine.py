"""L0's part: QEMU, which needs no hardware virtualisation, runs L1, and what
L1 says decides.  On a machine whose KVM can run Hyper-V guests, a sandbox of
this machine takes the part of L1.

Images are in memory that goes with the processes; QEMU dies with whoever
started it.  Nothing has to be cleaned up.
"""

import dataclasses
import os
import pathlib
import re
import selectors
import subprocess
import threading
import time

import packages
from bundles import HOST_KERNEL

# L1 says "@alive" every three seconds, and first when it has booted.  Who is
# silent for so long is lost, and no time limit inside can tell.
SILENCE_SECONDS = 30

# MiB of L1 besides the guest's memory and, twice, its image.
HOST_MEMORY = 640

# Ends with the thread that started it, whatever becomes of that.
DIES_WITH_US = ["setpriv", "--pdeathsig", "KILL"]


@dataclasses.dataclass
class Outcome:
    verdict: str  # "passed", "failed" or "lost"
    reason: str
    seconds: float


class Logs:
    """A directory with the two consoles and QEMU's own complaints."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.host = directory / "host.log"
        self.guest = directory / "guest.log"
        self.qemu = directory / "qemu.log"
        for path in (self.host, self.guest, self.qemu):
            path.write_bytes(b"")


def memory_file(name, image):
    """A file without a name, that QEMU inherits."""
    fd = os.memfd_create(name, 0)
    with os.fdopen(os.dup(fd), "wb") as file:
        image.write(file)
    return fd


def qemu_command(initrd, scenario, logs):
    size = os.fstat(initrd).st_size >> 20
    return [str(packages.qemu()), "-nodefaults", "-no-user-config",
            "-display", "none", "-no-reboot",
            "-machine", "q35,hpet=off", "-accel", "tcg",
            # Its virtual GIF has lost machines, too.
            "-cpu", "max,-vgif",
            # One, whatever the guest has: with two, which QEMU emulates in
            # two threads, one guest in twenty and now and then L1 itself
            # resets by a triple fault.
            "-smp", "1",
            "-m", str(HOST_MEMORY + scenario.memory + 2 * size),
            "-kernel", str(packages.Kernel(HOST_KERNEL).image),
            "-initrd", f"/proc/self/fd/{initrd}",
            # Without tsc=reliable every look at the clock is an exit in L2.
            "-append", "console=ttyS0 panic=-1 quiet tsc=reliable",
            "-chardev", "stdio,id=host,signal=off", "-serial", "chardev:host",
            "-serial", f"file:{logs.guest}"]


HERE = pathlib.Path(__file__).resolve().parent


def direct_command(image, _scenario, logs):
    return [str(HERE.parent / "private"), str(HERE / "host/direct"),
            f"/proc/self/fd/{image}", str(logs.guest)]


# What end_all() ends.
running = set()
ending = threading.Event()


def end_all():
    """Ends every Run, from another thread: it says that it was lost."""
    ending.set()
    for process in list(running):
        process.kill()


class Run:
    """One L1 from its start to its verdict."""

    def __init__(self, scenario, image, logs, listener,
                 command=qemu_command):
        self.scenario, self.image, self.logs = scenario, image, logs
        self.listener = listener  # takes the text of each step
        self.command = command

    def run(self):
        began = time.monotonic()
        initrd = memory_file(self.scenario.name, self.image)
        try:
            with open(self.logs.qemu, "wb") as complaints:
                # In a session of its own: Ctrl-C is for us, who end it.
                process = subprocess.Popen(
                    DIES_WITH_US
                    + self.command(initrd, self.scenario, self.logs),
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=complaints, pass_fds=[initrd],
                    start_new_session=True)
        finally:
            os.close(initrd)
        running.add(process)
        try:
            verdict, reason = self.listen(process, began)
        finally:
            running.discard(process)
            process.kill()
            process.wait()
            process.stdout.close()
        return Outcome(verdict, reason, time.monotonic() - began)

    def listen(self, process, began):
        """Reads L1's console until it has spoken, or ended, or is late."""
        selector = selectors.DefaultSelector()
        selector.register(process.stdout, selectors.EVENT_READ)
        heard = time.monotonic()
        text = b""
        with open(self.logs.host, "wb", buffering=0) as log:
            while True:
                if ending.is_set():
                    return "lost", "ended"
                now = time.monotonic()
                if now - began > self.scenario.deadline:
                    return "failed", ("no verdict after "
                                      f"{self.scenario.deadline} s")
                if now - heard > SILENCE_SECONDS:
                    return "lost", f"L1 is silent for {SILENCE_SECONDS} s"
                if not selector.select(timeout=1):
                    continue
                data = os.read(process.stdout.fileno(), 65536)
                if not data:
                    return "lost", self.ending(process)
                heard = time.monotonic()
                log.write(data)
                *lines, text = (text + data).split(b"\n")
                for line in lines:
                    spoken = self.spoken(line.decode(errors="replace")
                                         .rstrip("\r"))
                    if spoken:
                        return spoken

    def spoken(self, line):
        """The verdict, if this line is one."""
        if match := re.match(r"@step \[(.*?)\] (.*)", line):
            self.listener(f"{float(match[1]):6.1f} s  {match[2]}")
        elif match := re.match(r"@verdict (\d+) (.*)", line):
            return ("passed" if match[1] == "0" else "failed"), match[2]
        return None

    def ending(self, process):
        status = process.wait()
        complaint = self.logs.qemu.read_text(errors="replace").strip()
        return (f"L1 ended without a verdict (status {status}"
                + (f": {complaint}" if complaint else "") + ")")
