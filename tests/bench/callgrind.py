"""What callgrind's output files say."""

import re


def total(profile):
    """Instructions in all functions."""
    return int(re.search(r"^(?:summary|totals): (\d+)", profile, re.M)[1])


def own_cost(profile, part):
    """What functions with `part` in their names cost by themselves.

    In callgrind's format a "fn=" line begins a function ("(number) name" the
    first time, then "(number)"); the lines "position cost" after it are its
    own, but for the one that follows a "calls=" line.
    """
    names = dict(re.findall(r"^c?fn=\((\d+)\) (.+)$", profile, re.M))
    cost = 0
    wanted = skip = False
    for line in profile.splitlines():
        if match := re.match(r"fn=\((\d+)\)", line):
            wanted = part in names.get(match[1], "")
        elif line.startswith("calls="):
            skip = True
        elif match := re.match(r"[+*-]?\d* (\d+)$", line):
            if wanted and not skip:
                cost += int(match[1])
            skip = False
    return cost
