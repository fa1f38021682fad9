"""Scenarios: what a file below scenarios/ says in its header, and the
variants in which it is run."""

import dataclasses
import itertools
import os
import pathlib
import re
import subprocess

import packages
from bundles import NEEDS

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
NAME = re.compile(r"[A-Z]\d+(-[a-z0-9.]+)+")
NIC = re.compile(r"[a-z][a-z0-9]*")

# The least and the most of what a header can ask for: a kernel needs a quarter
# of a GiB to unpack itself and its image, and nobody waits for an hour.
LIMITS = {"vcpus": (1, 8), "memory": (256, 8192), "deadline": (10, 3600)}


class Header:
    """The comment at the top: a title, and the values of each key."""

    def __init__(self, path):
        self.path = path
        self.values = {}
        title = []
        top = True
        for self.line, line in enumerate(path.read_text().splitlines(), 1):
            top &= line.startswith("#")
            key = re.match(r"#+\s*([A-Za-z]+)\s*:", line)
            if not key or key[1].lower() not in KEYS:
                unknown = re.match(r"# ([a-z]+): ", line)
                if top and unknown:
                    self.refuse(f"no key is called {unknown[1]}, only "
                                + ", ".join(KEYS))
                if top:
                    title.append(line.lstrip("# "))
            elif not top:
                self.refuse("a key below the header, which ends at the first "
                            "line without a #")
            elif not (value := re.match(rf"# {key[1].lower()}: +(\S.*)$",
                                        line)):
                self.refuse(f"a key is written as `# {key[1].lower()}: "
                            "VALUE`")
            else:
                self.values.setdefault(key[1], []).append(value[1].strip())
        self.title = " ".join(filter(None, title))

    def refuse(self, why):
        raise ScenarioError(f"{self.path}:{self.line}: {why}")

    def words(self, key, default=""):
        return " ".join(self.values.get(key, [default])).split()

    def choices(self, key, among, default=""):
        """Words of which each has to be one of several."""
        for word in (words := self.words(key, default)):
            if word not in among:
                self.refuse(f"{key}: {word} is none of {', '.join(among)}")
        return words

    def number(self, key, word):
        least, most = LIMITS[key]
        if not word.isascii() or not word.isdigit() or not (
                least <= int(word) <= most):
            self.refuse(f"{key}: {word} is no number from {least} to {most}")
        return int(word)

    def nics(self):
        for number, line in enumerate(self.values.get("nic", []), 1):
            name, _, keys = line.partition(" ")
            if not NIC.fullmatch(name):
                self.refuse(f"nic: {name} is no name of letters and digits")
            yield Nic(name, number, keys.strip())


def check_steps(path):
    """There is something to be judged, and bash can read it."""
    if not re.search(r"^\s*[^#\s]", path.read_text(), re.M):
        raise ScenarioError(f"{path}: there is no step below the header")
    read = subprocess.run(["bash", "-n", path], stdin=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, check=False)
    if read.returncode:
        raise ScenarioError(read.stderr.strip())


def variants(path):
    """The scenarios of a file, in the order of its header."""
    try:
        header = Header(path)
    except (OSError, UnicodeDecodeError) as why:
        raise ScenarioError(f"{path} is no scenario: {why}") from why
    check_steps(path)
    if not header.words("kernels"):
        header.refuse("the header has no line `# kernels: ...`, so that "
                      "nothing would be run")
    for kernel, vcpus in itertools.product(
            header.choices("kernels", packages.KERNELS),
            header.words("vcpus", "1")):
        yield Scenario(
            name=f"{path.name}/{kernel}/{vcpus}", path=path,
            title=header.title, kernel=kernel,
            vcpus=header.number("vcpus", vcpus), nics=tuple(header.nics()),
            needs=tuple(header.choices("needs", NEEDS)),
            vmm=" ".join(header.words("vmm")),
            append=" ".join(header.words("append")),
            memory=header.number("memory", " ".join(
                header.words("memory", str(MEMORY)))),
            deadline=header.number("deadline", " ".join(
                header.words("deadline", str(DEADLINE)))),
            quick=header.choices("quick", ("yes", "no"), "no") == ["yes"])


def scenario_at(path):
    """The only variant of a file that is not below scenarios/."""
    (only,) = variants(path)
    return only


def all_scenarios(directory=DIRECTORY):
    found = []
    for path in sorted(directory.iterdir()):
        # What editors leave.
        if path.name.startswith(".") or path.name.endswith("~"):
            continue
        if not NAME.fullmatch(path.name):
            raise ScenarioError(f"{path}: a scenario's name is a letter and a "
                                "number, then words: A1-attach")
        found += variants(path)
    return found
