"""Section "Switch": Open vSwitch from port to port, on one PMD thread.

Three series, each with its contenders set up afresh: frames of one flow,
frames of 10,000 flows, and TCP.  README.md says what the cases are.
"""

import contextlib
import json
import os
import subprocess
import time

from contenders import NetvscContender, dpdk, netvsc, veth
from rig.pinned import NICS, cores
from rig.tools import RigFailed, run, wait_for

# Frames under way in each direction: eight bursts, so that the switch has work
# while the host's two threads take turns on their core.
WINDOW = 256

# Sub-allocations in turn where there is one flow: as many as DPDK has receive
# descriptors by default, 192 KiB of the caches.  With 10,000 flows it is all
# of the receive buffer.
SUBALLOCS = 1024
FLOWS = 10_000

# A thread that finds no frames for so much of its time waits for the host, or
# for frames that it has lost: what it could do, nobody knows.
IDLE = 0.1

# How long a switch that forwards little may take for its first 1,000 frames,
# and any of them for those that are under way when its turn is over.
START_SECONDS = 1
SETTLE_SECONDS = 0.5


class Reading:
    """Everything that the host counts."""

    def __init__(self, contender):
        host = contender.host
        self.nics = [host.statistics(nic) for nic in NICS]
        self.sunk = sum(n["sink"]["frames"] for n in self.nics)
        self.bad = sum(n["sink"]["damaged"] + n["sink"]["foreign"]
                       + n["tx"]["malformed"] + n["protocol_errors"]
                       for n in self.nics)
        self.generated = sum(n["generator"]["frames"] for n in self.nics)

    def mpps_since(self, before):
        """Million frames per second that came from the switch.  The clock is
        that of each NIC's thread: this process is often late."""
        rate = 0
        for now, then in zip(self.nics, before.nics):
            frames = now["sink"]["frames"] - then["sink"]["frames"]
            ns = sum(now[key] - then[key] for key in ("busy_ns", "idle_ns"))
            rate += frames * 1e3 / ns if frames else 0
        return rate


def forward(bench, contender, case, paces, seconds, keep):
    """One sample of frames per second."""
    host, switch = contender.host, contender.switch
    with contender.turn():
        for nic, pace in zip(NICS, paces):
            host.pace(nic, pace)
        start_up(contender)
        switch.clear()
        before = Reading(contender)
        time.sleep(seconds)
        after = Reading(contender)
        idle, busy = switch.poll_cycles()
        performance = switch.performance()
        wrong = settle(contender)
    sunk = after.sunk - before.sunk
    generated = after.generated - before.generated
    detail = {
        "idle": round(idle / (idle + busy or 1), 4),
        "cycles": round((idle + busy) / (sunk or 1), 1),
        "generated": generated,
        "lost": round(max(0, 1 - sunk / (generated or 1)), 4),
    }
    if keep:
        detail["pmd_perf_show"] = performance
    if detail["idle"] > IDLE:
        wrong = wrong or "the switch waited for frames"
    if wrong:
        detail["reject"] = wrong
    # None at all has happened; a ratio takes it for one.
    bench.add(case, contender.name, "Mpps",
              after.mpps_since(before) or 1e-6 / seconds, **detail)


def start_up(contender):
    """Waits until frames come through, or until they should have."""
    start = Reading(contender).sunk
    with contextlib.suppress(RigFailed):
        wait_for(f"frames through {contender.name}",
                 lambda: Reading(contender).sunk > start + 1000,
                 START_SECONDS)


def settle(contender):
    """Ends the traffic; returns what is wrong with it, or nothing."""
    host, switch = contender.host, contender.switch
    for nic in NICS:
        host.pace(nic, "none")
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        # The driver's counters and the host's, of the same frames.
        now, sent = Reading(contender), switch.transmitted()
        if now.bad:
            return f"{now.bad} frames were not as they had been"
        if sent == now.sunk:
            return ""
        if time.monotonic() > deadline:
            return f"the switch sent {sent} frames, {now.sunk} came"


