"""Section "instructions": what `make check` guards, for the report."""

import json
import subprocess


def measure(bench):
    bench.progress("callgrind counts the driver's instructions")
    found = bench.directory / "instructions.json"
    found.unlink(missing_ok=True)
    # It fails when a bound is exceeded, and its numbers are there all the
    # same: it is `make check` that judges them.
    subprocess.run([bench.source / "tests/bench/instructions", bench.build,
                    "--json", found], stdin=subprocess.DEVNULL, check=False)
    bench.count(json.loads(found.read_text()))
