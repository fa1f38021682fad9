"""Section "goodput": frames that arrive when host and contender have a core
each, and frames that are lost.

Both contenders, a process each, have a NIC of the same host and take turns.
How fast the host should go depends on the contender, so each is first tried
at every pace and then measured at the one that suits it best, and, as
"overload", at the host's full speed.
"""

import json
import os
import signal
import subprocess
import time

from rig.pinned import NICS, Host, cores
from rig.tools import RigFailed, wait_for

UNIT = "Mpps"
NETVSC, DPDK = "netvsc", "dpdk"

# As in the section "switch": they stay in the caches.
SUBALLOCS = 1024

FULL = "max"
# For a contender that drops most of what comes too fast: windows from a frame
# to all sub-allocations, and rates up to 76 million a second, more than
# anybody takes, each by a quarter more than the one before.
WINDOWS = tuple(f"window:{1 << bit}" for bit in range(11))
RATES = tuple(f"rate:{int(7e5 * 1.25 ** step)}" for step in range(22))
PACES = FULL, *WINDOWS, *RATES
QUICK_PACES = FULL, *WINDOWS[::2], *RATES[::3]
# A loop of frames that come back is known to end in the contender.
LOOPS = FULL, *(f"loop:{1 << bit}" for bit in range(3, 11))
# The host is to be awake; the frame a second is none of the measurement.
AWAKE = "rate:1",

# Name in `ratios`: case, what the contender does, frames in a packet, paces.
CASES = {
    "goodput_rx_64_r1": ("rx 64 B, 1 range", "receive", 1, PACES),
    "goodput_rx_64_r32": ("rx 64 B, 32 ranges", "receive", 32, PACES),
    "goodput_fwd_64": ("fwd 64 B, 32 ranges", "forward", 32, LOOPS),
    "goodput_tx_64": ("tx 64 B", "transmit", 32, AWAKE),
}

# Seconds: a sample, one of a trial, and before each until it runs steadily.
SAMPLE, QUICK_SAMPLE, TRIAL, WARM_UP = 0.4, 0.15, 0.05, 0.05
# A host that is idle for so much of its time waits for the contender; so does
# one that found the ring empty in no more of its rounds.
IDLE, EMPTY = 0.1, 0.1
# A contender that loses so much had more than it could take.
LOSES = 0.01


