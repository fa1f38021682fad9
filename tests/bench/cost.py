"""Section "cost": what a frame costs on one core, ours beside DPDK's
driver, in cycles and in instructions.

tests/bench/README.md says what is timed and how the contenders are treated
alike.
"""

import json
import statistics
import subprocess
import tempfile

import callgrind

UNIT = "cycles/frame"

# Bursts of a turn.  One sample is the mean of their middle half.
BURSTS = 2000
QUICK_BURSTS = 500

# Sub-allocations that the host uses in turn: few stay in a second-level
# cache, and the whole receive buffer of 31 MiB in none.
WARM, COLD = 256, 0

# cost_bench's name for 64, 594 and 1,514 bytes, 7 to 4 to 1.
IMIX = 0


def receive(size, ranges, elements=1, suballocs=WARM):
    return {"mode": "rx", "size": size, "ranges": ranges,
            "elements": elements, "suballocs": suballocs}


def transmit(size, aggregation, burst=32):
    return {"mode": "tx", "size": size, "aggregation": aggregation,
            "burst": burst}


# Name: what it is.  Those of `make bench-quick` are in QUICK.
CASES = {
    "rx 64 B, 32 ranges": receive(64, 32),
    "rx 64 B, 1 range": receive(64, 1),
    "rx 64 B, 32 ranges, 3 elements": receive(64, 32, 3),
    "rx 64 B, 1 range, 3 elements": receive(64, 1, 3),
    "rx 512 B, 32 ranges": receive(512, 32),
    "rx 1500 B, 32 ranges": receive(1500, 32),
    "rx 1500 B, 1 range": receive(1500, 1),
    "rx IMIX, 32 ranges": receive(IMIX, 32),
    "rx 64 B, 32 ranges, cold": receive(64, 32, suballocs=COLD),
    "rx 64 B, 1 range, cold": receive(64, 1, suballocs=COLD),
    "rx 1500 B, 32 ranges, cold": receive(1500, 32, suballocs=COLD),
    "tx 64 B, aggregation 8": transmit(64, 8),
    "tx 64 B, aggregation 1": transmit(64, 1),
    "tx 64 B, aggregation 8, burst 1": transmit(64, 8, 1),
    "tx 64 B, aggregation 1, burst 1": transmit(64, 1, 1),
    "tx 512 B": transmit(512, 8),
    "tx 1500 B": transmit(1500, 8),
    "tx IMIX": transmit(IMIX, 8),
}

# Name of the ratio: case and peer.
RATIOS = {
    "cost_rx_64_r32_vs_dpdk": ("rx 64 B, 32 ranges", "dpdk"),
    "cost_rx_64_r1_vs_dpdk": ("rx 64 B, 1 range", "dpdk"),
    "cost_rx_1500_r32_vs_dpdk": ("rx 1500 B, 32 ranges", "dpdk"),
    "cost_rx_imix_r32_vs_dpdk": ("rx IMIX, 32 ranges", "dpdk"),
    "cost_tx_64_a8_vs_dpdk": ("tx 64 B, aggregation 8", "dpdk"),
    "cost_tx_64_a1_vs_dpdk": ("tx 64 B, aggregation 1", "dpdk"),
    "cost_tx_1500_vs_dpdk": ("tx 1500 B", "dpdk"),
    "cost_tx_imix_vs_dpdk": ("tx IMIX", "dpdk"),
}
QUICK = {case for case, _ in RATIOS.values()}

# Counted by callgrind, whose numbers need no rounds.
COUNTED = {
    "rx 64 B, 32 ranges": receive(64, 32),
    "rx 64 B, 32 ranges, 3 elements": receive(64, 32, 3),
    "rx 64 B, 1 range, 3 elements": receive(64, 1, 3),
    "tx 64 B, aggregation 8": transmit(64, 8),
    "tx 64 B, aggregation 1": transmit(64, 1),
}
COUNTED_BURSTS = 100
CONTENDERS = ["netvsc", "dpdk"]

# Far more than anything here takes on a busy machine.
TIMEOUT = 300


def dpdk_settings(case):
    """The settings of DPDK's driver that can matter, its defaults first:
    frames of up to 256 bytes are copied at reception whatever they are, and
    of up to 512 bytes at transmission."""
    if case["size"] == 64:
        return [""]
    if case["mode"] == "rx":
        return ["", "rx_extmbuf_enable=1"]
    return ["", "tx_copybreak=2048"]


def contender(settings):
    """What cost_bench calls DPDK with these settings."""
    return f"dpdk:{settings}" if settings else "dpdk"


def command(bench, root, case, contenders, **more):
    words = [bench.build / "tests/bench/cost_bench", f"--root={root}"]
    words += [f"--{key}={value}" for key, value in {**case, **more}.items()]
    words += [f"--contender={name}" for name in contenders]
    return [str(word) for word in words]


def run(words):
    done = subprocess.run(words, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=TIMEOUT, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} failed:\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()
            if line.startswith("{")]


def measure_case(bench, root, name, case):
    settings = dpdk_settings(case)
    contenders = ["netvsc", *map(contender, settings)]
    words = command(bench, root, case, contenders, rounds=bench.rounds,
                    bursts=QUICK_BURSTS if bench.quick else BURSTS)
    if bench.huge_pages:
        words.append("--huge-pages")
    samples = {}
    for line in run(words):
        samples.setdefault(line.pop("contender"), []).append(line)

    # DPDK takes part with what suits it best here; the others are shown.
    best = min(settings, key=lambda each: statistics.median(
        line["cycles"] for line in samples[contender(each)]))
    for who, lines in samples.items():
        detail = {}
        if who.startswith("dpdk"):
            mine = who.partition(":")[2]
            detail["settings"] = mine or "defaults"
            who = "dpdk" if mine == best else f"dpdk ({detail['settings']})"
        for line in lines:
            value = line.pop("cycles")
            bench.add(name, who, UNIT, round(value, 2), **line, **detail)


def count_case(bench, root, name, case):
    """Instructions for a frame.  The C library's memcpy() is not counted,
    which copies the payload of ours; DPDK's driver has copies of its own in
    line, about ten instructions for 64 bytes."""
    for who in CONTENDERS:
        with tempfile.NamedTemporaryFile(mode="r") as out:
            lines = run(
                ["valgrind", "--quiet", "--tool=callgrind",
                 "--collect-atstart=no", "--toggle-collect=*counted_*",
                 f"--callgrind-out-file={out.name}",
                 *command(bench, root, case, [who], rehearsal=0,
                          rounds=1, bursts=COUNTED_BURSTS)])
            profile = out.read()
        frames = lines[0]["bursts"] * case.get("burst", 32)
        count = (callgrind.total(profile)
                 - callgrind.own_cost(profile, "memcpy"))
        bench.add(f"instructions, {name}", who, "instructions/frame",
                  round(count / frames, 1))


def measure(bench):
    program = bench.build / "tests/bench/cost_bench"
    if not program.exists():
        bench.skip("all", "dpdk", f"{program} was not built: it needs "
                   "Open vSwitch (configure without --without-ovs) and DPDK "
                   "(apt-get install libdpdk-dev).")
        return
    for ratio, (name, peer) in RATIOS.items():
        bench.ratio(ratio, name, peer=peer)
    root = bench.scratch / "cost/host"
    root.parent.mkdir()
    for name, case in CASES.items():
        if name in QUICK or not bench.quick:
            bench.progress(name)
            measure_case(bench, root, name, case)
    if not bench.quick:
        for name, case in COUNTED.items():
            bench.progress(f"instructions: {name}")
            count_case(bench, root, name, case)
