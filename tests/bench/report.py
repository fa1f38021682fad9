#!/usr/bin/python3
"""Shows what the bench found: as a table, and as a picture for the README.

usage: tests/bench/report.py BENCH.JSON [PICTURE.SVG]
"""

import json
import pathlib
import sys

sys.dont_write_bytecode = True       # leave no cache in the source tree

from figures import figures, is_rate, ratios             # noqa: E402

WIDTH = 78
# What the data path was built to reach.
GOALS = {
    "cost_rx_64_r32_vs_dpdk": 1.3,
    "cost_rx_64_r1_vs_dpdk": 2,
    "cost_rx_imix_r32_vs_dpdk": 1,
    "cost_tx_imix_vs_dpdk": 1,
    "cost_tx_64_a8_vs_dpdk": 1.5,
    "cost_tx_64_a1_vs_dpdk": 2,
    "cost_rx_1500_r32_vs_dpdk": 1,
    "cost_tx_1500_vs_dpdk": 1,
    "goodput_rx_64_r1_vs_dpdk": 3,
    "goodput_rx_64_r32_vs_dpdk": 2,
    "goodput_fwd_64_vs_dpdk": 2,
    "goodput_rx_64_r1_overload_vs_peak": 0.9,
    "goodput_rx_64_r32_overload_vs_peak": 0.9,
    "goodput_fwd_64_overload_vs_peak": 0.9,
    "ovs_p2p_64_vs_dpdk": 1.3,
    "ovs_p2p_64_overload_vs_dpdk": 3,
    "ovs_p2p_64_vs_afxdp": 2,
    "ovs_p2p_64_vs_system": 2,
}


def number(value):
    """Three digits that mean something."""
    places = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{places}f}"


def heading(text):
    return f"\n--- {text} " + "-" * max(0, WIDTH - 5 - len(text))


# --- The table -------------------------------------------------------------

def table(found):
    """One row for each contender, below the case that it took part in."""
    lines = []
    section = case = None
    for figure in found:
        if figure.section != section:
            section, case = figure.section, None
            lines += [heading(section), f"{'':<52}"
                      f"{'best':>8}{'median':>8}{'spread':>8}"]
        if (figure.case, figure.unit) != case:
            case = figure.case, figure.unit
            lines.append(f"{figure.case}: {figure.unit}")
        row = f"    {figure.contender:<48}"
        if figure.values:
            row += (f"{number(figure.best):>8}{number(figure.median):>8}"
                    f"{number(figure.spread):>8}")
        else:
            row += f"{'no sample counts':>24}"
        row += "*" if figure.limits else ""
        row += "!" if figure.rejected else ""
        lines.append(row)
    marks = []
    if any(f.limits for f in found):
        marks.append("* something else was the bottleneck: "
                     + ", ".join(sorted({l for f in found
                                         for l in f.limits})))
    rejected = sum(f.rejected for f in found)
    if rejected:
        marks.append(f"! {rejected} samples do not count; bench.json says why")
    return lines + ([""] + marks if marks else [])


def ratio_rows(there, missing):
    lines = [heading("ratios: above 1 ours is better"),
             f"{'':<34}{'median':>8}{'best':>8}{'goal':>9}"]
    for name, ratio in there.items():
        goal = GOALS.get(name)
        wanted, verdict = "", ""
        if goal is not None:
            wanted = f">= {goal:g}"
            verdict = "reached" if ratio.value >= goal else "not reached"
        if ratio.equal:
            verdict += f"{', ' if verdict else ''}equal within the spread"
        lines.append(f"{name:<34}{ratio.value:>8.2f}{ratio.best:>8.2f}"
                     f"{wanted:>9}  {verdict}".rstrip())
    for name, why in missing.items():
        lines.append(f"{name:<34}  {why}")
    return lines


def show(data):
    """The whole report as text."""
    found = figures(data["samples"])
    there, missing = ratios(found, data["wanted"])
    lines = table(found)
    if data["wanted"]:
        lines += ratio_rows(there, missing)
    if data["instructions"]:
        lines.append(heading("instructions for a frame, by callgrind"))
        lines += [f"{name:<26}{value:>8.1f}"
                  for name, value in data["instructions"].items()]
    if data["skipped"]:
        lines.append(heading("left out"))
        lines += [f"{s['section']}, {s['case']}, {s['contender']}: "
                  f"{s['reason']}" for s in data["skipped"]]
    for section, why in data["failed"].items():
        lines += [heading(f"FAILED: {section}"), why]
    machine, versions = data["machine"], data["versions"]
    lines += ["", f"{machine['cpu']}, {machine['cores']} cores, Linux "
              f"{machine['kernel']}; "
              + ", ".join(f"{k} {v}" for k, v in versions.items() if v)]
    return "\n".join(lines)