def latency(bench, contender, seconds):
    """Round trips of one frame at a time, to the port that it came from."""
    host = contender.host
    with contender.turn():
        contender.switch.flow(1, "in_port")
        host.pace(NICS[0], "loop:1")
        time.sleep(seconds)
        trips = host.statistics(NICS[0])["round_trips"]
        wrong = settle(contender)
        contender.switch.connect_ports()
    detail = {"count": trips["count"]} | ({"reject": wrong} if wrong else {})
    for key, name in (("median", "median"), ("p99", "99%"),
                      ("p999", "99.9%")):
        bench.add(f"round trip, {name}", contender.name, "us",
                  trips[f"{key}_ns"] / 1000, **detail)


# --- CPU time --------------------------------------------------------------

CPU_CASE = "64 B, CPU time"
NEVER = 0.98


class Cores:
    """What the kernel has counted for both cores, at one moment."""

    def __init__(self):
        switch, other = (f"cpu{core}" for core in cores())
        tick = os.sysconf("SC_CLK_TCK")
        with open("/proc/stat", encoding="ascii") as file:
            self.at = time.monotonic()
            lines = {words[0]: [int(word) / tick for word in words[1:8]]
                     for words in map(str.split, file)
                     if words[0] in (switch, other)}
        # user, nice, system, idle, iowait, irq, softirq
        mine, its = lines[switch], lines[other]
        self.busy = sum(mine[:3]) + sum(mine[5:])
        self.softirq = its[6]

    def since(self, before):
        """(part of the time that the switch's core was busy, part that the
        other one was in softirqs)"""
        return tuple((now - then) / (self.at - before.at) for now, then in (
            (self.busy, before.busy), (self.softirq, before.softirq)))


def cpu_time(bench, contender, seconds):
    """One sample of CPU time for a frame: what the switch's core was busy
    with, but for polls that found nothing, and what the kernel did for its
    ports on the other core."""
    switch = contender.switch
    with contender.turn():
        traffic = (HostTraffic if isinstance(contender, NetvscContender)
                   else VethTraffic)(contender)
        polled = switch.poll_cycles()
        traffic.begin()
        before = Cores()
        time.sleep(seconds)
        busy, softirq = Cores().since(before)
        traffic.end()
        idle, processing = (now - then for now, then in zip(
            switch.poll_cycles(), polled))
        wrong = traffic.settle()
    vain = idle / (idle + processing) if idle + processing else 0
    detail = {"switch_core": round(busy, 4), "polls_in_vain": round(vain, 4),
              "softirq_elsewhere": round(softirq, 4),
              "mpps": round(traffic.mpps, 4)}
    if traffic.slow or vain > IDLE:
        detail["limit"] = "generator"
    if not traffic.mpps:
        wrong = wrong or "no frame came"
    # Of a thread that has been kept from running; or frames came, and the
    # thread says that it has seen none.
    if not 0 <= vain < NEVER:
        wrong = wrong or "the switch's count of its cycles makes no sense"
    if wrong:
        detail["reject"] = wrong
    bench.add(CPU_CASE, contender.name, "ns/packet",
              1e3 * (busy * (1 - vain) + softirq) / (traffic.mpps or 1),
              **detail)


class HostTraffic:
    """From both NICs of a host."""

    slow = False

    def __init__(self, contender):
        self.contender = contender
        for nic in NICS:
            contender.host.pace(nic, f"loop:{WINDOW}")
        start_up(contender)

    def begin(self):
        self.before = Reading(self.contender)

    def end(self):
        self.mpps = Reading(self.contender).mpps_since(self.before)

    def settle(self):
        return settle(self.contender)


