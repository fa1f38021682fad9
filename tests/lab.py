"""The pieces of a small network of our own: two namespaces, an emulated
Hyper-V host with a NIC for each of them, and an Open vSwitch that has both as
ports of type=netvsc.

What uses them runs under tests/private, which takes everything away when it
ends; so nothing here cleans up.
"""

import json
import os
import pathlib
import re
import subprocess
import time

SOURCE = pathlib.Path(__file__).resolve().parent.parent
# How long anything may take that takes far less; a full core elsewhere on a
# small machine must not fail anybody.
PATIENCE = 20


class LabFailed(Exception):
    """A sentence for the person in front of the terminal."""


class Side:
    """A network namespace, its tap, the NIC behind it and the NIC's port."""

    def __init__(self, name, number):
        self.name = name
        self.port = f"netvsc-{name}"
        self.guid = f"6f1dd6f2-8a4c-4c3e-9a51-7d2f5c0e000{number}"
        # Not the address of `eth0`: this is the NIC that the switch has.
        self.mac = f"00:15:5d:00:00:0{number}"
        self.ipv4 = f"10.77.0.{number}"
        self.ipv6 = f"fd77::{number}"


LEFT, RIGHT = SIDES = (Side("left", 1), Side("right", 2))

# --- Small tools -----------------------------------------------------------

def run(*command, seconds=PATIENCE, check=True):
    """Runs a command to its end and returns what it printed."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=seconds,
                              check=False)
    except subprocess.TimeoutExpired as late:
        raise LabFailed(f"`{' '.join(words)}` did not end within "
                         f"{seconds} s") from late
    except OSError as error:
        raise LabFailed(f"`{' '.join(words)}`: {error}") from error
    if check and done.returncode != 0:
        raise LabFailed(f"`{' '.join(words)}` failed with status "
                         f"{done.returncode}:\n{done.stdout.rstrip()}")
    return done.stdout


def inside(side, *command, **options):
    return run("ip", "netns", "exec", side.name, *command, **options)


def wait_for(what, condition):
    """Asks until `condition()` returns something true, and returns that."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise LabFailed(f"waited {PATIENCE} s in vain for {what}")
        time.sleep(0.02)
    return answer


# --- The pieces ------------------------------------------------------------

class Host:
    """netvsc-host: one process, one virtual machine with two NICs."""

    def __init__(self, build, directory):
        self.program = build / "host/netvsc-host"
        self.root = pathlib.Path("/run/demo/vm")
        self.trace = directory / "trace"
        self.log = directory / "netvsc-host.log"

    def start(self, *more):
        """`more`: further options of the daemon."""
        nics = [word for side in SIDES for word in
                ("--nic", f"guid={side.guid},mac={side.mac},"
                          f"tap=tap-{side.name}")]
        # 64 bytes of each frame are enough to see its headers.
        trace = (["--trace", self.trace, "--trace-snap", 64]
                 if self.trace else [])
        run(self.program, "--root", self.root, *nics, *trace, *more,
            "--log-file", self.log, "--detach")

    def control(self, *command):
        answer = run(self.program, "ctl", "--root", self.root, *command)
        return json.loads(answer) if answer.strip() else None

    def statistics(self, side):
        return self.control("stats", side.guid)


