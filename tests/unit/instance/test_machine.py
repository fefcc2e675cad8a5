"""How idle the machine was, and how much of it there was: /proc/stat by the columns of proc(5)."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.instance import machine
from testbed.instance.machine import CpuTimes, read_cpu_times

STAT = "cpu  100 20 30 4000 500 6 7 8 900 90\ncpu0 1 1 1 1 1 1 1 1 1 1\nintr 5\n"


def test_idle_is_idle_and_iowait_and_guests_are_not_counted_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stat").write_text(STAT)
    monkeypatch.setattr(machine, "_STAT", tmp_path / "stat")
    assert read_cpu_times() == CpuTimes(4500, 100 + 20 + 30 + 4000 + 500 + 6 + 7 + 8, 8)


def test_this_machine_can_be_read_and_time_goes_on() -> None:
    first, second = read_cpu_times(), read_cpu_times()
    assert 0 < first.idle <= first.total <= second.total


@pytest.mark.parametrize(("idle", "total", "cores"), [
    (400, 400, 4.0), (0, 400, 0.0), (100, 400, 1.0), (10, 400, 0.1), (0, 0, 4.0),
])
def test_idle_cores(
    idle: int, total: int, cores: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    earlier = CpuTimes(1000, 9000)
    assert CpuTimes(1000 + idle, 9000 + total).idle_cores_since(earlier) == cores


@pytest.mark.parametrize(("stolen", "total", "cores"), [
    (0, 400, 0.0), (100, 400, 1.0), (0, 0, 0.0),
])
def test_stolen_cores(
    stolen: int, total: int, cores: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    earlier = CpuTimes(1000, 9000, 7)
    assert CpuTimes(1000, 9000 + total, 7 + stolen).stolen_cores_since(earlier) == cores
