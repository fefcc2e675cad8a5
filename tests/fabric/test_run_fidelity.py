"""A run says whether to believe it: each thing that goes wrong on a machine, made to happen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from testbed_process import Running, require_right

from testbed.fabric.cgroup import Cgroup
from workloads.job import Job, plan_write_bandwidth

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def small(bring_up: Callable[..., Running]) -> Running:
    """`tiny` on the default data plane."""
    return bring_up("tiny")


def job(small: Running, duration_ns: int) -> Job:
    return plan_write_bandwidth(small.graph().spec, 0, 3, size=32_768, qps=2, depth=16,
                                duration_ns=duration_ns)


def words(result: dict[str, Any]) -> dict[str, str]:
    """What each quantity is by itself."""
    return {row["quantity"]: row["word"] for row in result["fidelity"]}


def reasons(result: dict[str, Any]) -> str:
    return "\n".join(result["verdict"]["reasons"])


@contextmanager
def hogs(count: int) -> Iterator[None]:
    """So many programs that never rest, as a user has them; with precedence over the instance
    they could keep it from ending the run for as long as they like."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"],
                                start_new_session=True) for _ in range(count)]
    try:
        yield
    finally:
        for hog in running:
            hog.kill()
            hog.wait()


@contextmanager
def stuttering(pid: int) -> Iterator[None]:
    """A process that is stopped for most of the time."""
    is_over = threading.Event()

    def stutter() -> None:
        while not is_over.is_set():
            os.kill(pid, signal.SIGSTOP)
            is_over.wait(0.1)
            os.kill(pid, signal.SIGCONT)
            is_over.wait(0.01)

    thread = threading.Thread(target=stutter)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_a_slow_run_on_an_idle_machine_is_trusted(small: Running, tmp_path: Path) -> None:
    result = small.job_until_trusted(job(small, 60_000), 50_000, tmp_path)
    assert result["verdict"]["reasons"] == []


def test_a_busy_machine_is_named(small: Running, tmp_path: Path) -> None:
    with hogs(2 * (os.cpu_count() or 1)):
        result = small.finish(small.begin(job(small, 100_000), 20_000, tmp_path))
    assert result["verdict"]["word"] != "trusted"
    assert "cores idle" in reasons(result)


def test_an_agent_that_was_stopped_for_a_while_is_named(small: Running, tmp_path: Path) -> None:
    """Shorter than the retry budget: nothing fails, but the figures are not those of a NIC."""
    number = small.begin(job(small, 600_000), 5_000, tmp_path)
    small.wait_until_running(number, 0.2)
    pid = next(agent["pid"] for agent in small.call("status")["agents"] if agent["host"] == "h3")
    os.kill(pid, signal.SIGSTOP)
    try:
        small.wait_until_running(number, 0.4)
    finally:
        os.kill(pid, signal.SIGCONT)
    result = small.finish(number)
    require_right(result)
    assert result["verdict"]["word"] == "invalid"
    assert words(result)["lateness max"] == "invalid"
    assert "the agent of h3 was once" in reasons(result)


def test_a_switch_that_does_not_keep_up_is_named(small: Running, tmp_path: Path) -> None:
    """Agents are on time and a processor is idle: what waits for the switch tells, and that
    frames take longer through it after the run than before."""
    (vswitchd,) = (pid for pid in Cgroup(small.name).pids()
                   if Path(f"/proc/{pid}/comm").read_text().strip() == "ovs-vswitchd")
    number = small.begin(job(small, 200_000), 20_000, tmp_path)
    small.wait_until_running(number, 0.05)
    with stuttering(vswitchd):
        result = small.finish(number)
    require_right(result)
    assert result["verdict"]["word"] != "trusted"
    assert words(result)["switch lateness p90"] != "trusted"
    assert "late or more with what had reached it" in reasons(result)
    assert words(result)["transit drift"] != "trusted"
    assert "how long frames over 4 links take" in reasons(result)


def test_time_that_runs_too_fast_is_named(small: Running, tmp_path: Path) -> None:
    """At the smallest dilation ports allow, a pair would have to send 47,000 frames a second."""
    result = small.finish(small.begin(job(small, 4_000_000), 250, tmp_path))
    assert result["verdict"]["word"] == "invalid"
    assert words(result)["lateness p99"] == "invalid"
    assert words(result)["NIC rate error"] != "trusted"
    require_right(result)


def test_the_verdict_is_kept_and_shown(small: Running, tmp_path: Path) -> None:
    result = small.finish(small.begin(job(small, 1_000_000), 250, tmp_path))
    run = small.call("status")["run"]
    assert run["verdict"] == result["verdict"]
    assert result["verdict"]["word"] in small.command("status").stdout