class Switch:
    """ovsdb-server and our ovs-vswitchd, with their state below /run."""

    def __init__(self, build, directory):
        self.build = build
        self.ovs_source = pathlib.Path(os.environ["OVS_SRC"])
        self.ovs_build = pathlib.Path(os.environ["OVS_BUILD"])
        self.run_directory = pathlib.Path("/run/demo/ovs")
        self.run_directory.mkdir(parents=True)
        self.log = directory / "ovs-vswitchd.log"
        for name in ("RUNDIR", "DBDIR", "SYSCONFDIR", "PKGDATADIR"):
            os.environ[f"OVS_{name}"] = str(self.run_directory)
        os.environ["OVS_LOGDIR"] = str(directory)

    def tool(self, name, *arguments, **options):
        room = "ovsdb" if name.startswith("ovsdb") else "utilities"
        return run(self.ovs_build / room / name, *arguments, **options)

    def vsctl(self, *arguments):
        return self.tool("ovs-vsctl", f"--timeout={PATIENCE}", *arguments)

    def appctl(self, *arguments):
        return self.tool("ovs-appctl", f"--timeout={PATIENCE}", *arguments)

    def start(self, root):
        database = self.run_directory / "conf.db"
        self.tool("ovsdb-tool", "create", database,
                  self.ovs_source / "vswitchd/vswitch.ovsschema")
        self.tool("ovsdb-server", "--detach", "--no-chdir", "--pidfile",
                  "--log-file",
                  f"--remote=punix:{self.run_directory}/db.sock", database)
        # One polling thread, which rests up to 100 us at a time when idle:
        # a small machine has other things to do.
        core = min(os.sched_getaffinity(0))
        self.vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".",
                   f"other_config:pmd-cpu-mask={1 << core:#x}",
                   # OVS 3.1 knows only the former, 3.2 and later the latter.
                   "other_config:pmd-maxsleep=100",
                   "other_config:pmd-sleep-max=100")
        # Its control socket is named after the program's file.
        program = self.run_directory / "ovs-vswitchd"
        program.symlink_to(self.build / "lib/ovs-vswitchd")
        os.environ["NETVSC_SYSROOT"] = str(root)
        run(program, "--detach", "--no-chdir", "--pidfile", "--log-file",
            f"unix:{self.run_directory}/db.sock")
        types = self.vsctl("get", "Open_vSwitch", ".", "iface_types")
        if "netvsc" not in types:
            raise LabFailed(f"this ovs-vswitchd knows no netvsc: {types}")

    def add_ports(self):
        ports = [word for side in SIDES for word in
                 ("--", "add-port", "br0", side.port, "--", "set",
                  "Interface", side.port, "type=netvsc",
                  f"options:vmbus-device={side.guid}")]
        self.vsctl("add-br", "br0", "--", "set", "Bridge", "br0",
                   "datapath_type=netdev", "fail_mode=standalone", *ports)

    def wait_for_ports(self):
        for side in SIDES:
            try:
                self.vsctl("wait-until", "Interface", side.port,
                           "link_state=up")
            except LabFailed as failure:
                why = self.vsctl("get", "Interface", side.port, "error",
                                 "status")
                raise LabFailed(f"{failure}\nerror and status of port "
                                 f"{side.port}:\n{why}") from failure
        wait_for("both ports' queues on a PMD thread", lambda: all(
            re.search(rf"port: {side.port} +queue-id: +\d+ \(enabled\)",
                      self.queues()) for side in SIDES))

    def queues(self):
        return self.appctl("dpif-netdev/pmd-rxq-show")

    def counters(self, side):
        """{rx, tx}_{packets, dropped, bytes} of a port, as they are now."""
        # The database's copy is up to five seconds old.
        shown = self.appctl("dpctl/show", "-s")
        port = re.search(rf"^ *port \d+: {side.port} .*?(?=^ *port |\Z)",
                         shown, re.M | re.S)
        if not port:
            raise LabFailed(f"no port {side.port} in the datapath:\n{shown}")
        found = {}
        for way in ("RX", "TX"):
            packets, dropped = re.search(
                rf"{way} packets:(\d+) errors:\d+ dropped:(\d+)",
                port[0]).groups()
            found[f"{way.lower()}_packets"] = int(packets)
            found[f"{way.lower()}_dropped"] = int(dropped)
            found[f"{way.lower()}_bytes"] = int(
                re.search(rf"{way} bytes:(\d+)", port[0])[1])
        return found

    def remove_ports(self, host):
        self.vsctl("del-br", "br0")
        # Taking leave of the host needs answers from it, which no one in the
        # switch waits for: it happens after the command has returned.
        wait_for("the switch to leave both NICs", lambda: all(
            host.statistics(side)["state"] == "closed" for side in SIDES))

    def stop(self):
        process = int((self.run_directory / "ovs-vswitchd.pid").read_text())
        self.appctl("exit", "--cleanup")
        wait_for("ovs-vswitchd to end",
                 lambda: not pathlib.Path(f"/proc/{process}").exists())


def make_namespaces():
    """Moves each tap into its namespace, as eth0 with both addresses."""
    for side in SIDES:
        run("ip", "netns", "add", side.name)
        run("ip", "link", "set", f"tap-{side.name}", "netns", side.name,
            "name", "eth0")
        inside(side, "ip", "addr", "add", f"{side.ipv4}/24", "dev", "eth0")
        # Without duplicate detection, which would make the address wait.
        inside(side, "ip", "addr", "add", f"{side.ipv6}/64", "dev", "eth0",
               "nodad")
        inside(side, "ip", "link", "set", "lo", "up")
        inside(side, "ip", "link", "set", "eth0", "up")


def tap_counters(side):
    """The kernel's counters of a tap: tx is what it sent to the NIC."""
    shown = json.loads(inside(side, "ip", "-json", "-stats", "link", "show",
                              "dev", "eth0"))
    return shown[0]["stats64"]


def quiesce():
    """Ends what the namespaces' kernels send by themselves, such as IPv6's
    multicast reports."""
    for side in SIDES:
        inside(side, "ip", "link", "set", "eth0", "down")
