"""Commands, waiting, and the exception that ends a test."""

import subprocess
import time

# How long anything may take that takes far less; a full core elsewhere on a
# small machine must not fail anybody.
PATIENCE = 20


class RigFailed(Exception):
    """A sentence for the person in front of the terminal."""


def run(*command, seconds=PATIENCE, check=True, **options):
    """Runs a command to its end and returns what it printed.  `options` are
    those of subprocess.run()."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=seconds,
                              check=False, **options)
    except subprocess.TimeoutExpired as late:
        raise RigFailed(f"`{' '.join(words)}` did not end within "
                        f"{seconds} s") from late
    except OSError as error:
        raise RigFailed(f"`{' '.join(words)}`: {error}") from error
    if check and done.returncode != 0:
        raise RigFailed(f"`{' '.join(words)}` failed with status "
                        f"{done.returncode}:\n{done.stdout.rstrip()}")
    return done.stdout


def wait_for(what, condition, seconds=PATIENCE):
    """Asks until `condition()` returns something true, and returns that."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise RigFailed(f"waited {seconds} s in vain for {what}")
        time.sleep(0.01)
    return answer
