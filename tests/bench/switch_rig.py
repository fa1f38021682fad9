"""What the section "Switch" is made of: for each contender a netvsc-host with
two NICs or two pairs of veth, and an Open vSwitch of its own that has both
as ports.

All contenders of a series are set up at once and stopped (SIGSTOP), but for
the one whose turn it is: so they can take turns within a second.  The switch
polls on the first core, and everything else runs on the second one.

Runs under tests/private, which takes everything away when the section ends.
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
RUN = pathlib.Path("/run/bench")
# How long anything may take that takes far less.
PATIENCE = 20


class RigFailed(Exception):
    """A sentence for the person in front of the terminal."""


def cores():
    """(the switch's, everything else's)"""
    found = sorted(os.sched_getaffinity(0))
    if len(found) < 2:
        raise RigFailed("the switch and what surrounds it need a core each, "
                        "and this process may use only one")
    return found[:2]


def run(*command, seconds=PATIENCE, **options):
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=seconds,
                              check=False, **options)
    except subprocess.TimeoutExpired as late:
        raise RigFailed(f"`{' '.join(words)}` did not end within "
                        f"{seconds} s") from late
    if done.returncode:
        raise RigFailed(f"`{' '.join(words)}` failed with status "
                        f"{done.returncode}:\n{done.stdout.rstrip()}")
    return done.stdout


def wait_for(what, condition, seconds=PATIENCE):
    """Asks until `condition()` returns something true, and returns that."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise RigFailed(f"waited {seconds} s in vain for {what}")
        time.sleep(0.01)
    return answer


# --- The host --------------------------------------------------------------

class Nic:
    """Of each host there are two of these, and of each switch a port."""

    def __init__(self, number):
        self.guid = f"6f76736e-6265-6e63-0000-00000000000{number}"
        self.mac = f"00:15:5d:00:00:0{number}"
        self.port = f"p{number}"
        self.number = number


NICS = Nic(1), Nic(2)


# Frames under way to a switch of veth devices.
VETH_WINDOW = 1024


