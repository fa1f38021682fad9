"""One section of the bench, in a process of its own below tests/private: it
may do what it likes to the network, and what it leaves behind goes with it.

usage: section.py NAME DESCRIPTOR SETTINGS

What the section measures goes to the file descriptor, an object of JSON a
line, so that a section that is cut short has still said what it knew.
"""

import importlib
import json
import os
import pathlib
import sys

sys.dont_write_bytecode = True       # leave no cache in the source tree

HERE = pathlib.Path(__file__).resolve().parent


class Bench:
    """What the `measure` of a section's module is given."""

    def __init__(self, stream, settings):
        self._stream = stream
        self.source = HERE.parent.parent
        self.build = pathlib.Path(settings["build"])
        # Where the section may leave logs.
        self.directory = pathlib.Path(settings["directory"])
        # And whatever goes when the bench ends.
        self.scratch = pathlib.Path(settings["scratch"])
        self.quick = settings["quick"]
        # The contenders take turns so many times.
        self.rounds = 3 if self.quick else 8
        # Seconds until the section is ended from outside.
        self.deadline = settings["deadline"]
        # Whether there are huge pages for DPDK's 256 MiB.
        self.huge_pages = settings["huge_pages"]

    def _say(self, kind, **what):
        self._stream.write(json.dumps({"kind": kind, **what}) + "\n")
        self._stream.flush()

    def progress(self, text):
        """What is being done now, for the person in front of it."""
        self._say("progress", text=text)

    def add(self, case, contender, unit, value, **detail):
        """One sample.  `detail` is kept with it; two keys have a meaning:
        limit="generator" says that something else than the contender was the
        bottleneck (the table marks it), and reject="why" that the sample
        counts in no figure."""
        self._say("sample", case=case, contender=contender, unit=unit,
                  value=value, detail=detail)

    def ratio(self, name, case, ours="netvsc", peer="dpdk"):
        """Compares two contenders of a case under a name in `ratios`."""
        self._say("ratio", name=name, case=case, ours=ours, peer=peer)

    def skip(self, case, contender, reason):
        """What this machine cannot do, in a sentence."""
        self._say("skip", case=case, contender=contender, reason=reason)

    def count(self, instructions):
        """{name: instructions for a frame}."""
        self._say("instructions", found=instructions)


def main():
    name, descriptor, settings = sys.argv[1:]
    sys.path.insert(0, str(HERE.parent))
    with os.fdopen(int(descriptor), "w") as stream:
        importlib.import_module(name).measure(
            Bench(stream, json.loads(settings)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