class VethTraffic:
    """From the sender to the first of two veth devices."""

    def __init__(self, contender):
        self.contender = contender
        start = contender.counted()[1]
        wait_for(f"frames through {contender.name}",
                 lambda: contender.counted()[1] > start + 1000)

    def begin(self):
        self.at, self.before = time.monotonic(), self.contender.counted()

    def end(self):
        now = self.contender.counted()
        _, arrived, _, looks, full = (
            b - a for a, b in zip(self.before, now))
        self.mpps = arrived / (time.monotonic() - self.at) / 1e6
        # It seldom had to wait for the switch.
        self.slow = full < looks * IDLE

    def settle(self):
        return ""


# --- TCP -------------------------------------------------------------------

# A connection that stands still ends with the round.
TCP_PATIENCE = 5


def connect(contender, ends):
    """Gives the devices behind the ports their addresses."""
    for number, (namespace, device) in enumerate(ends, 1):
        run("ip", "-n", namespace, "addr", "add", f"10.0.0.{number}/24",
            "dev", device)
    contender.ends = [namespace for namespace, _ in ends]


def plug(contender, taps):
    """Moves the taps of a host into namespaces of their own.

    Each has the address of the NIC that its peer's frames come in by: Open
    vSwitch asks DPDK for all frames and then for all multicasts, which for
    DPDK's netvsc driver means that it no longer wants the others."""
    ends = []
    for number, tap in enumerate(taps, 1):
        run("ip", "link", "set", tap, "address", NICS[2 - number].mac)
        namespace = f"{contender.switch.namespace}-{number}"
        run("ip", "netns", "add", namespace)
        run("ip", "link", "set", tap, "netns", namespace)
        run("ip", "-n", namespace, "link", "set", tap, "up")
        ends.append((namespace, tap))
    connect(contender, ends)


