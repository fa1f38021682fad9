"""What the section "Switch" is made of: for each contender a netvsc-host with
two NICs or two pairs of veth, and an Open vSwitch of its own that has both
as ports.

All contenders of a series are set up at once and stopped (SIGSTOP), but for
the one whose turn it is: so they can take turns within a second.

Runs under tests/private, which takes everything away when the section ends.
"""

import contextlib
import os
import pathlib
import re
import signal
import struct
import subprocess
import sys

from rig.pinned import NICS, RUN, Host, Switch, cores
from rig.tools import RigFailed, run, wait_for

HERE = pathlib.Path(__file__).resolve().parent
# Frames under way to a switch of veth devices.
VETH_WINDOW = 1024


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
