"""A copy of the sources with a build of its own, to be broken."""

import os
import shlex
import shutil
import subprocess
import sys

BUILD_SECONDS = 900


def run(command, log, timeout, **more):
    """Exit status of `command`, 124 when it had to be killed."""
    with open(log, "ab") as out:
        out.write(f"$ {shlex.join(map(str, command))}\n".encode())
        out.flush()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True, **more)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            return 124
        except BaseException:
            os.killpg(process.pid, 9)
            raise


class Tree:
    """The copy of `original` below `where`.  `ovs` is the source and the
    build of Open vSwitch, without which only what needs none is built;
    `flags` are the compiler's and `targets` make's."""

    def __init__(self, original, where, ovs=("", ""), flags=(),
                 targets=("check-programs",)):
        self.original = original
        self.source = where / "source"
        self.build = where / "build"
        self.kept = where / "kept"
        # There while `build` is configured, and not half of a copy.
        self.complete = where / "complete"
        self.log = where / "log"
        self.ovs = ovs
        self.flags = flags
        self.targets = targets

    def prepare(self):
        try:
            self.source.mkdir(parents=True, exist_ok=True)
            if not self.complete.exists():
                shutil.rmtree(self.build, ignore_errors=True)
            self.build.mkdir(exist_ok=True)
            self.log.unlink(missing_ok=True)
        except OSError as why:
            sys.exit(f"no copy can be made in {self.source.parent} "
                     f"({why.strerror}): give another place in "
                     "NETVSC_MUTANTS_DIR")
        files = subprocess.run(
            ["git", "-C", self.original, "ls-files", "-z", "--cached",
             "--others", "--exclude-standard"],
            check=True, capture_output=True).stdout.decode().split("\0")
        for name in filter(None, files):
            origin, copy = self.original / name, self.source / name
            if not origin.exists():
                continue
            # An unchanged file keeps its time, and make its object.
            if copy.exists() and copy.read_bytes() == origin.read_bytes():
                continue
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(origin, copy)
        # Makefile is there before configure has finished.
        if not self.complete.exists():
            configure = [self.source / "configure", *self.flags]
            configure += ([f"--with-ovs-source={self.ovs[0]}",
                           f"--with-ovs-build={self.ovs[1]}"]
                          if self.ovs[0] else ["--without-ovs"])
            if (run([self.source / "boot.sh"], self.log, BUILD_SECONDS,
                    cwd=self.source) or
                    run(configure, self.log, BUILD_SECONDS, cwd=self.build)):
                sys.exit(f"configure failed, see {self.log}")
            self.complete.touch()

    def make(self):
        return run(["make", "-j2", "-C", self.build, *self.targets],
                   self.log, BUILD_SECONDS) == 0

    def keep(self):
        """Remembers sources and build as they are now: to bring them back
        takes a second, to build them again would take as long as a mutant."""
        shutil.rmtree(self.kept, ignore_errors=True)
        self.kept.mkdir()
        self._copy(self.source, self.build, self.kept)

    def restore(self):
        """Both are as they were at keep()."""
        self.complete.unlink()
        for each in self.source, self.build:
            shutil.rmtree(each)
            self._copy(self.kept / each.name, each.parent)
        self.complete.touch()

    def _copy(self, *paths):
        # With the times, which are what make looks at.
        if run(["cp", "-a", *paths], self.log, BUILD_SECONDS):
            sys.exit(f"a tree cannot be copied, see {self.log}")
