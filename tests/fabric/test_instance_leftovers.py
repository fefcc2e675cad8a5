"""However an instance ends, `down` leaves the machine as it was before `up`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from testbed_process import CHECKOUT, Running, Snapshot, take_snapshot, testbed, up

from testbed.instance.layout import Layout

pytestmark = pytest.mark.root

STAGES = ["begin", "hosts, switches and links", "switch ports", "bridges",
          "SRv6 rules by the controller", "agents over SSH", "readiness probes", "ready"]


@pytest.fixture()
def before() -> Iterator[Snapshot]:
    """The machine before the test; at its end nothing new may be there."""
    snapshot = take_snapshot()
    yield snapshot
    assert settled(snapshot) == {}


def settled(snapshot: Snapshot) -> dict[str, set[str]]:
    """What is new. The kernel frees namespaces and programs a moment after their users."""
    new: dict[str, set[str]] = {}
    for _ in range(200):
        new = take_snapshot().minus(snapshot)
        if not new:
            break
        subprocess.run(["sleep", "0.02"], check=True)
    return new


def test_the_snapshot_sees_an_instance(name: str) -> None:
    """The tests below can fail: every kind of thing shows while an instance is up."""
    snapshot = take_snapshot()
    instance = up(name, "tiny")
    new = take_snapshot().minus(snapshot)
    instance.down()
    assert {"processes", "namespaces", "cgroups", "programs", "maps", "run_files"} <= set(new)
    assert "interfaces" not in new, "an interface of the instance is in the machine's namespace"
    assert "mounts" not in new, "a mount of the instance is visible to the machine"


@pytest.mark.parametrize("dataplane", ["ovs", "linux"])
def test_down_leaves_nothing(before: Snapshot, name: str, dataplane: str) -> None:
    up(name, "tiny", "--dataplane", dataplane).down()


def test_down_twice_is_fine_and_down_of_nothing_says_so(name: str) -> None:
    done = testbed("down", "--name", name)
    assert done.returncode == 0
    assert "not up" in done.stdout


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_in_any_stage_takes_everything_down(
    before: Snapshot, name: str, stage: str
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "testbed", "up", "tiny", "--name", name], cwd=CHECKOUT,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    assert process.stdout
    for line in process.stdout:
        if stage == "begin" or stage in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    rest = process.stdout.read()
    assert process.wait(timeout=30) == 130, rest
    assert not Layout(name).root.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_closed_terminal_takes_everything_down(
    before: Snapshot, name: str, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "testbed", "up", "tiny", "--name", name], cwd=CHECKOUT,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    assert process.stdout
    for line in process.stdout:
        if line.startswith("ready"):
            break
    process.send_signal(number)
    process.stdout.read()
    assert process.wait(timeout=30) == 130


def pid_of(instance: Running, victim: str) -> int:
    status = instance.call("status")
    if victim == "agent":
        return int(status["agents"][1]["pid"])
    return int(status["pids"][victim])


@pytest.mark.parametrize("victim", ["instance", "controller", "ovs-vswitchd", "ovsdb-server",
                                    "agent"])
def test_kill_9_of_any_part_then_down(before: Snapshot, name: str, victim: str) -> None:
    instance = up(name, "tiny")
    os.kill(pid_of(instance, victim), signal.SIGKILL)
    if victim == "instance":
        wait_until_dead(name)
        assert_only_down_works(instance)
    else:
        assert_named(instance, victim)
    instance.down()


def wait_until_dead(name: str) -> None:
    while testbed("status", "--name", name).returncode != 4:
        pass


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
    wanted = {"controller": "controller", "agent": "agent of h1"}.get(victim, victim)
    while not any(wanted in problem for problem in instance.call("status")["problems"]):
        pass  # noticed within a heartbeat; the test's time-out bounds the loop


def test_twenty_cycles_leak_nothing(before: Snapshot, name: str) -> None:
    for cycle in range(20):
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