class Host:
    """netvsc-host on the second core."""

    def __init__(self, bench, name, wires, gpa, nics=NICS):
        """`wires(nic)`: what each NIC is wired to.  `nics` are those that it
        begins with."""
        self.wires = wires
        self.root = RUN / name / "vm"
        self.program = bench.build / "host/netvsc-host"
        self.log = bench.directory / f"host-{name}.log"
        pidfile = RUN / name / "host.pid"
        nics = [word for nic in nics for word in ("--nic", self.spec(nic))]
        run("taskset", "-c", cores()[1], self.program, "--root", self.root,
            "--gpa", gpa, *nics, "--log-file", self.log, "--pidfile",
            pidfile, "--detach")
        self.pid = int(pidfile.read_text())

    def spec(self, nic):
        return f"guid={nic.guid},mac={nic.mac},{self.wires(nic)}"

    def add(self, nic):
        self.control("add", self.spec(nic))

    def control(self, *words):
        """As `netvsc-host ctl`, without a process: there is work to be done
        on this core."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(self.root / "netvsc-host.ctl"))
            client.sendall(json.dumps(list(words)).encode() + b"\n")
            text = b"".join(iter(lambda: client.recv(1 << 16), b""))
        reply = json.loads(text)
        if "error" in reply:
            raise RigFailed(f"netvsc-host: {reply['error']}")
        return reply["result"]

    def statistics(self, nic):
        return self.control("stats", nic.guid)

    def pace(self, nic, pace):
        self.control("pace", nic.guid, pace)


# --- The switch ------------------------------------------------------------

class Switch:
    """ovsdb-server and an ovs-vswitchd in a network namespace."""

    def __init__(self, bench, name, ovs_source, ovs_build, program):
        self.bench, self.name = bench, name
        self.ovs_source, self.ovs_build = ovs_source, ovs_build
        self.program = program
        self.directory = RUN / name / "ovs"
        self.directory.mkdir(parents=True)
        self.database = f"unix:{self.directory}/db.sock"
        self.environment = dict(os.environ)
        for what in ("RUNDIR", "LOGDIR", "DBDIR", "SYSCONFDIR", "PKGDATADIR"):
            self.environment[f"OVS_{what}"] = str(self.directory)
        self.environment["OVS_SYSLOG_METHOD"] = "null"
        # Of its own, because every one makes a tap with the same name.
        self.namespace = name
        run("ip", "netns", "add", name)
        self.pid = self.database_pid = None

    def tool(self, name, *arguments, seconds=PATIENCE):
        room = "ovsdb" if name.startswith("ovsdb") else "utilities"
        return run(self.ovs_build / room / name, *arguments, seconds=seconds,
                   env=self.environment)

    def vsctl(self, *arguments):
        return self.tool("ovs-vsctl", f"--timeout={PATIENCE}",
                         f"--db={self.database}", *arguments)

    def appctl(self, *arguments):
        return self.tool("ovs-appctl", f"--timeout={PATIENCE}",
                         f"--target={self.directory}/vswitchd.ctl",
                         *arguments)

    def start(self, *settings, core=None, prefix=()):
        """`settings`: columns of the table Open_vSwitch.  `core` is where
        threads run that poll no port on one of their own."""
        switch, other = cores()
        self.tool("ovsdb-tool", "create", self.directory / "conf.db",
                  self.ovs_source / "vswitchd/vswitch.ovsschema")
        pidfile = self.directory / "ovsdb.pid"
        self.tool("ovsdb-server", "--detach", "--no-chdir",
                  f"--pidfile={pidfile}",
                  f"--remote=p{self.database}", self.directory / "conf.db")
        self.database_pid = int(pidfile.read_text())
        self.vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".",
                   f"other_config:pmd-cpu-mask={1 << switch:#x}", *settings)
        pidfile = self.directory / "vswitchd.pid"
        run("taskset", "-c", other if core is None else core,
            "nsenter", f"--net=/run/netns/{self.namespace}", *prefix,
            self.program, "--detach", "--no-chdir", f"--pidfile={pidfile}",
            f"--unixctl={self.directory}/vswitchd.ctl",
            f"--log-file={self.bench.directory}/switch-{self.name}.log",
            "-vsyslog:off", self.database, env=self.environment, seconds=60)
        self.pid = int(pidfile.read_text())
        self.vsctl("add-br", "br0", "--", "set", "Bridge", "br0",
                   "datapath_type=netdev", "fail_mode=secure")

    def add_port(self, name, number, *columns):
        self.vsctl("add-port", "br0", name, "--", "set", "Interface", name,
                   f"ofport_request={number}", *columns)

    def connect_ports(self):
        """What comes in by one port leaves by the other."""
        for nic in NICS:
            try:
                self.vsctl("wait-until", "Interface", nic.port,
                           "link_state=up")
            except RigFailed as failure:
                why = self.vsctl("get", "Interface", nic.port, "error",
                                 "status")
                raise RigFailed(f"{failure}\nerror and status of port "
                                f"{nic.port}:\n{why}") from failure
        self.flow(1, "output:2")
        self.flow(2, "output:1")

    def flow(self, port, actions):
        """What becomes of frames from a port."""
        self.tool("ovs-ofctl", f"--timeout={PATIENCE}", "add-flow", "br0",
                  f"in_port={port},actions={actions}")

    # --- What it did ---

    def clear(self):
        self.appctl("dpif-netdev/pmd-stats-clear")

    def poll_cycles(self):
        """(cycles without packets, cycles with) of the PMD thread since
        clear(); zeros when there is only the main thread, which waits."""
        shown = self.appctl("dpif-netdev/pmd-stats-show")
        found = [re.search(rf"{kind} cycles: (\d+)", shown)
                 for kind in ("idle", "processing")]
        return tuple(int(match[1]) for match in found) if all(found) else (
            0, 0)

    def performance(self):
        return self.appctl("dpif-netdev/pmd-perf-show", "-nh")

    def transmitted(self):
        """Frames that the two ports have sent."""
        shown = self.tool("ovs-ofctl", f"--timeout={PATIENCE}", "--no-names",
                          "dump-ports", "br0")
        return sum(int(re.search(
            rf"port +{nic.number}: .*?tx pkts=(\d+)", shown, re.S)[1])
            for nic in NICS)


# --- Contenders --------------------------------------------------------------

class Contender:
    """A switch and what its ports are connected to.  `processes` run in its
    turn only."""

    def __init__(self, name, switch):
        self.name, self.switch = name, switch
        self.processes = [switch.pid]

    @contextlib.contextmanager
    def turn(self):
        self._send(signal.SIGCONT)
        try:
            yield
        finally:
            self.stop()

    def stop(self):
        self._send(signal.SIGSTOP)
        for pid in self.processes:
            status = pathlib.Path(f"/proc/{pid}/status")
            wait_for(f"{self.name} to stop", lambda: re.search(
                r"^State:\t[TZX]", status.read_text(), re.M))

    def _send(self, number):
        try:
            for pid in self.processes:
                os.kill(pid, number)
        except ProcessLookupError:
            raise RigFailed(f"a process of {self.name} has ended by "
                            f"itself") from None

    def end(self):
        """For good, to make room for another series."""
        for pid in self.processes + [self.switch.database_pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class NetvscContender(Contender):
    """One whose ports are NICs of a netvsc-host."""

    def __init__(self, name, switch, host):
        super().__init__(name, switch)
        self.host = host
        self.processes.insert(0, host.pid)


class VethContender(Contender):
    """One whose ports are veth devices, with a namespace behind each."""

    def __init__(self, name, switch, behind):
        super().__init__(name, switch)
        self.behind = behind
        self.counts = self.sender = None

    def start_sender(self):
        """Frames from the first namespace to the second one, in turns."""
        self.counts = RUN / self.switch.namespace / "counts"
        self.sender = subprocess.Popen(
            ["taskset", "-c", str(cores()[1]), "ip", "netns", "exec",
             self.behind[1], sys.executable, HERE / "veth_sender.py",
             self.behind[0], self.counts, str(VETH_WINDOW)],
            stdin=subprocess.DEVNULL)
        wait_for("the first frames to arrive",
                 lambda: self.counted()[1] or self.sender.poll() is not None)
        self.processes.append(self.sender.pid)

    def counted(self):
        """Frames sent, arrived and lost; looks, and those at a full
        window."""
        with contextlib.suppress(OSError):
            if len(data := self.counts.read_bytes()) == 40:
                return struct.unpack("=5Q", data)
        return (0,) * 5


def switch_of(bench, name, flavour):
    """`flavour`: "plain" or "dpdk", with our port type, or "stock", DPDK's
    tree as it is."""
    source = pathlib.Path(os.environ["OVS_SRC"])
    tree = pathlib.Path(os.environ["OVS_BUILD" if flavour == "plain" else
                                   "OVS_DPDK_BUILD"])
    program = {"plain": bench.build / "lib/ovs-vswitchd",
               "dpdk": bench.source / "_dpdk/lib/ovs-vswitchd",
               "stock": tree / "vswitchd/ovs-vswitchd"}[flavour]
    return Switch(bench, name, source, tree, program)


def netvsc(bench, name, series, wires, flavour="plain"):
    """Ports of type=netvsc on NICs wired as `wires(nic)` says."""
    place = f"{series}-{name.replace(',', '').replace(' ', '-')}"
    host = Host(bench, place, wires, "dma")
    switch = switch_of(bench, place, flavour)
    switch.environment["NETVSC_SYSROOT"] = str(host.root)
    switch.start()
    for nic in NICS:
        switch.add_port(nic.port, nic.number, "type=netvsc",
                        f"options:vmbus-device={nic.guid}")
    switch.connect_ports()
    return NetvscContender(name, switch, host)


# 128 huge pages of 2 MiB.  Without a PCI bus DPDK leaves the machine's own
# devices alone; its netvsc driver takes addresses of the process.
EAL = "--no-pci --in-memory --iova-mode=va -m 256"

# DPDK looks for devices below /sys/bus; $0 is the host's root.
SHOW_VMBUS = """
mount -t tmpfs none /sys/bus && mkdir /sys/bus/vmbus &&
mount --bind "$0/sys/bus/vmbus" /sys/bus/vmbus && exec "$@" """


def dpdk(bench, name, series, wires):
    """Ports of type=dpdk on DPDK's own netvsc driver, unmodified."""
    place = f"{series}-{name}"
    host = Host(bench, place, wires, "process")
    switch = switch_of(bench, place, "stock")
    switch.start(f'other_config:dpdk-extra="{EAL}"',
                 "other_config:dpdk-init=true",
                 f"other_config:dpdk-lcore-mask={1 << cores()[1]:#x}",
                 prefix=("unshare", "--mount", "sh", "-c", SHOW_VMBUS,
                         host.root, "env", f"PEER_ROOT={host.root}",
                         f"LD_PRELOAD={bench.build}/tests/peer/uio_shim.so"))
    for nic in NICS:
        # By name no port can be found on this bus.
        switch.add_port(nic.port, nic.number, "type=dpdk",
                        f'options:dpdk-devargs="class=eth,mac={nic.mac}"')
    switch.connect_ports()
    return NetvscContender(name, switch, host)


