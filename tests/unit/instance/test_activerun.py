"""How far a run is, from what its hosts say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from unit.instance.run_fakes import SPEC, FakeTime

from testbed.errors import TestbedError
from testbed.instance import activerun
from testbed.instance.activerun import ActiveRun
from testbed.instance.order import order_of
from testbed.intent.run import RunRequest


class Fleet:
    """Counts how often it was told to stop."""

    stops = 0

    def stop(self) -> None:
        self.stops += 1


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    time = FakeTime()
    monkeypatch.setattr(activerun, "time", time)
    return time


@pytest.fixture
def active(time: FakeTime) -> ActiveRun:
    asked = RunRequest(kind="write-bw", src=0, dst=2, size_bytes=1000, qps=1, duration_ns=10_000)
    return ActiveRun(7, order_of(asked, SPEC), tdf=500)


def said(now_ns: int, bytes_done: int = 0, **more: Any) -> dict[str, Any]:
    return {"is_done": False, "now_ns": now_ns, "bytes_done": bytes_done, **more}


def test_before_anything_was_said(active: ActiveRun) -> None:
    assert active.describe() == {
        "number": 7, "what": "write-bw-h0-h2", "phase": "preparing", "notes": [], "tdf": 500,
        "emulated_ns": 0, "bytes_done": 0, "share": 0.0, "turn": None, "resent": 0,
        "wall_s": 0.0, "script": []}
    assert active.host_rows() == []


def test_it_runs_from_emulated_time_0_on(active: ActiveRun, time: FakeTime) -> None:
    active.on_progress({"h0": {"is_done": False, "now_ns": 0}})
    assert (active.phase, active.running_since_s) == ("preparing", None)
    time.sleep(5)
    active.on_progress({"h0": said(0), "h2": said(1)})
    assert active.phase == "running"
    time.sleep(2.5)
    active.on_progress({"h0": said(4_000, 3_000, resent=2), "h2": said(3_900, 1_000, resent=1)})
    told = active.describe()
    assert (told["emulated_ns"], told["bytes_done"], told["resent"]) == (4_000, 4_000, 3)
    assert (told["share"], told["wall_s"]) == (0.4, 2.5)


def test_a_later_phase_is_not_undone_by_progress(active: ActiveRun) -> None:
    active.on_progress({"h0": said(5)})
    active.phase = "finishing"
    active.on_progress({"h0": said(9)})
    assert active.phase == "finishing"


def test_rates_are_of_late_not_of_the_whole_run(active: ActiveRun) -> None:
    active.on_progress({"h0": said(1_000, 50_000)})
    assert active.rates_bps == {"h0": 50_000 * 8e9 / 1_000}
    active.on_progress({"h0": said(3_000, 60_000)})
    assert active.rates_bps == {"h0": 10_000 * 8e9 / 2_000}
    active.on_progress({"h0": said(3_000, 60_000)})  # no time has passed: what was known stays
    assert active.rates_bps == {"h0": 10_000 * 8e9 / 2_000}
    active.on_progress({"h0": said(4_000, 60_000)})
    assert active.rates_bps == {"h0": 0.0}


def test_time_before_the_beginning_is_no_time(active: ActiveRun) -> None:
    active.on_progress({"h0": said(-9_000)})
    assert active.rates_bps == {}
    active.on_progress({"h0": said(1_000, 1_000)})
    assert active.rates_bps == {"h0": 8e9}


def test_a_host_that_is_silent_is_where_it_was(active: ActiveRun) -> None:
    active.on_progress({"h0": said(1_000, 500, resent=2), "h2": said(1_000, 100, resent=1)})
    active.on_progress({"h2": said(2_000, 300, resent=1)})
    told = active.describe()
    assert (told["emulated_ns"], told["bytes_done"], told["resent"]) == (2_000, 800, 3)
    assert [row["host"] for row in active.host_rows()] == ["h0", "h2"]
    active.on_progress({})
    assert active.describe()["share"] == told["share"] == 0.2
    active.on_progress({"h0": said(3_000, 1_500)})  # back: over the whole time it was away
    assert active.rates_bps["h0"] == 1_000 * 8e9 / 2_000


def test_host_rows(active: ActiveRun) -> None:
    active.on_progress({
        "h0": said(1_000, 125, active_evs=[4, 3], resent=5, lateness_p99_ns=70),
        "h2": {"is_done": True, "now_ns": 0}})
    assert active.host_rows() == [
        {"host": "h0", "goodput_bps": 1e9, "active_evs": [4, 3], "resent": 5,
         "lateness_p99_ns": 70},
        {"host": "h2", "goodput_bps": 0.0, "active_evs": [], "resent": 0, "lateness_p99_ns": 0}]


SCRIPT: Any = SimpleNamespace(describe=list)


def test_stop_reaches_the_run_whenever_it_begins(active: ActiveRun) -> None:
    fleet: Any = Fleet()
    active.on_begin(fleet, SCRIPT)
    assert fleet.stops == 0
    active.stop()
    assert (active.is_stopping, fleet.stops) == (True, 1)


def test_stop_before_the_run_has_begun_is_not_forgotten(active: ActiveRun) -> None:
    fleet: Any = Fleet()
    active.stop()
    active.on_begin(fleet, SCRIPT)
    assert fleet.stops == 1


@pytest.mark.parametrize(("phase", "is_over"), [
    ("preparing", False), ("calibrating", False), ("running", False), ("finishing", False),
    ("done", True), ("failed", True),
])
def test_over_is_done_or_failed(active: ActiveRun, phase: str, is_over: bool) -> None:
    active.phase = phase
    active.error = TestbedError("x") if phase == "failed" else None
    assert active.is_over is is_over
