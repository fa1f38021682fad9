"""A small network of our own: two namespaces, an emulated Hyper-V host with a
NIC for each of them, and an Open vSwitch that has both as ports of
type=netvsc.
"""

import json
import os
import pathlib
import re

from . import host, switch
from .tools import RigFailed, run, wait_for

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent


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


def inside(side, *command, **options):
    """As run(), in the namespace of a side."""
    return run("ip", "netns", "exec", side.name, *command, **options)


class Host(host.Host):
    """A NIC for each side, on the tap that its namespace gets."""

    def __init__(self, build, directory):
        super().__init__(build, pathlib.Path("/run/demo/vm"),
                         directory / "netvsc-host.log")
        self.trace = directory / "trace"

    def start(self, *more):
        """`more`: further options of the daemon."""
        # 64 bytes of each frame are enough to see its headers.
        trace = (["--trace", self.trace, "--trace-snap", 64]
                 if self.trace else [])
        super().start([f"guid={side.guid},mac={side.mac},tap=tap-{side.name}"
                       for side in SIDES], *trace, *more)


class Switch(switch.Switch):
    """Our ovs-vswitchd, with its state below /run."""

    def __init__(self, build, directory):
        super().__init__(build / "lib/ovs-vswitchd",
                         pathlib.Path("/run/demo/ovs"),
                         directory / "ovs-vswitchd.log",
                         pathlib.Path(os.environ["OVS_SRC"]),
                         pathlib.Path(os.environ["OVS_BUILD"]))

    def start(self, root):
        """On the host whose tree is in `root`."""
        # One polling thread, which rests up to 100 us at a time when idle:
        # a small machine has other things to do.
        core = min(os.sched_getaffinity(0))
        self.start_database(f"other_config:pmd-cpu-mask={1 << core:#x}",
                            # OVS 3.1 knows only the former key, 3.2 and
                            # later only the latter.
                            "other_config:pmd-maxsleep=100",
                            "other_config:pmd-sleep-max=100")
        self.environment["NETVSC_SYSROOT"] = str(root)
        self.start_daemon()
        types = self.vsctl("get", "Open_vSwitch", ".", "iface_types")
        if "netvsc" not in types:
            raise RigFailed(f"this ovs-vswitchd knows no netvsc: {types}")

    def add_ports(self):
        ports = [word for side in SIDES for word in
                 ("--", "add-port", "br0", side.port, "--", "set",
                  "Interface", side.port, "type=netvsc",
                  f"options:vmbus-device={side.guid}")]
        self.vsctl("add-br", "br0", "--", "set", "Bridge", "br0",
                   "datapath_type=netdev", "fail_mode=standalone", *ports)

    def wait_for_ports(self):
        for side in SIDES:
            self.wait_for_link(side.port)
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
            raise RigFailed(f"no port {side.port} in the datapath:\n{shown}")
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