def veth(bench, name, series, sends=False):
    """Ports of type=`name`, afxdp or system, on veth devices; their other
    ends are eth0 of two namespaces, perhaps with a sender."""
    place = f"{series}-{name}"
    switch = switch_of(bench, place, "plain")
    behind = tuple(f"{place}-{nic.number}" for nic in NICS)
    for nic, namespace in zip(NICS, behind):
        run("ip", "netns", "add", namespace)
        run("ip", "-n", namespace, "link", "add", "eth0", "type", "veth",
            "peer", "name", nic.port, "netns", switch.namespace)
        for where in namespace, switch.namespace:
            # The kernel is to send nothing by itself.
            run("nsenter", f"--net=/run/netns/{where}", "sh", "-c",
                "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6")
        # What is behind a port cannot finish another's checksums.
        run("nsenter", f"--net=/run/netns/{namespace}", "ethtool", "-K",
            "eth0", "tx", "off")
        run("ip", "-n", namespace, "link", "set", "eth0", "up")
        run("ip", "-n", switch.namespace, "link", "set", nic.port, "up")
    # There is no polling thread for system ports: the main thread does it.
    switch.start(core=cores()[0] if name == "system" else None)
    for nic in NICS:
        switch.add_port(nic.port, nic.number, f"type={name}")
    switch.connect_ports()
    contender = VethContender(name, switch, behind)
    if sends:
        contender.start_sender()
    return contender
