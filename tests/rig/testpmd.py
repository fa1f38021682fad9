"""netvsc-host with two NICs, a tap and a network namespace for each, and DPDK's
testpmd forwarding from one NIC to the other.
"""

import contextlib
import os
import pathlib
import re
import select
import subprocess
import time

from . import host
from .frames import TapEnd, enter
from .tools import PATIENCE, RigFailed, run, wait_for

# Receive descriptors of testpmd's ports.  The PMD empties the host's ring
# into a queue of this length and drops the rest, so what is under way must be
# fewer.
DESCRIPTORS = 1024
WINDOW = 256

# What has not changed for so long is at rest.
QUIET_SECONDS = 0.05


def end(process):
    """Kills a child that is still there."""
    if process.poll() is None:
        process.kill()
    process.wait()


class Nic:
    """A NIC of the host, the namespace of its tap, and the address there."""

    def __init__(self, number):
        self.guid = f'6f76736e-7065-6572-0000-00000000000{number}'
        self.mac = f'00:15:5d:00:00:0{number}'
        self.tap = f'peer{number}'
        self.namespace = f'network{number}'
        self.address4 = f'192.0.2.{number}'
        self.address6 = f'2001:db8::{number}'


NICS = Nic(1), Nic(2)


class Host(host.Host):
    """A child of ours, whose end is looked at; the NICs' taps are in their
    namespaces and up."""

    def __init__(self, build, directory, options=''):
        super().__init__(build, directory / 'root', directory / 'host.log')
        self.trace = directory / 'trace'
        self.root.mkdir(parents=True)
        # From its first moment on, a tap must carry nothing but our frames.
        set_ipv6('default', False)
        command = [self.program, f'--root={self.root}', '--gpa=process',
                   f'--trace={self.trace}', '--trace-snap=32',
                   f'--log-file={self.log}']
        for nic in NICS:
            command += ['--nic', f'guid={nic.guid},mac={nic.mac},'
                        f'tap={nic.tap}{options}']
        with (directory / 'host.out').open('wb') as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output)
        try:
            wait_for('netvsc-host to answer', self.answers)
            for nic in NICS:
                attach_to_network(nic)
        except BaseException:
            self.kill()
            raise

    def answers(self):
        self.check()
        try:
            return self.control('list') is not None
        except OSError:
            return False

    def check(self):
        if self.process.poll() is not None:
            raise RigFailed('netvsc-host has ended by itself: status '
                            f'{self.process.returncode}')

    def statistics(self, nic):
        self.check()
        return super().statistics(nic)

    def quiet(self):
        """Waits until nothing is under way; returns both NICs' counters.

        At rest is what does not change and what has all its sections back;
        what a dead guest owes, the books of its session show for ever.
        """
        before = None

        def settled():
            nonlocal before
            time.sleep(QUIET_SECONDS)
            now = [self.statistics(nic) for nic in NICS]
            seen = [(c['rx'], c['tx'], c['tap']) for c in now]
            unchanged, before = seen == before, seen
            return now if unchanged and all(
                c['state'] == 'closed' or
                c['rx']['suballocs_outstanding'] == c['tx']['outstanding'] == 0
                for c in now) else None

        return wait_for('all sections to be back', settled)

    def quit(self):
        """Ends the host, which has to go without complaint."""
        self.control('quit')
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise RigFailed(f'netvsc-host still runs {PATIENCE} s after quit')
        if status != 0:
            raise RigFailed(f'netvsc-host ended with status {status}')

    def kill(self):
        end(self.process)
        for nic in NICS:
            if pathlib.Path(f'/run/netns/{nic.namespace}').exists():
                run('ip', 'netns', 'delete', nic.namespace)


def attach_to_network(nic):
    """Moves a NIC's tap into a namespace of its own, without an address: the
    kernel must not send a frame that nobody counted."""
    run('ip', 'netns', 'add', nic.namespace)
    enter(nic.namespace, lambda: set_ipv6('default', False))
    run('ip', 'link', 'set', nic.tap, 'netns', nic.namespace)
    run('ip', '-n', nic.namespace, 'link', 'set', nic.tap, 'up')


def set_ipv6(interface, enabled):
    pathlib.Path(f'/proc/sys/net/ipv6/conf/{interface}/disable_ipv6'
                 ).write_text('0' if enabled else '1')


