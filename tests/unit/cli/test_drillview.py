"""The live view of a drill: what it says of the timeline while it runs."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.cli import drillview
from testbed.cli.drillview import DrillView, progress_line, step_line
from testbed.drills.drill import Drill
from testbed.drills.schema import read_drill
from testbed.drills.template import template

CRASH = {"name": "crash", "done_ns": None, "injects": ["switch:p0-t1-1#crash"], "heals": []}
BACK = {"name": "back", "done_ns": None, "injects": [], "heals": ["switch:p0-t1-1#crash"]}


@pytest.fixture(name="drill")
def _drill() -> Drill:
    return read_drill(template("mine"), "mine.yaml", "./mine.yaml")


def state(**changes: Any) -> dict[str, Any]:
    return {"phase": "running", "notes": [], "script": [CRASH, BACK], "share": 0.5,
            "emulated_ns": 564_240, "wall_s": 6.0, **changes}


def test_a_step_that_was_done() -> None:
    assert step_line({**CRASH, "done_ns": 376_161}) == (
        "      376.2 us  crash          switch:p0-t1-1#crash")
    assert step_line({**BACK, "done_ns": 800_000}).endswith("switch:p0-t1-1#crash healed")
    many = {**CRASH, "done_ns": -1, "injects": [f"nic:h{host}:p0#down" for host in range(5)]}
    assert step_line(many) == ("        before  crash          nic:h0:p0#down, nic:h1:p0#down, "
                               "nic:h2:p0#down and 2 more")


def test_how_far_it_is(drill: Drill) -> None:
    line = progress_line(drill, state())
    bar = line[line.index("[") + 1:line.index("]")]
    assert bar == "=============|======......|............."
    assert line.endswith("]   50 %  564 us  6 s left  next: crash")


def test_a_run_that_has_not_begun_has_no_estimate(drill: Drill) -> None:
    line = progress_line(drill, state(share=0.0, emulated_ns=-5, wall_s=0.0))
    assert "left" not in line
    assert "|" not in line


def test_steps_and_notes_are_told_once(drill: Drill, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(drillview, "note", told.append)
    view = DrillView()
    done = {**CRASH, "done_ns": 376_000}
    for seen in (state(notes=["calibrating: x"], phase="calibrating"),
                 state(notes=["calibrating: x"], script=[done, BACK]),
                 state(notes=["calibrating: x", "y"], script=[done, BACK])):
        view.watch(drill, seen)
    assert told == ["  calibrating: x", step_line(done), "  y"]


def test_a_second_drill_begins_anew(drill: Drill, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(drillview, "note", told.append)
    view = DrillView()
    done = [{**CRASH, "done_ns": 376_000}]
    view.watch(drill, state(script=done))
    other = read_drill(template("other"), "other.yaml", "./other.yaml")
    view.watch(other, state(script=done))
    assert len(told) == 2
