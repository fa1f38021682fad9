"""What goes into the two images: always, and for the needs that a scenario
names in its header."""

import os
import pathlib
import re
import subprocess
import tempfile

import packages
from images import Image, ImageError, output

HERE = pathlib.Path(__file__).resolve().parent

# L1 is always of this kind: it boots fastest.
HOST_KERNEL = "6.1-cloud"
HOST_MODULES = ("kvm_amd", "tun")
HOST_PROGRAMS = ("/bin/bash", "/sbin/ip")

GUEST_MODULES = ("hv_vmbus", "hv_netvsc", "uio", "uio_hv_generic")
GUEST_PROGRAMS = ("/bin/bash", "/sbin/ip")

# DPDK loads its drivers from here.
PMDS = pathlib.Path("/usr/lib/x86_64-linux-gnu/dpdk/pmds-23.0")
PMD_NAMES = ("librte_bus_vmbus.so.23", "librte_net_netvsc.so.23",
             "librte_mempool_ring.so.23")


class Build:
    """Where our own programs and those of Open vSwitch are."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.vmm = self.directory / "host/vmm/netvsc-vmm"
        self.switch = self.directory / "lib/ovs-vswitchd"

    def ovs(self):
        """Source and build tree of Open vSwitch: those of the environment,
        or those in the cache."""
        names = ("OVS_SRC", "OVS_BUILD")
        found = dict(os.environ)
        if not all(map(found.get, names)):
            found.update(re.findall(
                r"^(\w+)='(.*)'$",
                output(HERE.parent.parent / "build-aux/ovs-tree", "--where"),
                re.M))
        return [pathlib.Path(found[name]) for name in names]


def stripped(program):
    """A program of ours without its symbols, most of its size."""
    if not program.exists():
        raise ImageError(f"{program} is not there: `make check-programs` "
                         "builds it.")
    with tempfile.NamedTemporaryFile() as file:
        subprocess.run(["strip", "-o", file.name, str(program)], check=True)
        return pathlib.Path(file.name).read_bytes()


def own_program(image, program):
    image.file(f"usr/bin/{program.name}", stripped(program), 0o755)
    image.libraries(program)


# --- Needs -----------------------------------------------------------------

def need_ethtool(image, build, kernel):
    image.program("/usr/sbin/ethtool")


def need_driverctl(image, build, kernel):
    image.program(packages.unpacked("driverctl") / "usr/sbin/driverctl")


def need_switch(image, build, kernel):
    """Our ovs-vswitchd, and Open vSwitch's database and tools."""
    ovs_source, ovs_build = build.ovs()
    image.modules(kernel, ["tun"])
    image.file("etc/resolv.conf", "")
    own_program(image, build.switch)
    for name in ("ovsdb/ovsdb-server", "ovsdb/ovsdb-tool",
                 "utilities/ovs-vsctl", "utilities/ovs-appctl",
                 "utilities/ovs-ofctl"):
        own_program(image, ovs_build / name)
    image.file("rig/vswitch.ovsschema",
               ovs_source / "vswitchd/vswitch.ovsschema")


def need_testpmd(image, build, kernel):
    image.program("/usr/bin/dpdk-testpmd")
    image.program("/usr/bin/stdbuf")
    image.library("/usr/libexec/coreutils/libstdbuf.so")
    image.file("rig/queue_state.so",
               build.directory / "tests/kernel/queue_state.so", 0o755)
    for name in PMD_NAMES:
        image.library(PMDS / name)
        image.libraries(PMDS / name)


# By the name in a header, with the packages that have to be unpacked first.
NEEDS = {"ethtool": (need_ethtool, ()),
         "driverctl": (need_driverctl, ("driverctl",)),
         "switch": (need_switch, ()),
         "testpmd": (need_testpmd, ())}


def packages_for(scenarios):
    """Kernels and packages that these scenarios unpack."""
    kernels = {HOST_KERNEL, *(scenario.kernel for scenario in scenarios)}
    return sorted(kernels), sorted({packages.QEMU}.union(
        package for scenario in scenarios for need in scenario.needs
        for package in NEEDS[need][1]))


# --- The two images --------------------------------------------------------

def script(image, path, source):
    image.file(path, HERE / source, 0o755)


def guest_image(scenario, build):
    kernel = packages.Kernel(scenario.kernel)
    image = Image()
    for program in GUEST_PROGRAMS:
        image.program(program)
    image.modules(kernel, GUEST_MODULES)
    for need in scenario.needs:
        NEEDS[need][0](image, build, kernel)
    script(image, "init", "guest/init")
    script(image, "rig/library", "guest/library")
    script(image, "rig/common", "common")
    image.file("rig/settings", scenario.settings(kernel))
    return image


def host_image(scenario, build):
    """The image of L1; it carries kernel and image of the guest."""
    kernel = packages.Kernel(HOST_KERNEL)
    guest_kernel = packages.Kernel(scenario.kernel)
    image = Image()
    for program in HOST_PROGRAMS:
        image.program(program)
    image.modules(kernel, HOST_MODULES)
    own_program(image, build.vmm)
    script(image, "init", "host/init")
    for name in ("run", "console", "library"):
        script(image, f"rig/{name}", f"host/{name}")
    script(image, "rig/common", "common")
    image.file("rig/scenario", scenario.path)
    image.file("rig/settings", scenario.settings(guest_kernel))
    image.file("rig/guest-kernel", guest_kernel.image)
    image.file("rig/guest-initrd", guest_image(scenario, build).bytes())
    return image
