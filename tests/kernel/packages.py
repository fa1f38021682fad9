"""Debian packages that are looked into and never installed: kernels, and
tools that this machine itself has no use for.

Each is downloaded once, with apt as this machine is set up for it, unpacked
below the cache that quickstart uses, and kept.  `rm -r` of the package's
directory there is the way to get a newer one.
"""

import fcntl
import os
import pathlib
import platform
import re
import shutil
import subprocess
import tempfile

# Whichever release of Debian this machine has, the kernels are those of
# Debian 12 and of its backports.
SUITE = "bookworm"
BACKPORTS = SUITE + "-backports"

# From the name that scenarios use to the package that depends on the newest
# kernel of its kind, and the suite that it is in.
KERNELS = {
    "6.1-cloud": ("linux-image-cloud-amd64", SUITE),
    "6.1-generic": ("linux-image-amd64", SUITE),
    "6.12-cloud": ("linux-image-cloud-amd64", BACKPORTS),
    "6.12-generic": ("linux-image-amd64", BACKPORTS),
}

# The emulator of L1 is that of this machine's release, whose libraries it
# uses, but Debian 12's from the backports.  QEMU 7.2 of Debian 12 itself loses
# machines that run KVM: under a guest's load each lives for about a minute, and
# the flags after CMPXCHG16B are wrong.
QEMU = "qemu-system-x86"

# Knows where this machine's apt gets Debian's suites from.
DEBIAN_ARCHIVE = (pathlib.Path(__file__).parents[2]
                  / "build-aux/debian-archive")

# Commands that talk to an archive.
NETWORK_SECONDS = 300


class PackageError(Exception):
    """A sentence for whoever runs the rig."""


def cache():
    home = pathlib.Path(os.environ.get("XDG_CACHE_HOME")
                        or pathlib.Path.home() / ".cache")
    return (pathlib.Path(os.environ.get("NETVSC_CACHE")
                         or home / "ovs-netvsc") / "kernels")


def run(*command, directory=None):
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, cwd=directory, text=True,
                              stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT,
                              timeout=NETWORK_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PackageError(f"`{' '.join(words)}`: {error}") from error
    if done.returncode:
        raise PackageError(f"`{' '.join(words)}` failed with status "
                           f"{done.returncode}:\n{done.stdout.rstrip()}")
    return done.stdout


class Archive:
    """Debian's archive with the backports, through apt with state of its own:
    this machine's sources, lists and packages stay as they are."""

    def __init__(self, directory):
        self.directory = directory
        own = platform.freedesktop_os_release()["VERSION_CODENAME"]
        self.qemu_suite = BACKPORTS if own == SUITE else own
        sources = "".join(
            run(DEBIAN_ARCHIVE, "lines", suite)
            for suite in dict.fromkeys((SUITE, BACKPORTS, own)))
        (directory / "sources.list").write_text(sources)
        for name in ("state/lists/partial", "cache/archives/partial"):
            (directory / name).mkdir(parents=True)
        (directory / "state/status").touch()
        self.options = [
            "-o", f"Dir::State={directory}/state",
            "-o", f"Dir::State::status={directory}/state/status",
            "-o", f"Dir::Cache={directory}/cache",
            "-o", f"Dir::Etc::sourcelist={directory}/sources.list",
            "-o", "Dir::Etc::sourceparts=/dev/null",
            "-o", "APT::Sandbox::User=root",
            "-o", "Acquire::Languages=none"]
        run("apt-get", *self.options, "update")

    def newest(self, package, suite):
        """NAME=VERSION of the kernel that a package stands for, in a suite and
        its updates."""
        backported = suite == BACKPORTS
        for text in run("apt-cache", *self.options, "show",
                        package).split("\n\n"):
            version = re.search(r"^Version: (.*)$", text, re.M)
            depends = re.search(r"^Depends: (linux-image-\S+) \(= (\S+)\)",
                                text, re.M)
            if version and depends and backported == ("~bpo" in version[1]):
                return f"{depends[1]}={depends[2]}"
        raise PackageError(f"{package} is not in {suite} of this machine's "
                           "Debian archive.")

    def unpack(self, package, directory):
        """Unpacks a package, NAME, NAME=VERSION or NAME/SUITE, into a new
        directory, all of it or nothing."""
        with tempfile.TemporaryDirectory(dir=directory.parent) as scratch:
            run("apt-get", *self.options, "download", package,
                directory=scratch)
            for package_file in pathlib.Path(scratch).glob("*.deb"):
                run("dpkg-deb", "--extract", package_file,
                    f"{scratch}/files")
            os.rename(f"{scratch}/files", directory)


def provide(kernels, packages):
    """Downloads what is not there yet; returns a line for each that was."""
    top = cache()
    try:
        top.mkdir(parents=True, exist_ok=True)
        lock = open(top / "lock", "w", encoding="ascii")
    except OSError as why:
        raise PackageError(
            f"kernels cannot be kept in {top} ({why.strerror}): give another "
            "place in NETVSC_CACHE") from why
    news = []
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        absent = [name for name in (*kernels, *packages)
                  if not (top / name).exists()]
        if not absent:
            return news
        # What a killed run has left.
        for scratch in (*top.glob("tmp*"), *top.glob("apt.*")):
            shutil.rmtree(scratch)
        with tempfile.TemporaryDirectory(prefix="apt.", dir=top) as scratch:
            archive = Archive(pathlib.Path(scratch))
            for name in absent:
                package = (archive.newest(*KERNELS[name]) if name in kernels
                           else f"{name}/{archive.qemu_suite}"
                           if name == QEMU
                           else name)
                archive.unpack(package, top / name)
                news.append(f"{name}: {package}")
    return news


class Kernel:
    """A kernel in the cache: its image and its modules."""

    def __init__(self, name):
        self.name = name
        self.top = cache() / name
        (self.image,) = self.top.glob("boot/vmlinuz-*")
        self.release = self.image.name.removeprefix("vmlinuz-")
        self.modules = self.top / "lib/modules" / self.release

    def __str__(self):
        return self.release


def qemu():
    """The emulator; its libraries and firmware are those of the package that
    is installed."""
    return unpacked(QEMU) / "usr/bin/qemu-system-x86_64"


def unpacked(package):
    return cache() / package
