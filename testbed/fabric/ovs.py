"""An Open vSwitch of our own: its two daemons and its bridges.

Everything lives under one state directory and in the network namespace of the
thread that calls `start`; the machine's own Open vSwitch is never spoken to. Both
daemons are children in a session of their own (Ctrl-C reaches the parent only),
ended by pid.

One instance per network namespace: two userspace vswitchds collide on the tap
`ovs-netdev`.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import MachineError, TestbedError
from testbed.fabric.commands import run
from testbed.fabric.packet_sockets import close_sockets, hold_sockets
from testbed.precedence import FRAMES_NICENESS, go_before_others

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
DATABASE_DAEMON = "ovsdb-server"
SWITCH_DAEMON = "ovs-vswitchd"

START_TIMEOUT_S = 10.0
_JEMALLOC = "libjemalloc.so.2"
STOP_TIMEOUT_S = 5.0
POLL_S = 0.002
# ovs-vsctl holds a socket path in sun_path, 108 bytes with its zero.
MAX_SOCKET_PATH_BYTES = 107
# Longer command lines take ovs-vsctl more than proportionally longer.
MAX_PORTS_PER_COMMAND = 50


@dataclass(frozen=True, slots=True)
class Bridge:
    """A switch: its name, OpenFlow datapath id (48 bits), its (interface, OpenFlow port)."""

    name: str
    dpid: int
    ports: tuple[tuple[str, int], ...]


class PrivateOvs:
    """ovsdb-server and ovs-vswitchd with every file they have in `state_dir`.

    `datapath_type` is "netdev" (userspace) or "system" (the kernel's). The
    constructor only stores; `start` and `stop` act.
    """

    def __init__(self, state_dir: Path, datapath_type: str = "netdev") -> None:
        self.state_dir = state_dir
        self.datapath_type = datapath_type
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What makes any ovs-* command talk to this Open vSwitch."""
        folders = ("RUN", "DB", "LOG", "SYSCONF")
        return os.environ | {f"OVS_{folder}DIR": str(self.state_dir) for folder in folders}

    @property
    def socket_path(self) -> Path:
        """The database's socket."""
        return self.state_dir / "db.sock"

    def pids(self) -> dict[str, int]:
        """Process ids by daemon, of those started and not yet stopped."""
        return {name: daemon.pid for name, daemon in self._daemons.items()}

    def dead(self) -> list[str]:
        """Daemons that ended without being asked to."""
        return [name for name, daemon in self._daemons.items() if daemon.poll() is not None]

    def start(self) -> None:
        """Make the database and start both daemons; returns when both answer.

        MachineError where Open vSwitch is not installed, TestbedError where it does
        not come up; nothing is left running then.
        """
        if len(os.fsencode(self.socket_path)) > MAX_SOCKET_PATH_BYTES:
            raise TestbedError(
                f"{self.socket_path} is too long for a socket ({MAX_SOCKET_PATH_BYTES} bytes):"
                " choose a shorter state directory"
            )
        self.state_dir.mkdir(parents=True, exist_ok=True)
        try:
            self._start_database()
            self._start_switch()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End both daemons, the switch first; harmless where they have ended already.

        The files stay: they are the evidence. They belong to the state directory.
        """
        for name in (SWITCH_DAEMON, DATABASE_DAEMON):
            daemon = self._daemons.pop(name, None)
            if daemon is not None:
                held = hold_sockets(daemon.pid) if daemon.poll() is None else []
                _end(daemon)
                close_sockets(held)

    def vsctl(self, arguments: Sequence[str]) -> str:
        """Run one ovs-vsctl transaction, wait until the switch did it; gives stdout.

        TestbedError, with command and reason, where it fails.
        """
        argv = ["ovs-vsctl", f"--timeout={START_TIMEOUT_S:.0f}", *arguments]
        return run(argv, node=SWITCH_DAEMON, env=self.environment)

    def add_bridges(self, bridges: Sequence[Bridge]) -> None:
        """Make all switches with all their ports, then read every port number back.

        They forward nothing until a controller says how (fail_mode secure). The
        interfaces must exist. TestbedError where one was refused or got another number.
        """
        *first, last = bridge_commands(bridges, self.datapath_type)
        for arguments in first:  # the switch catches up once, with the last
            self.vsctl(["--no-wait", *arguments])
        self.vsctl(last)
        self._check_ports(bridges)

    def set_controllers(self, bridges: Sequence[str], target: str) -> None:
        """Point switches (by name) at a controller, "tcp:127.0.0.1:6653", that listens now.

        One that does not listen yet costs seconds: Open vSwitch backs off.
        """
        for start in range(0, len(bridges), MAX_PORTS_PER_COMMAND):
            arguments: list[str] = []
            for name in bridges[start : start + MAX_PORTS_PER_COMMAND]:
                arguments += ["--", "set-controller", name, target,
                              "--", "set", "controller", name, "max_backoff=1000",
                              "inactivity_probe=0", "connection_mode=out-of-band"]
            self.vsctl(arguments)

    def _check_ports(self, bridges: Sequence[Bridge]) -> None:
        found = {name: (number, error) for name, number, error in self._interfaces()}
        for bridge in bridges:
            for interface, number in bridge.ports:
                got, error = found.get(interface, (None, "it was not added"))
                if got != number:
                    raise TestbedError(
                        f"port {interface} of {bridge.name} has number {got} instead of"
                        f" {number} ({error or 'the number was taken'}): does the interface"
                        " exist in this namespace?"
                    )

    def _interfaces(self) -> Iterator[tuple[str, int | None, str]]:
        """Give name, OpenFlow port number and error of every interface."""
        columns = "--columns=name,ofport,error"
        answer = self.vsctl(["--format=json", columns, "list", "Interface"])
        for name, number, error in json.loads(answer)["data"]:
            # An empty set, ["set", []], is OVSDB's way to say "none".
            yield (name, number if isinstance(number, int) else None,
                   error if isinstance(error, str) else "")

    def _start_database(self) -> None:
        database = self.state_dir / "conf.db"
        for leftover in (database, self.socket_path):
            leftover.unlink(missing_ok=True)
        if not SCHEMA.exists():
            raise MachineError(
                f"{SCHEMA} is missing: install openvswitch-switch (`make install`)"
            )
        run(["ovsdb-tool", "create", str(database), str(SCHEMA)], env=self.environment)
        self._spawn(DATABASE_DAEMON, [f"--remote=punix:{self.socket_path}", str(database)])
        self._wait_for_database()
        self.vsctl(["--no-wait", "init"])

    def _start_switch(self) -> None:
        options = ["--disable-system"] if self.datapath_type == "netdev" else []
        self._spawn(SWITCH_DAEMON, [*options, f"unix:{self.socket_path}"])
        # Any transaction that waits is answered once vswitchd runs.
        try:
            self.vsctl(["set", "Open_vSwitch", ".", "external_ids:owner=mrc-testbed"])
        except TestbedError as error:
            raise self._did_not_start(SWITCH_DAEMON, str(error)) from error

    def _spawn(self, name: str, arguments: Sequence[str]) -> None:
        """Start a daemon in the foreground, as a child; logs go to its file only."""
        argv = [name, "-vconsole:off", "-vsyslog:off", "-vfile:info",
                f"--log-file={self.state_dir / name}.log",
                f"--unixctl={self.state_dir / name}.ctl", *arguments]
        errors = self.state_dir / f"{name}.err"
        jemalloc = find_jemalloc()
        preload = {"LD_PRELOAD": str(jemalloc)} if jemalloc else {}
        try:
            with open(errors, "wb") as sink:
                daemon = subprocess.Popen(
                    argv, env=self.environment | preload, stdin=subprocess.DEVNULL,
                    stdout=sink, stderr=sink, start_new_session=True)
                self._daemons[name] = daemon
                go_before_others(daemon.pid, FRAMES_NICENESS)
        except FileNotFoundError:
            raise MachineError(
                f"{name} is not installed: install openvswitch-switch (`make install`)"
            ) from None

    def _wait_for_database(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(self.socket_path):
            if self.dead() or time.monotonic() > deadline:
                raise self._did_not_start(DATABASE_DAEMON, "its socket does not answer")
            time.sleep(POLL_S)

    def _did_not_start(self, name: str, reason: str) -> TestbedError:
        log = self.state_dir / f"{name}.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        last = lines[-1] if lines else "it wrote no log"
        return TestbedError(f"{name} did not start ({reason}): see {log}, which ends {last!r}")


def bridge_commands(
    bridges: Sequence[Bridge], datapath_type: str = "netdev"
) -> Iterator[list[str]]:
    """Give the ovs-vsctl argument lists that make `bridges`, each of at most 50 ports.

    All bridges come first, in one command of their own.
    """
    yield [word for bridge in bridges for word in _bridge_words(bridge, datapath_type)]
    ports = [(bridge.name, *port) for bridge in bridges for port in bridge.ports]
    for start in range(0, len(ports), MAX_PORTS_PER_COMMAND):
        chunk = ports[start : start + MAX_PORTS_PER_COMMAND]
        yield [word for name, interface, number in chunk
               for word in ("--", "add-port", name, interface,
                            "--", "set", "interface", interface, f"ofport_request={number}")]


def _bridge_words(bridge: Bridge, datapath_type: str) -> tuple[str, ...]:
    return (
        "--", "add-br", bridge.name,
        "--", "set", "bridge", bridge.name, f"datapath_type={datapath_type}",
        "fail_mode=secure", "protocols=OpenFlow13",
        f"other-config:datapath-id={bridge.dpid:016x}", "other-config:disable-in-band=true",
    )


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(os.fsencode(path)) == 0


def find_jemalloc() -> Path | None:
    """The allocator daemons are started with, None where the machine has only glibc's.

    Userspace Open vSwitch takes and returns 32 buffers of the MTU whenever it looks at a
    port, which with glibc's allocator is a third of its time (measured with 192 ports).
    """
    folders = Path("/usr/lib").glob("*-linux-*")
    return next((path for folder in folders if (path := folder / _JEMALLOC).exists()), None)


def _end(daemon: subprocess.Popen[bytes]) -> None:
    """Ask a child to end, insist after a while (a stopped one cannot hear us), reap it."""
    daemon.terminate()
    try:
        daemon.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