# --- The picture -----------------------------------------------------------

# Ours stand out; peers are paler, and the same in all panels.
COLOURS = {"netvsc": "#1f6f9f", "dpdk": "#9aa5b1", "afxdp": "#8fb8a8", "system": "#b9a3c9"}
OURS_TOO = "#5fa8d3"
ANOTHER = "#d3a29a"
TITLES = {
    "cost": "Cost: one thread",
    "goodput": "Goodput: two cores",
    "switch": "Switch: Open vSwitch, port to port, one PMD thread",
}


def colour(contender):
    return COLOURS.get(contender, OURS_TOO if contender.startswith("netvsc")
                       else ANOTHER)


def panels(data):
    """{(section, unit): {case: [Figure]}} of the cases that a ratio is
    made of."""
    compared = {(w["section"], w["case"]) for w in data["wanted"]}
    shown = {}
    for figure in figures(data["samples"]):
        if (figure.section, figure.case) in compared and figure.values:
            shown.setdefault((figure.section, figure.unit), {}).setdefault(
                figure.case, []).append(figure)
    return shown


def draw(data, path):
    """Bars are medians, lines reach from the least to the greatest sample."""
    import matplotlib
    matplotlib.use("svg")
    # Equal data make an equal file.
    matplotlib.rcParams.update({"svg.hashsalt": "bench", "font.size": 9})
    from matplotlib import pyplot

    shown = panels(data)
    if not shown:
        return False
    # An inch for what surrounds a panel, a sixth for a bar, and as much
    # between cases.
    heights = [1.0 + sum(len(f) + 1 for f in cases.values()) / 6
               for cases in shown.values()]
    figure, axes = pyplot.subplots(
        len(shown), 1, figsize=(8.6, sum(heights)), squeeze=False,
        gridspec_kw={"height_ratios": heights}, facecolor="white")
    for axis, ((section, unit), cases) in zip(axes[:, 0], shown.items()):
        draw_panel(axis, section, unit, cases)
    machine = data["machine"]
    figure.text(0.99, 0.004, f"{machine['cpu']}, {machine['cores']} cores, "
                f"Linux {machine['kernel']}, {data['date'][:10]}",
                ha="right", fontsize=7, color="#606060")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return True


def draw_panel(axis, section, unit, cases):
    place, ticks, labelled = 0, [], set()
    for case, group in cases.items():
        ticks.append((place + (len(group) - 1) / 2, case))
        for f in group:
            axis.barh(place, f.median, 0.9, color=colour(f.contender),
                      label=(f.contender if f.contender not in labelled
                             else None))
            labelled.add(f.contender)
            axis.plot([f.values[0], f.values[-1]], [place, place],
                      color="#404040", linewidth=0.8)
            axis.annotate(number(f.median) + ("*" if f.limits else ""),
                          (max(f.median, f.values[-1]), place), (3, 0),
                          textcoords="offset points", va="center",
                          fontsize=7.5)
            place += 1
        place += 1
    axis.set_yticks([y for y, _ in ticks], [case for _, case in ticks])
    axis.invert_yaxis()
    axis.set_xlabel(f"{unit} ({'more' if is_rate(unit) else 'less'} is "
                    f"better)")
    axis.set_title(TITLES.get(section, section), loc="left", fontsize=10)
    axis.margins(x=0.08)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False,
                fontsize=8)


def main():
    if len(sys.argv) not in (2, 3):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    try:
        data = json.loads(pathlib.Path(sys.argv[1]).read_text())
        text = show(data)
    except OSError as why:
        sys.exit(f"report.py: {sys.argv[1]} cannot be read: {why.strerror}")
    except (ValueError, KeyError, TypeError):
        sys.exit(f"report.py: {sys.argv[1]} is not what `make bench` writes")
    print(text)
    if len(sys.argv) == 3:
        draw(data, sys.argv[2])
    return 0


if __name__ == "__main__":
    sys.exit(main())
