"""Driving `python -m testbed` as a user does, and looking at what it leaves behind."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.instance.client import Control
from topologies.graph import Graph, build_graph
from topologies.spec import ClosSpec
from workloads.job import Job

CHECKOUT = Path(__file__).parents[2]
PATIENCE_S = 120
RUN_PATIENCE_S = 900  # 5 ms of emulated time where the machine is slow
# Of one run: what a busy machine does to it counts for less and less.
SLOWER = (1, 4, 16)


def testbed(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run([sys.executable, "-m", "testbed", *words], cwd=CHECKOUT, text=True,
                          capture_output=True, **{"timeout": PATIENCE_S, **options}, check=False)


testbed.__test__ = False  # type: ignore[attr-defined]


def eventually(is_so: Callable[[], bool], within_s: float = 30) -> None:
    """Wait for a condition; fails the test where it does not come true in time."""
    deadline_s = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline_s, f"{is_so.__name__} not so within {within_s} s"
        time.sleep(0.02)


def expected_code(result: dict[str, Any]) -> int:
    """1 where the machine was so busy that the run says not to believe its figures."""
    return 1 if result["verdict"]["word"] == "invalid" else 0


def require_right(result: dict[str, Any]) -> None:
    """However slow it was: nothing failed, and what arrived is what was written."""
    assert result["failures"] == []
    assert result["verified"]["checked_bytes"] > 0
    assert result["verified"]["wrong_bytes"] == 0


def until_trusted(attempt: Callable[[int], dict[str, Any]], tdf: int) -> dict[str, Any]:
    """The result of the first attempt that can be believed, for tests of figures.

    The machine may be busy with something else, for minutes even where it is a virtual one:
    then the verdict says so, and the run is made again as it advises, at a larger dilation.
    """
    for factor in SLOWER:
        result = attempt(factor * tdf)
        if result["verdict"]["word"] == "trusted":
            return result
    raise AssertionError(f"not trusted at a TDF of {factor * tdf:,}: {result['verdict']}")


@dataclass(frozen=True, slots=True)
class Running:
    """An instance that is up."""

    name: str
    summary: dict[str, Any]

    def call(self, method: str, **params: Any) -> Any:
        """Ask it over its control socket."""
        with Control(self.name) as control:
            return control.call(method, params)

    def command(self, verb: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command on it."""
        return testbed(verb, "--name", self.name, *words)

    def run(self, *words: str, out: Path) -> tuple[int, dict[str, Any]]:
        """Run a workload to its end: exit code and result."""
        done = testbed("run", "--name", self.name, *words, "--out", str(out), "--json",
                       timeout=RUN_PATIENCE_S)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def begin(self, job: Job, tdf: int, out: Path) -> int:
        """Begin a job of one's own; the number of the run, for `finish`."""
        number: int = self.call("job_start", job=job.to_params(), tdf=tdf, folder=str(out),
                                uid=os.getuid(), gid=os.getgid())
        return number

    def finish(self, number: int, within_s: float = 120) -> dict[str, Any]:
        """Wait for a run; its result."""
        found: dict[str, Any] = {}

        def is_over() -> bool:
            found.update(self.call("run_state", number=number))
            return found["result"] is not None

        eventually(is_over, within_s)
        return dict(found["result"])

    def end_run(self) -> None:
        """End what a test that failed has left under way, so that the next one can begin."""
        run = self.call("status")["run"]
        if run is not None and run["phase"] not in ("done", "failed"):
            self.call("run_stop", number=run["number"])
            self.finish(run["number"])

    def job_until_trusted(self, job: Job, tdf: int, out: Path) -> dict[str, Any]:
        """The result of a job of one's own that can be believed."""
        return until_trusted(
            lambda slow: self.finish(self.begin(job, slow, out), RUN_PATIENCE_S), tdf)

    def run_until_trusted(self, *words: str, tdf: int, out: Path,
                          require: Callable[[dict[str, Any]], None] = require_right,
                          ) -> dict[str, Any]:
        """The result of a `run` that can be believed; ``require`` must hold of every attempt."""
        def attempt(slow: int) -> dict[str, Any]:
            code, result = self.run(*words, "--tdf", str(slow), out=out)
            assert code == expected_code(result)
            require(result)
            return result

        return until_trusted(attempt, tdf)

    def wait_until_running(self, number: int, share: float = 0.0) -> None:
        """Wait until so much of a run is over."""
        def is_running() -> bool:
            state = self.call("run_state", number=number)
            return state["phase"] == "running" and state["share"] >= share

        eventually(is_running, 60)

    def graph(self) -> Graph:
        """What it was built from."""
        return build_graph(ClosSpec(**self.call("nodes")["spec"]))

    def down(self) -> None:
        """Take it down; it must work."""
        done = testbed("down", "--name", self.name)
        assert done.returncode == 0, done.stderr


