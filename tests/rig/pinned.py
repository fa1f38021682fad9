"""A host and a switch with a core each: the switch polls on the first one, and
everything else runs on the second one.
"""

import os
import pathlib
import re

from . import host, switch
from .tools import PATIENCE, RigFailed, run

RUN = pathlib.Path("/run/bench")


def cores():
    """(the switch's, everything else's)"""
    found = sorted(os.sched_getaffinity(0))
    if len(found) < 2:
        raise RigFailed("the switch and what surrounds it need a core each, "
                        "and this process may use only one")
    return found[:2]


class Nic:
    """Of each host there are two of these, and of each switch a port."""

    def __init__(self, number):
        self.guid = f"6f76736e-6265-6e63-0000-00000000000{number}"
        self.mac = f"00:15:5d:00:00:0{number}"
        self.port = f"p{number}"
        self.number = number


NICS = Nic(1), Nic(2)


class Host(host.Host):
    """netvsc-host on the second core."""

    def __init__(self, bench, name, wires, gpa, nics=NICS):
        """`wires(nic)`: what each NIC is wired to.  `nics` are those that it
        begins with."""
        super().__init__(bench.build, RUN / name / "vm",
                         bench.directory / f"host-{name}.log")
        self.wires = wires
        self.start([self.spec(nic) for nic in nics], "--gpa", gpa,
                   prefix=("taskset", "-c", cores()[1]))

    def spec(self, nic):
        return f"guid={nic.guid},mac={nic.mac},{self.wires(nic)}"

    def add(self, nic):
        self.control("add", self.spec(nic))

    def pace(self, nic, pace):
        self.control("pace", nic.guid, pace)


class Switch(switch.Switch):
    """In a network namespace, with a bridge."""

    def __init__(self, bench, name, ovs_source, ovs_build, program):
        super().__init__(program, RUN / name / "ovs",
                         bench.directory / f"switch-{name}.log",
                         ovs_source, ovs_build)
        # Of its own, because every one makes a tap with the same name.
        self.namespace = name
        run("ip", "netns", "add", name)

    def start(self, *settings, core=None, prefix=()):
        """`settings`: columns of the table Open_vSwitch.  `core` is where
        threads run that poll no port on one of their own."""
        polling, other = cores()
        self.start_database(f"other_config:pmd-cpu-mask={1 << polling:#x}",
                            *settings)
        self.start_daemon(("taskset", "-c", other if core is None else core,
                           "nsenter", f"--net=/run/netns/{self.namespace}",
                           *prefix))
        self.vsctl("add-br", "br0", "--", "set", "Bridge", "br0",
                   "datapath_type=netdev", "fail_mode=secure")

    def add_port(self, name, number, *columns):
        self.vsctl("add-port", "br0", name, "--", "set", "Interface", name,
                   f"ofport_request={number}", *columns)

    def connect_ports(self):
        """What comes in by one port leaves by the other."""
        for nic in NICS:
            self.wait_for_link(nic.port)
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
