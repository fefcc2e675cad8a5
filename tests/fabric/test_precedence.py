"""Daemons and agents go before other programs, by whatever the kernel's scheduler looks at."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from testbed_process import Running

from testbed.fabric.cgroup import Cgroup
from testbed.precedence import CONTROL_NICENESS, FRAMES_NICENESS, go_before_others

pytestmark = pytest.mark.root


@pytest.fixture
def daemon() -> Iterator[int]:
    """A process in a session of its own, as daemons here are."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE,
                               start_new_session=True)
    yield process.pid
    process.communicate(b"\n")


def test_both_the_process_and_its_session_go_before_others(daemon: int) -> None:
    group = Path(f"/proc/{daemon}/autogroup")
    go_before_others(daemon, FRAMES_NICENESS)
    assert os.getpriority(os.PRIO_PROCESS, daemon) == FRAMES_NICENESS
    if group.exists():  # a kernel without has one group for all, where the first line is enough
        assert group.read_text().split()[-1] == str(FRAMES_NICENESS)


def test_a_process_that_has_ended_is_nobodys_error(daemon: int) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    go_before_others(ended.pid, FRAMES_NICENESS)


def test_waking_on_time_takes_the_slack_away() -> None:
    script = ("from testbed.precedence import wake_on_time\n"
              "wake_on_time()\n"
              "print(open('/proc/self/timerslack_ns').read())")
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                           check=True)
    assert int(found.stdout) == 1


def test_frames_go_first_and_the_instance_behind_them(bring_up: Callable[..., Running]) -> None:
    found: dict[str, set[int]] = {}
    for pid in Cgroup(bring_up("tiny").name).pids():
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        for part in ("ovs-vswitchd", "testbed.agent", "testbed.instance.process"):
            if part in words:
                found.setdefault(part, set()).add(os.getpriority(os.PRIO_PROCESS, pid))
    assert found == {"ovs-vswitchd": {FRAMES_NICENESS}, "testbed.agent": {FRAMES_NICENESS},
                     "testbed.instance.process": {CONTROL_NICENESS}}