def add_addresses(nic):
    enter(nic.namespace, lambda: set_ipv6(nic.tap, True))
    for address in f'{nic.address4}/24', f'{nic.address6}/64':
        run('ip', '-n', nic.namespace, 'address', 'add', address,
            'dev', nic.tap, *(['nodad'] if ':' in address else []))


def show_vmbus(host):
    """Makes the host's bus the only one below /sys/bus, in this mount
    namespace: DPDK looks for devices there and must not find, let alone
    take, one of the machine's."""
    run('mount', '-t', 'tmpfs', 'none', '/sys/bus')
    os.mkdir('/sys/bus/vmbus')
    run('mount', '--bind', str(host.root / 'sys/bus/vmbus'),
        '/sys/bus/vmbus')


def hide_vmbus():
    run('umount', '-R', '/sys/bus')


class Testpmd:
    """DPDK's forwarder on both NICs, driven by its prompt."""

    PROMPT = b'testpmd> '

    def __init__(self, shim, host, log):
        cpus = ','.join(map(str, sorted(os.sched_getaffinity(0))))
        command = [
            # Answers must not stay behind the prompt in a buffer.
            'stdbuf', '--output=L', 'dpdk-testpmd',
            # The main thread sleeps at the prompt, thread 1 forwards; both
            # may go where the machine has time for them.
            f'--lcores=0@({cpus}),1@({cpus})', '--no-pci',
            # Ordinary pages below 16 TiB; virtual addresses go on the wire.
            '--no-huge', '--no-shconf', '--no-telemetry', '-m', '192',
            '--iova-mode=va', '--',
            '--interactive', '--nb-cores=1', '--rxq=1', '--txq=1',
            f'--rxd={DESCRIPTORS}', f'--txd={DESCRIPTORS}',
            '--total-num-mbufs=16384']
        self.output = b''
        self.log = log.open('wb')
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(os.environ, LD_PRELOAD=str(shim),
                     PEER_ROOT=str(host.root)))
        try:
            self.read_prompt()
            # Port numbers are in the order of the bus, which has none.
            summary = self.command('show port summary all')
            self.ports = {}
            for nic in NICS:
                line = re.search(rf'^(\d+) +{nic.mac} .*net_netvsc',
                                 summary, re.M | re.I)
                if not line:
                    raise RigFailed(f'testpmd does not show {nic.mac} as a '
                                  f'netvsc port:\n{summary}')
                self.ports[nic] = int(line[1])
            # A full send buffer is a reason to wait here, not to drop.
            self.command('set fwd io retry')
            self.command('set burst tx delay 10 retry 10000')
            self.command('start')
        except BaseException:
            self.kill()
            raise

    def read_prompt(self):
        """Returns the output up to the next prompt."""
        deadline = time.monotonic() + PATIENCE
        while self.PROMPT not in self.output:
            left = max(deadline - time.monotonic(), 0)
            if not select.select([self.process.stdout], [], [], left)[0]:
                raise RigFailed(f'testpmd: no prompt after {PATIENCE} s')
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                raise RigFailed('testpmd has ended by itself: '
                              + self.output.decode(errors='replace')[-2000:])
            self.log.write(more)
            self.log.flush()
            self.output += more
        text, self.output = self.output.split(self.PROMPT, 1)
        return text.decode(errors='replace')

    def command(self, line):
        self.process.stdin.write(line.encode() + b'\n')
        self.process.stdin.flush()
        return self.read_prompt()

    def statistics(self, nic):
        """What testpmd counts at the port of a NIC."""
        text = self.command(f'show port stats {self.ports[nic]}')
        return {name: int(value) for name, value in
                re.findall(r'([RT]X-[a-z]+): +(\d+)', text)}

    def quit(self):
        self.process.stdin.write(b'quit\n')
        self.process.stdin.flush()
        try:
            output, _ = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise RigFailed(f'testpmd still runs {PATIENCE} s after quit')
        self.log.write(output)
        self.log.close()
        if self.process.returncode != 0:
            raise RigFailed('testpmd ended with status '
                          f'{self.process.returncode}')

    def kill(self):
        end(self.process)
        self.log.close()


@contextlib.contextmanager
def tap_ends():
    """Both NICs' taps as sockets for whole frames."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(
            contextlib.closing(TapEnd(nic.namespace, nic.tap)))
            for nic in NICS]