def tcp(bench, contender, seconds):
    source, sink = contender.ends
    # All but the switch is on one core.
    iperf = ("taskset", "-c", str(cores()[1]), "ip", "netns", "exec")
    with contender.turn(), subprocess.Popen(
            [*iperf, sink, "iperf3", "--server", "--one-off",
             "--forceflush"], stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as server:
        try:
            for line in server.stdout:
                if "listening" in line:
                    break
            shown = run(*iperf, source, "iperf3", "--client", "10.0.0.2",
                        "--time", seconds, "--json",
                        seconds=seconds + TCP_PATIENCE)
        finally:
            server.kill()
    report = json.loads(shown)["end"]
    bench.add("TCP", contender.name, "Gbit/s",
              report["sum_received"]["bits_per_second"] / 1e9,
              retransmits=report["sum_sent"]["retransmits"],
              limit="TCP and the wire, on the other core")


# --- Series ----------------------------------------------------------------

def set_up(bench, wanted):
    """Contenders, stopped; `wanted` is (name, function, arguments).  One that
    cannot be had is skipped with the reason; ours must be there."""
    found = []
    for name, make, *arguments in wanted:
        bench.progress(f"sets up {name}")
        try:
            contender = make(bench, name, *arguments)
        except RigFailed as why:
            if name.startswith("netvsc"):
                raise
            bench.skip(arguments[0], name, str(why))
            continue
        contender.stop()
        found.append(contender)
    return found


def without_huge_pages(bench, series):
    if not bench.huge_pages:
        bench.skip(series, "dpdk", "there are not 128 free huge pages of "
                   "2 MiB, and the machine would not give them")
    return not bench.huge_pages


def in_turns(bench, what, contenders, measure):
    for number in range(bench.rounds):
        bench.progress(f"{what}, round {number + 1} of {bench.rounds}")
        for_each(bench, what, contenders,
                 lambda contender, number=number: measure(contender, number))


def for_each(bench, what, contenders, do):
    """A peer that cannot be measured takes part no more; ours has to be."""
    for contender in contenders[:]:
        try:
            do(contender)
        except RigFailed as why:
            if contender.name == "netvsc":
                raise
            bench.skip(what, contender.name, str(why))
            contenders.remove(contender)


def on_hosts(bench, series, wires):
    """Ours in both builds, and DPDK's."""
    return set_up(bench, [
        ("netvsc", netvsc, series, wires),
        ("netvsc, DPDK build", netvsc, series, wires, "dpdk"),
    ] + ([] if without_huge_pages(bench, series) else [
        ("dpdk", dpdk, series, wires)]))


def measure_forwarding(bench, contenders, case, seconds):
    for how, paces in (("window", (f"loop:{WINDOW}",) * 2),
                       ("overload", ("max", "rate:1"))):
        in_turns(bench, f"{case}, {how}", contenders,
                 lambda contender, number: forward(
                     bench, contender, f"{case}, {how}", paces, seconds,
                     keep=number == 0))


def one_flow(bench, seconds):
    bench.ratio("ovs_p2p_64_vs_dpdk", "64 B, window")
    bench.ratio("ovs_p2p_64_overload_vs_dpdk", "64 B, overload")
    bench.ratio("ovs_p2p_64_dpdk_build_vs_dpdk", "64 B, window",
                ours="netvsc, DPDK build")
    bench.ratio("ovs_p2p_64_vs_afxdp", CPU_CASE, peer="afxdp")
    bench.ratio("ovs_p2p_64_vs_system", CPU_CASE, peer="system")
    bench.ratio("ovs_latency_64_vs_dpdk", "round trip, median")

    hosts = on_hosts(bench, "flow", lambda nic: (
        f"generate=64,pace=none,suballocs={SUBALLOCS},ranges=32"))
    # First, because DPDK's driver may not answer the switch's main thread for
    # half a minute once it has been overloaded.
    in_turns(bench, "round trip", hosts,
             lambda contender, _: latency(bench, contender, seconds))
    measure_forwarding(bench, hosts, "64 B", seconds)

    kernels = set_up(bench, [("afxdp", veth, "cpu", True),
                             ("system", veth, "cpu", True)])
    started = hosts + kernels
    kernels = [contender for contender in hosts
               if contender.name == "netvsc"] + kernels
    in_turns(bench, CPU_CASE, kernels,
             lambda contender, _: cpu_time(bench, contender, seconds))
    for contender in started:
        contender.end()


def many_flows(bench, seconds):
    bench.ratio("ovs_p2p_64_10k_vs_dpdk", f"64 B, {FLOWS:,} flows, window")
    # No ratio of the overload: DPDK's driver delivers nothing in most rounds.
    hosts = on_hosts(bench, "flows", lambda nic: (
        f"generate=64,pace=none,flows={FLOWS},ranges=32"))
    started = hosts[:]
    measure_forwarding(bench, hosts, f"64 B, {FLOWS:,} flows", seconds)
    for contender in started:
        contender.end()


def connections(bench, seconds):
    bench.ratio("ovs_tcp_vs_dpdk", "TCP")
    taps = {name: [f"{name}{nic.number}" for nic in NICS]
            for name in ("netvsc", "dpdk")}

    def wires(name):
        return lambda nic: f"tap={taps[name][nic.number - 1]}"

    found = set_up(bench, [
        ("netvsc", netvsc, "tcp", wires("netvsc"))
    ] + ([] if without_huge_pages(bench, "tcp") else [
        ("dpdk", dpdk, "tcp", wires("dpdk"))
    ]) + [("afxdp", veth, "tcp"), ("system", veth, "tcp")])
    for contender in found:
        if contender.name in taps:
            plug(contender, taps[contender.name])
        else:
            connect(contender, [(namespace, "eth0")
                                for namespace in contender.behind])
    started = found[:]
    in_turns(bench, "TCP", found,
             lambda contender, _: tcp(bench, contender, seconds))
    for contender in started:
        contender.end()


def measure(bench):
    one_flow(bench, 0.5 if bench.quick else 0.7)
    if not bench.quick:
        many_flows(bench, 0.7)
        connections(bench, 1)
