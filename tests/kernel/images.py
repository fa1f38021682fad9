"""Initial RAM file systems, put together from files of this machine: programs
with the libraries that they load, kernel modules with those they depend on,
and scripts.  Nothing has to be run as root and nothing is unpacked anywhere.
"""

import io
import lzma
import os
import pathlib
import re
import stat
import subprocess

BUSYBOX = pathlib.Path("/bin/busybox")

# Where everything that is run is, by one name: /bin, /sbin and /usr/sbin are
# links to it.
PROGRAMS = "usr/bin"
LINKS = {"bin": "usr/bin", "sbin": "usr/bin", "usr/sbin": "bin",
         "lib": "usr/lib", "lib64": "usr/lib64"}
DIRECTORIES = ("dev", "etc", "mnt", "proc", "rig", "root", "run", "sys",
               "tmp", "usr/bin", "usr/lib", "usr/lib64", "var/log",
               "var/run")


class ImageError(Exception):
    """A sentence for whoever runs the rig."""


def output(*command):
    done = subprocess.run([str(word) for word in command], text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise ImageError(f"`{' '.join(map(str, command))}` failed with status "
                         f"{done.returncode}: {done.stdout.strip()}")
    return done.stdout


def libraries(program):
    """What a dynamically linked program loads; nothing for a script or a
    static one."""
    with open(program, "rb") as file:
        if file.read(4) != b"\x7fELF":
            return []
    done = subprocess.run(["ldd", str(program)], capture_output=True,
                          text=True, check=False)
    if "not a dynamic executable" in done.stdout + done.stderr:
        return []
    missing = re.findall(r"^\s*(\S+) => not found", done.stdout, re.M)
    if done.returncode or missing:
        raise ImageError(f"{program} cannot be loaded here: "
                         f"{', '.join(missing) or done.stderr.strip()}")
    return re.findall(r"(/\S+) \(0x", done.stdout)


class Image:
    """A file system in the making: what is at each path."""

    def __init__(self):
        self.entries = {}  # path: (mode, content or source, device number)
        for name in DIRECTORIES:
            self.directory(name)
        for name, target in LINKS.items():
            self.link(name, target)
        # The kernel opens it before anything is mounted.
        self.entries["dev/console"] = (stat.S_IFCHR | 0o600, b"", (5, 1))
        self.program(BUSYBOX)

    def directory(self, path):
        parent = os.path.dirname(path)
        if parent:
            self.directory(parent)
        self.entries.setdefault(path, (stat.S_IFDIR | 0o755, b"", (0, 0)))

    def link(self, path, target):
        self.directory(os.path.dirname(path) or "dev")
        self.entries[path] = (stat.S_IFLNK | 0o777, target.encode(), (0, 0))

    def file(self, path, content, mode=0o644):
        """`content` is text, bytes, or the path of a file to copy."""
        path = self.resolve(str(path).lstrip("/"))
        self.directory(os.path.dirname(path))
        if isinstance(content, str):
            content = content.encode()
        self.entries[path] = (stat.S_IFREG | mode, content, (0, 0))

    @staticmethod
    def resolve(path):
        """Without the links above."""
        for name, target in (("sbin/", "usr/bin/"), ("bin/", "usr/bin/"),
                             ("usr/sbin/", "usr/bin/"), ("lib/", "usr/lib/"),
                             ("lib64/", "usr/lib64/")):
            if path.startswith(name):
                return target + path.removeprefix(name)
        return path

    def program(self, source, name=None):
        """A program below PROGRAMS, with its libraries."""
        source = pathlib.Path(source)
        if not source.exists():
            raise ImageError(f"{source} is not there; build-aux/packages "
                             "lists what the rig needs, and `make "
                             "check-programs` builds what is ours.")
        self.file(f"{PROGRAMS}/{name or source.name}", source, 0o755)
        self.libraries(source)

    def libraries(self, source):
        for library in libraries(source):
            self.library(library)

    def library(self, path):
        """The file and, as here, the link by which it is found: one that
        were there twice could be loaded twice."""
        real = self.resolve(os.path.realpath(path).lstrip("/"))
        self.file(real, pathlib.Path(path), 0o755)
        if (name := self.resolve(str(path).lstrip("/"))) != real:
            self.link(name, f"/{real}")

    def modules(self, kernel, names):
        """Modules of a kernel, with those they depend on; one that is built
        into this kernel is left out."""
        available = {re.sub(r"\.ko.*$", "", path.name).replace("-", "_"): path
                     for path in kernel.modules.rglob("*.ko*")}
        wanted = [name.replace("-", "_") for name in names]
        for name in wanted:
            path = available.get(name)
            if path is None:
                continue
            content = path.read_bytes()
            if path.suffix == ".xz":
                content = lzma.decompress(content)
            self.file(f"lib/modules/{kernel.release}/{name}.ko", content)
            depends = re.search(rb"\0depends=([^\0]*)\0", content)
            for other in depends[1].decode().split(",") if depends else ():
                other = other.replace("-", "_")
                if other and other not in wanted:
                    wanted.append(other)

    def applets(self):
        """The rest of busybox, where there is no program of that name."""
        for name in output(BUSYBOX, "--list").split():
            path = f"{PROGRAMS}/{name}"
            if path not in self.entries:
                self.link(path, "busybox")

    def write(self, out):
        """Writes the archive, format "newc" of cpio(5)."""
        self.applets()
        number = 0
        for path in sorted(self.entries):
            mode, content, device = self.entries[path]
            if isinstance(content, pathlib.Path):
                content = content.read_bytes()
            number += 1
            write_member(out, number, path, mode, content, device)
        write_member(out, 0, "TRAILER!!!", 0, b"", (0, 0))

    def bytes(self):
        out = io.BytesIO()
        self.write(out)
        return out.getvalue()


def write_member(out, number, path, mode, content, device):
    name = path.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, *device,
              len(name), 0)
    header = (b"070701" + b"".join(b"%08x" % field for field in fields)
              + name)
    out.write(header + bytes(-len(header) % 4))
    out.write(content)
    out.write(bytes(-len(content) % 4))
