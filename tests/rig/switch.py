"""Open vSwitch: ovsdb-server and an ovs-vswitchd."""

import os
import pathlib

from .tools import PATIENCE, RigFailed, run, wait_for


class Switch:
    """Both daemons, with their files in a directory of their own.  The tools
    are those of the tree in `ovs_build`; `program` is the switch."""

    def __init__(self, program, directory, log, ovs_source, ovs_build):
        self.program = program
        self.log = log
        self.ovs_source, self.ovs_build = ovs_source, ovs_build
        self.directory = directory
        self.directory.mkdir(parents=True)
        self.database = f"unix:{self.directory}/db.sock"
        self.environment = dict(os.environ)
        for what in ("RUNDIR", "LOGDIR", "DBDIR", "SYSCONFDIR", "PKGDATADIR"):
            self.environment[f"OVS_{what}"] = str(self.directory)
        self.environment["OVS_SYSLOG_METHOD"] = "null"
        self.pid = self.database_pid = None

    # --- Tools ---

    def tool(self, name, *arguments, **options):
        room = "ovsdb" if name.startswith("ovsdb") else "utilities"
        return run(self.ovs_build / room / name, *arguments,
                   env=self.environment, **options)

    def vsctl(self, *arguments):
        return self.tool("ovs-vsctl", f"--timeout={PATIENCE}",
                         f"--db={self.database}", *arguments)

    def appctl(self, *arguments):
        return self.tool("ovs-appctl", f"--timeout={PATIENCE}",
                         f"--target={self.directory}/vswitchd.ctl",
                         *arguments)

    # --- Daemons ---

    def start_database(self, *settings):
        """`settings`: columns of the table Open_vSwitch."""
        file, pidfile = (self.directory / name
                         for name in ("conf.db", "ovsdb.pid"))
        self.tool("ovsdb-tool", "create", file,
                  self.ovs_source / "vswitchd/vswitch.ovsschema")
        self.tool("ovsdb-server", "--detach", "--no-chdir",
                  f"--pidfile={pidfile}",
                  f"--log-file={self.log.with_suffix('.ovsdb.log')}",
                  f"--remote=p{self.database}", file)
        self.database_pid = int(pidfile.read_text())
        self.vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".",
                   *settings)

    def start_daemon(self, prefix=()):
        """`prefix`: a command that executes the switch."""
        pidfile = self.directory / "vswitchd.pid"
        run(*prefix, self.program, "--detach", "--no-chdir",
            f"--pidfile={pidfile}",
            f"--unixctl={self.directory}/vswitchd.ctl",
            f"--log-file={self.log}", "-vsyslog:off", self.database,
            env=self.environment, seconds=3 * PATIENCE)
        self.pid = int(pidfile.read_text())

    def stop(self):
        self.appctl("exit", "--cleanup")
        wait_for("ovs-vswitchd to end",
                 lambda: not pathlib.Path(f"/proc/{self.pid}").exists())

    # --- Ports ---

    def wait_for_link(self, port):
        try:
            self.vsctl("wait-until", "Interface", port, "link_state=up")
        except RigFailed as failure:
            why = self.vsctl("get", "Interface", port, "error", "status")
            raise RigFailed(f"{failure}\nerror and status of port {port}:\n"
                            f"{why}") from failure
