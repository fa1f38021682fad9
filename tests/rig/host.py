"""netvsc-host, the emulated Hyper-V host."""

import json
import socket

from .tools import PATIENCE, RigFailed, run


class Host:
    """One process, one virtual machine.  Whoever names a NIC of it here gives
    something that has a `guid`."""

    def __init__(self, build, root, log):
        self.program = build / "host/netvsc-host"
        self.root = root
        self.log = log
        self.pid = None

    def start(self, nics, *options, prefix=()):
        """As a daemon.  `nics` are what follows --nic, `options` further ones
        of the program, and `prefix` a command that executes it."""
        pidfile = self.root.with_name(f"{self.root.name}.pid")
        run(*prefix, self.program, "--root", self.root,
            *(word for nic in nics for word in ("--nic", nic)), *options,
            "--log-file", self.log, "--pidfile", pidfile, "--detach")
        self.pid = int(pidfile.read_text())

    def control(self, *words):
        """As `netvsc-host ctl`, without a process: where something is
        measured, there is no time for one."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(self.root / "netvsc-host.ctl"))
            client.sendall(json.dumps([str(word) for word in words]).encode()
                           + b"\n")
            text = b"".join(iter(lambda: client.recv(1 << 16), b""))
        reply = json.loads(text)
        if "error" in reply:
            raise RigFailed(f"netvsc-host: {reply['error']}")
        return reply["result"]

    def statistics(self, nic):
        return self.control("stats", nic.guid)
