"""Scenarios: what a file below scenarios/ says in its header, and the
variants in which it is run."""

import dataclasses
import itertools
import os
import pathlib
import re

import packages

HERE = pathlib.Path(__file__).resolve().parent
DIRECTORY = HERE / "scenarios"

# Seconds for a scenario from the start of L1 to its verdict.
DEADLINE = 180
# What is left of it when the guest's own deadline has come.
RESERVE = 20
# MiB of the guest: a kernel, two NICs with 48 MiB of buffers each, and tools.
MEMORY = 384

# Stable, so that a log is easy to read: the NIC of number n.
GUID = "6f1dd6f2-8a4c-4c3e-9a51-7d2f5c0e000{}"
MAC = "00:15:5d:00:0a:0{}"


class ScenarioError(Exception):
    """A sentence for whoever wrote the scenario."""


@dataclasses.dataclass(frozen=True)
class Nic:
    name: str  # in the guest
    number: int
    keys: str  # for the VMM, on top of ours

    @property
    def guid(self):
        return GUID.format(self.number)

    @property
    def mac(self):
        return MAC.format(self.number)


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One boot of a guest.  `name` is FILE/KERNEL/VCPUS."""

    name: str
    path: pathlib.Path
    title: str
    kernel: str
    vcpus: int
    nics: tuple
    needs: tuple = ()  # bundles of bundles.py
    vmm: str = ""  # more options of the VMM
    append: str = ""  # to the guest's command line
    memory: int = MEMORY
    deadline: int = DEADLINE
    quick: bool = False  # its first variant is part of `make check`

    def settings(self, kernel):
        """What the scripts on both sides know of it."""
        lines = {"nics": " ".join(nic.name for nic in self.nics),
                 "kernel": self.kernel, "kernel_release": kernel.release,
                 "vcpus": self.vcpus, "memory": self.memory,
                 "deadline": self.deadline - min(RESERVE,
                                                 self.deadline // 5),
                 "vmm_options": self.vmm, "append": self.append,
                 "impatience": os.environ.get("NETVSC_IMPATIENCE", "")}
        for nic in self.nics:
            lines[f"guid_{nic.name}"] = nic.guid
            lines[f"mac_{nic.name}"] = nic.mac
            lines[f"number_{nic.name}"] = nic.number
            lines[f"keys_{nic.name}"] = ",".join(
                filter(None, (f"mac={nic.mac}", nic.keys)))
        return "".join(f"{name}='{value}'\n"
                       for name, value in lines.items())


KEYS = ("kernels", "vcpus", "nic", "needs", "vmm", "append", "memory",
        "deadline", "quick")


def header(path):
    """The title and the values of each key, from the comment at the top."""
    text, values = [], {}
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        match = re.match(r"# ([a-z]+): +(.*)$", line)
        if not match:
            text.append(line.lstrip("# "))
            continue
        if match[1] not in KEYS:
            raise ScenarioError(f"{path}: no key is called {match[1]}, only "
                                + ", ".join(KEYS))
        values.setdefault(match[1], []).append(match[2].strip())
    return " ".join(filter(None, text)), values


def variants(path):
    """The scenarios of a file, in the order of its header."""
    title, values = header(path)

    def words(key, default=""):
        return " ".join(values.get(key, [default])).split()

    nics = []
    for number, line in enumerate(values.get("nic", []), 1):
        name, _, keys = line.partition(" ")
        nics.append(Nic(name, number, keys.strip()))
    for kernel, vcpus in itertools.product(words("kernels"),
                                           words("vcpus", "1")):
        if kernel not in packages.KERNELS:
            raise ScenarioError(f"{path}: no kernel is called {kernel}, only "
                                + ", ".join(packages.KERNELS))
        yield Scenario(
            name=f"{path.name}/{kernel}/{vcpus}", path=path, title=title,
            kernel=kernel, vcpus=int(vcpus), nics=tuple(nics),
            needs=tuple(words("needs")), vmm=" ".join(words("vmm")),
            append=" ".join(words("append")),
            memory=int(" ".join(words("memory", str(MEMORY)))),
            deadline=int(" ".join(words("deadline", str(DEADLINE)))),
            quick=words("quick") == ["yes"])


def scenario_at(path):
    """The only variant of a file that is not below scenarios/."""
    (only,) = variants(path)
    return only


def all_scenarios():
    return [scenario for path in sorted(DIRECTORY.iterdir())
            for scenario in variants(path)]
