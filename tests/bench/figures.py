"""What samples say: medians, minima, spread, and who is better by how much.

Works on the samples of bench.json, which are dictionaries: section, case,
contender, unit, value, detail.
"""

import statistics

# Of these more is better; any other unit is a cost.
RATES = ("Mpps", "Gbit/s", "frames/s")


def is_rate(unit):
    return unit in RATES


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


class Figure:
    """All samples of one contender in one case."""

    def __init__(self, samples):
        self.section, self.case, self.contender, self.unit = (
            samples[0][key]
            for key in ("section", "case", "contender", "unit"))
        counting = [s for s in samples if "reject" not in s["detail"]]
        self.rejected = len(samples) - len(counting)
        self.reasons = sorted({s["detail"]["reject"] for s in samples
                               if "reject" in s["detail"]})
        self.values = sorted(s["value"] for s in counting)
        # Round by round; None where a sample does not count.
        self.rounds = [None if "reject" in s["detail"] else s["value"]
                       for s in samples]
        self.limits = sorted({s["detail"]["limit"] for s in counting
                              if s["detail"].get("limit")})

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def best(self):
        """The least cost or the highest rate: noise only makes worse."""
        return self.values[-1] if is_rate(self.unit) else self.values[0]

    @property
    def spread(self):
        """The distance between the quartiles, which one outlier in eight
        does not move."""
        low, high = quartiles(self.values)
        return high - low


def figures(samples):
    """[Figure], case by case, in the order in which first samples came."""
    cases = {}
    for sample in samples:
        case = tuple(sample[key] for key in ("section", "case", "unit"))
        cases.setdefault(case, {}).setdefault(sample["contender"],
                                              []).append(sample)
    return [Figure(group) for contenders in cases.values()
            for group in contenders.values()]


class Ratio:
    """How many times ours is better than the peer.

    The two take turns, so what slows the machine down for a while meets both
    samples of a round: the ratio is the median of those of the rounds."""

    def __init__(self, ours, peer):
        self.ours, self.peer = ours, peer
        self.best = self._of(ours.best, peer.best)
        pairs = [self._of(*pair) for pair in zip(ours.rounds, peer.rounds)
                 if None not in pair]
        if len(ours.rounds) != len(peer.rounds) or not pairs:
            pairs = [self._of(ours.median, peer.median)]
        self.value = statistics.median(pairs)
        low, high = quartiles(pairs)
        # Every fourth round put the two the other way round.
        self.equal = low < 1 < high

    def _of(self, ours, peer):
        return ours / peer if is_rate(self.ours.unit) else peer / ours


def ratios(found, wanted):
    """({name: Ratio}, {name: why there is none}) for the ratios that sections
    asked for, [{section, name, case, ours, peer}]."""
    have = {(f.section, f.case, f.contender): f for f in found if f.values}
    reasons = {(f.section, f.case, f.contender): f.reasons for f in found}
    there, missing = {}, {}
    for want in wanted:
        pair = [have.get((want["section"], want["case"], want[side]))
                for side in ("ours", "peer")]
        absent = [want[side] for side, figure in zip(("ours", "peer"), pair)
                  if figure is None]
        if absent:
            why = [reason for who in absent for reason in reasons.get(
                (want["section"], want["case"], who), ["none was taken"])]
            missing[want["name"]] = (f"no sample of {' and '.join(absent)} "
                                     f"in {want['case']} counts: {why[0]}")
        elif pair[0].unit != pair[1].unit:
            missing[want["name"]] = (f"{pair[0].unit} and {pair[1].unit} "
                                     f"cannot be compared")
        else:
            there[want["name"]] = Ratio(*pair)
    return there, missing