class Poller:
    """A contender on the first core, which sleeps outside of its turn; its
    other threads are where the host is."""

    def __init__(self, bench, host, nic, contender):
        mine, other = cores()
        words = ["taskset", "-c", other, bench.build / "tests/bench/poller",
                 "--root", host.root, "--guid", nic.guid,
                 "--contender", contender, "--cpu", mine]
        if bench.huge_pages:
            words.append("--huge-pages")
        self.contender, self.host, self.nic = contender, host, nic
        self.log = bench.directory / f"goodput-{contender}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(word) for word in words], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=log, text=True)
        self.answer()

    def answer(self):
        """DPDK may say something before us; ours are objects."""
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RigFailed(f"the poller of {self.contender} has ended; the "
                        f"reason is in {self.log}")

    def command(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.answer()

    def pace(self, pace):
        self.host.pace(self.nic, pace)

    def reading(self):
        """Everything that contender and host count."""
        mine, host = self.command("count"), self.host.statistics(self.nic)
        return mine | {
            "checked": mine["checked"] + host["sink"]["checked"],
            "made": host["generator"]["frames"],
            "rounds": host["generator"]["rounds"],
            "empty_rounds": host["generator"]["empty_rounds"],
            "sunk": host["sink"]["frames"],
            "bad": (host["sink"]["damaged"] + host["sink"]["foreign"]
                    + host["tx"]["malformed"] + host["protocol_errors"]),
            "under_way": (host["rx"]["suballocs_outstanding"]
                          + host["tx"]["outstanding"]),
            "idle_ns": host["idle_ns"],
            "host_ns": host["busy_ns"] + host["idle_ns"],
        }

    def at_rest(self):
        """The reading when nothing is under way."""
        last = None

        def settled():
            nonlocal last
            before, last = last, self.reading()
            return (before and last["under_way"] == 0
                    and all(last[key] == before[key] for key in
                            ("received", "missed", "sent", "sunk")))

        wait_for(f"{self.contender} to take what is under way", settled)
        return last

    def end(self):
        self.process.kill()
        self.process.wait()


def since(before, after):
    return {key: value - before[key] for key, value in after.items()}


# --- A sample --------------------------------------------------------------

def disagreement(mode, grown):
    """Why the counts of both sides cannot be right, or nothing."""
    if bad := grown["damaged"] + grown["bad"]:
        return f"{bad} frames were not as they had been"
    if grown["sent"] != grown["sunk"]:
        return (f"the contender sent {grown['sent']} frames, "
                f"{grown['sunk']} came")
    taken = grown["received"] + grown["missed"]
    if mode != "transmit" and grown["made"] != taken:
        return (f"the host gave {grown['made']} frames, the contender "
                f"received or dropped {taken}")
    return ""


def other_bottleneck(contender, mode, pace, detail):
    """What else than the contender it was, or nothing."""
    if mode != "transmit" and (detail["empty"] <= EMPTY
                               or detail["lost"] >= LOSES):
        return {}
    if mode != "transmit" and pace != FULL:
        # It was chosen because less arrives when the host goes faster.  At a
        # rate the host waits for the time, and in a window for itself.
        return {"limit": "the pace that suits it best"}
    if detail["idle"] >= IDLE:
        return {}
    # Ours could do more, which is in favour of the peer.
    return ({"limit": "the host"} if contender == NETVSC else
            {"reject": "the host was the bottleneck"})


def sample(poller, mode, pace, seconds):
    """(Mpps, detail)"""
    start = poller.reading()
    poller.command(mode)
    poller.pace(pace)
    time.sleep(WARM_UP)
    before = poller.reading()
    time.sleep(seconds)
    ran = since(before, poller.reading())
    poller.pace("none")
    if mode == "transmit":
        poller.command("receive")     # the completions
    end = poller.at_rest()
    poller.command("idle")

    # By the clock of whoever counts: this process is often late.
    arrives, clock = (("received", "time_ns") if mode == "receive" else
                      ("sunk", "host_ns"))
    whole = since(start, end)
    longest_ns = end["longest_tsc"] * ran["time_ns"] / ran["tsc"]
    detail = {"pace": pace, "checked": whole["checked"],
              "idle": round(ran["idle_ns"] / ran["host_ns"], 4)}
    if mode != "transmit":
        detail |= {
            "empty": round(ran["empty_rounds"] / (ran["rounds"] or 1), 4),
            "lost": round(1 - whole[arrives] / (whole["made"] or 1), 4),
            "longest_ms": round(longest_ns / 1e6, 3)}
    detail |= other_bottleneck(poller.contender, mode, pace, detail)
    if why := disagreement(mode, whole):
        detail["reject"] = why
    # None at all may happen; a ratio takes it for one.
    return 1e3 * (ran[arrives] or 1) / ran[clock], detail


# --- A case ----------------------------------------------------------------

def best_pace(poller, mode, paces):
    """A short trial can be lucky: the best of them have another."""
    def worth(pace, seconds):
        mpps, detail = sample(poller, mode, pace, seconds)
        return 0 if "reject" in detail else mpps

    for seconds, keep in (TRIAL, 4), (4 * TRIAL, 1):
        if len(paces) > keep:
            paces = sorted(paces, key=lambda pace, seconds=seconds: worth(
                pace, seconds), reverse=True)[:keep]
    return paces[0]


def add(bench, case, who, value, detail):
    bench.add(case, who, UNIT, value, **detail)
    if "lost" in detail:
        counts = {key: detail[key] for key in ("reject",) if key in detail}
        bench.add(f"{case}, lost", who, "% of frames", 100 * detail["lost"],
                  **counts)
        bench.add(f"{case}, longest call", who, "ms", detail["longest_ms"],
                  **counts)


def measure_case(bench, pollers, case, mode, paces):
    bench.progress(f"{case}: which pace suits whom")
    best = {poller: best_pace(poller, mode, paces) for poller in pollers}
    series = [("", best)]
    if len(paces) > 1:
        series.append((", overload", {poller: FULL for poller in pollers}))
    for turn in range(bench.rounds):
        bench.progress(f"{case}, round {turn + 1} of {bench.rounds}")
        for suffix, chosen in series:
            for poller in pollers:
                add(bench, case, poller.contender + suffix, *sample(
                    poller, mode, chosen[poller],
                    QUICK_SAMPLE if bench.quick else SAMPLE))


def measure(bench):
    program = bench.build / "tests/bench/poller"
    if not program.exists():
        bench.skip("all", DPDK, f"{program} was not built: it needs "
                   "Open vSwitch (configure without --without-ovs) and DPDK "
                   "(apt-get install libdpdk-dev).")
        return
    for name, (case, _, _, paces) in CASES.items():
        bench.ratio(f"{name}_vs_dpdk", case)
        if len(paces) > 1:
            bench.ratio(f"{name}_overload_vs_dpdk", case,
                        f"{NETVSC}, overload", f"{DPDK}, overload")
            bench.ratio(f"{name}_overload_vs_peak", case,
                        f"{NETVSC}, overload", NETVSC)
    for name, (case, mode, ranges, paces) in CASES.items():
        host = Host(bench, name, lambda nic, ranges=ranges: (
            f"generate=64,pace=none,suballocs={SUBALLOCS},ranges={ranges}"),
            "process", NICS[:1])
        # DPDK takes every NIC that is there when it starts.
        peer = Poller(bench, host, NICS[0], DPDK)
        host.add(NICS[1])
        pollers = [Poller(bench, host, NICS[1], NETVSC), peer]
        measure_case(bench, pollers, case, mode,
                     QUICK_PACES if bench.quick and paces is PACES else paces)
        for poller in pollers:
            poller.end()
        os.kill(host.pid, signal.SIGKILL)