def up(name: str, topology: str, *options: str) -> Running:
    """Bring an instance up, detached; fails the test with what it said otherwise."""
    done = testbed("up", topology, "-d", "--json", "--name", name, *options)
    assert done.returncode == 0, done.stderr
    return Running(name, json.loads(done.stdout))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What an instance could leave behind on a machine, as sets of lines."""

    processes: frozenset[str]
    namespaces: frozenset[str]
    interfaces: frozenset[str]
    cgroups: frozenset[str]
    mounts: frozenset[str]
    programs: frozenset[str]
    maps: frozenset[str]
    run_files: frozenset[str]
    settings: frozenset[str]

    def minus(self, earlier: Snapshot) -> dict[str, set[str]]:
        """What is here and was not there, by kind; empty where nothing is new.

        Of what is the machine's own, also what was there and is gone.
        """
        new = {field: set(getattr(self, field) - getattr(earlier, field))
               for field in Snapshot.__slots__}
        for field in ("processes", "interfaces", "mounts", "settings"):
            gone = getattr(earlier, field) - getattr(self, field)
            new[field] |= {f"gone: {line}" for line in gone}
        return {kind: lines for kind, lines in new.items() if lines}


def take_snapshot() -> Snapshot:
    """Look at the whole machine. Zombies are not processes: PID 1 reaps them later."""
    processes, namespaces = set(), set()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            space = os.readlink(folder / "ns" / "net")
        except OSError:
            continue
        if command and any(word in command for word in _OURS):
            processes.add(f"{folder.name} {command}")
        namespaces.add(space)
    return Snapshot(
        frozenset(processes), frozenset(namespaces),
        frozenset(_lines(["ip", "-o", "link"])),
        frozenset(str(path) for path in Path("/sys/fs/cgroup").rglob("*")
                  if "mrc-testbed" in path.parts and path.is_dir()),
        frozenset(Path("/proc/self/mountinfo").read_text().splitlines()),
        frozenset(_bpf_ids("bpf_prog_get_next_id")), frozenset(_bpf_ids("bpf_map_get_next_id")),
        frozenset(str(path) for path in Path("/run").glob("*")
                  if path.name in ("mrc-testbed", "netns", "openvswitch")),
        frozenset(f"{key} = {Path('/proc/sys', key).read_text().split()}" for key in _SETTINGS),
    )


def settled(snapshot: Snapshot) -> dict[str, set[str]]:
    """What is new, once the kernel has freed namespaces and programs after their users."""
    new = take_snapshot().minus(snapshot)
    for _ in range(100):
        if not new:
            break
        time.sleep(0.05)
        new = take_snapshot().minus(snapshot)
    return new


# Words in the command lines of what an instance starts.
_OURS = ("testbed.instance.process", "testbed.agent", "controllers.launcher", "ovs-vswitchd",
         "ovsdb-server", "sshd -D", "/usr/sbin/sshd", "mininet:")


# The machine's own settings that Mininet, left alone, would rewrite, and its forwarding.
_SETTINGS = (
    "fs/file-max", "kernel/pty/max", "net/core/netdev_max_backlog", "net/core/rmem_default",
    "net/core/rmem_max", "net/core/wmem_default", "net/core/wmem_max",
    "net/ipv4/neigh/default/gc_thresh1", "net/ipv4/tcp_rmem", "net/ipv4/tcp_wmem",
    "net/ipv4/ip_forward", "net/ipv6/conf/all/disable_ipv6", "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/all/seg6_enabled", "net/ipv6/conf/default/disable_ipv6",
)


def _lines(argv: list[str]) -> list[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()


def _bpf_ids(function: str) -> list[str]:
    """Ids of every eBPF program or map in the kernel."""
    step = getattr(ctypes.CDLL("libbpf.so.1"), function)
    found, current = [], ctypes.c_uint32(0)
    while step(current, ctypes.byref(current)) == 0:
        found.append(str(current.value))
    return found
