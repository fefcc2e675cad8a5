"""However an instance ends, `down` leaves the machine as it was before `up`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from testbed_process import (
    CHECKOUT,
    Running,
    Snapshot,
    eventually,
    settled,
    take_snapshot,
    testbed,
    up,
)

from testbed.instance.client import Control
from testbed.instance.layout import Layout

pytestmark = pytest.mark.root

STAGES = ["begin", "hosts, switches and links", "switch ports", "bridges",
          "SRv6 rules by the controller", "agents over SSH", "readiness probes", "ready"]


@pytest.fixture
def before() -> Iterator[Snapshot]:
    """The machine before the test; at its end nothing new may be there."""
    snapshot = take_snapshot()
    yield snapshot
    assert settled(snapshot) == {}


def test_the_snapshot_sees_an_instance(name: str) -> None:
    """The tests below can fail: every kind of thing shows while an instance is up."""
    snapshot = take_snapshot()
    instance = up(name, "tiny")
    new = take_snapshot().minus(snapshot)
    instance.down()
    assert {"processes", "namespaces", "cgroups", "programs", "maps", "run_files"} <= set(new)
    assert "interfaces" not in new, "an interface of the instance is in the machine's namespace"
    assert "mounts" not in new, "a mount of the instance is visible to the machine"
    assert "settings" not in new, "a setting of the machine has changed"


@pytest.mark.parametrize("dataplane", ["ovs", "linux"])
def test_down_leaves_nothing(before: Snapshot, name: str, dataplane: str) -> None:
    up(name, "tiny", "--dataplane", dataplane).down()


def test_down_twice_is_fine_and_down_of_nothing_says_so(name: str) -> None:
    up(name, "tiny").down()
    for _ in range(2):
        done = testbed("down", "--name", name)
        assert done.returncode == 0
        assert "not up" in done.stdout


def coming_up(name: str) -> subprocess.Popen[str]:
    """`up` in the foreground, as the leader of a session: signals reach it alone."""
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "testbed", "up", "tiny", "--name", name], cwd=CHECKOUT,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def read_until(process: subprocess.Popen[str], stage: str) -> None:
    """Read what it prints up to the line that ends this stage."""
    assert process.stdout
    for line in process.stdout:
        if stage == "begin" or stage in line:
            return
    pytest.fail(f"it never said '{stage}'")


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_in_any_stage_takes_everything_down(
    before: Snapshot, name: str, stage: str
) -> None:
    with coming_up(name) as process:
        read_until(process, stage)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=30) == 130
    assert not Layout(name).root.exists()


def test_ctrl_c_at_any_moment_of_the_start_leaves_nothing(before: Snapshot, name: str) -> None:
    """The instance process joins its cgroup a moment after it was started: the tight spot."""
    for step in range(12):
        with coming_up(name) as process:
            time.sleep(0.02 * step)
            os.killpg(process.pid, signal.SIGINT)
            # Before the first line of ours runs, the exit code is Python's own affair.
            assert process.wait(timeout=30) != 0
        assert not Layout(name).root.exists()


@pytest.mark.parametrize("stage", ["begin", "hosts, switches and links", "ready"])
def test_down_from_elsewhere_ends_an_up_in_any_stage(
    before: Snapshot, name: str, stage: str
) -> None:
    with coming_up(name) as process:
        read_until(process, stage)
        assert testbed("down", "--name", name).returncode == 0
        assert process.wait(timeout=30) == (0 if stage == "ready" else 4)


def test_an_up_in_the_foreground_cleans_up_when_its_instance_dies(
    before: Snapshot, name: str
) -> None:
    with coming_up(name) as process:
        read_until(process, "ready in")
        with Control(name) as control:
            pid = control.call("status")["pids"]["instance"]
        os.kill(pid, signal.SIGKILL)
        assert process.wait(timeout=30) == 4
    assert not Layout(name).root.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_closed_terminal_takes_everything_down(
    before: Snapshot, name: str, number: signal.Signals
) -> None:
    with coming_up(name) as process:
        read_until(process, "ready in")
        process.send_signal(number)
        assert process.wait(timeout=30) == 130


def test_a_terminal_that_has_gone_does_not_keep_it_from_cleaning_up(
    before: Snapshot, name: str
) -> None:
    """Writing to it fails with EIO from then on, also what the clean-up says."""
    master, slave = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "testbed", "up", "tiny", "--name", name], cwd=CHECKOUT,
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    said = b""
    while b"Ctrl-C takes it down" not in said:
        said += os.read(master, 4096)
    os.close(master)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=30) != 0
    assert not Layout(name).root.exists()


def pid_of(instance: Running, victim: str) -> int:
    status = instance.call("status")
    if victim == "agent":
        return next(int(agent["pid"]) for agent in status["agents"] if agent["host"] == "h1")
    return int(status["pids"][victim])


@pytest.mark.parametrize("victim", ["instance", "controller", "ovs-vswitchd", "ovsdb-server",
                                    "agent"])
def test_kill_9_of_any_part_then_down(before: Snapshot, name: str, victim: str) -> None:
    instance = up(name, "tiny")
    os.kill(pid_of(instance, victim), signal.SIGKILL)
    if victim == "instance":
        eventually(lambda: testbed("status", "--name", name).returncode == 4)
        assert_only_down_works(instance)
    else:
        assert_named(instance, victim)
    if victim == "agent":
        assert instance.call("heal", target="host:h1")[0]["evidence"] == "a new agent was started"
        status = instance.call("status")
        assert (status["problems"], status["paths_ok"]) == ([], 40)
    instance.down()


def assert_only_down_works(instance: Running) -> None:
    for verb in (["status"], ["probe", "h0", "h1"], ["fail", "plane:0"]):
        done = instance.command(*verb)
        assert done.returncode == 4
        assert "is dead" in done.stderr
        assert "down" in done.stderr
    again = testbed("up", "tiny", "-d", "--name", instance.name)
    assert again.returncode == 4
    assert "is dead" in again.stderr


def assert_named(instance: Running, victim: str) -> None:
    """`status` says which part has died."""
    wanted = {"controller": "controller", "agent": "agent of host h1"}.get(victim, victim)
    eventually(lambda: any(wanted in text for text in instance.call("status")["problems"]))


@pytest.mark.parametrize("cycles", [4, pytest.param(20, marks=pytest.mark.soak)])
def test_many_cycles_leak_nothing(before: Snapshot, name: str, cycles: int) -> None:
    for cycle in range(cycles):
        up(name, "tiny", "--dataplane", "linux" if cycle % 2 else "ovs").down()


def test_two_instances_run_side_by_side(before: Snapshot, name: str) -> None:
    first, second = up(f"{name}-a", "tiny"), up(f"{name}-b", "tiny", "--dataplane", "linux")
    first.call("fail", target="plane:0")
    assert second.call("status")["paths_ok"] == 40
    assert first.call("status")["paths_ok"] == 20
    second.down()
    first.call("heal")
    assert first.call("status")["paths_ok"] == 40
    first.down()
