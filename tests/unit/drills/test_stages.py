"""Drills on an instance of a few lines: what it is asked, and what an interrupt does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from testbed.drills import stages
from testbed.drills.drill import Drill
from testbed.drills.schema import read_drill
from testbed.drills.stages import FabricStage
from testbed.drills.template import template
from testbed.errors import InstanceError, TestbedError
from testbed.instance.runfolder import Owner

ME = Owner(os.getuid(), os.getgid())
RUNNING = {"result": None, "script": [], "notes": [], "phase": "running"}
DONE = {**RUNNING, "result": {"folder": "/runs/x"}, "phase": "done"}


@pytest.fixture(name="drill")
def _drill() -> Drill:
    return read_drill(template("mine"), "mine.yaml", "./mine.yaml")


class Instance:
    """``states`` are what `run_state` says, one after another; an exception is raised."""

    def __init__(self, *states: Any) -> None:
        self.states = list(states)
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def call(self, method: str, params: dict[str, Any]) -> Any:
        self.calls.append((method, params))
        if method != "run_state":
            return 7
        state = self.states.pop(0)
        if isinstance(state, BaseException):
            raise state
        return state


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages.time, "sleep", lambda _s: None)


def stage(instance: Instance, seen: list[Any] | None = None,
          told: list[str] | None = None) -> FabricStage:
    watched, heard = [] if seen is None else seen, [] if told is None else told
    return FabricStage(instance, Path("runs"), ME,  # type: ignore[arg-type]
                       lambda _drill, state: watched.append(state["phase"]), heard.append)


def test_the_instance_is_asked_for_workload_and_script(drill: Drill) -> None:
    instance, seen = Instance(RUNNING, RUNNING, DONE), list[str]()
    assert stage(instance, seen).play(drill) == Path("/runs/x")
    method, asked = instance.calls[0]
    assert (method, asked["what"], asked["uid"]) == ("run_start", "drill-mine", os.getuid())
    assert asked["request"] == drill.workload
    assert asked["folder"] == str(Path("runs").resolve())
    assert [step["name"] for step in asked["script"]] == ["crash", "back"]
    assert seen == ["running", "running", "done"]


def test_an_interrupt_ends_the_run_and_waits_until_all_is_healed(drill: Drill) -> None:
    failures = ["link:p0-t0-0:p0-t1-0#down could not be healed: ip refused"]
    result = {"folder": "/runs/x", "failures": failures}
    instance = Instance(RUNNING, KeyboardInterrupt(), RUNNING, {**DONE, "result": result})
    told: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        stage(instance, told=told).play(drill)
    assert told == [*failures, "what was recorded until then is in /runs/x"]
    assert [method for method, _ in instance.calls] == [
        "run_start", "run_state", "run_state", "run_stop", "run_state", "run_state"]


def test_an_interrupt_of_a_run_that_ends_in_an_error_is_an_interrupt(drill: Drill) -> None:
    instance = Instance(KeyboardInterrupt(), TestbedError("nothing was begun"))
    told: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        stage(instance, told=told).play(drill)
    assert told == ["nothing was begun"]


def test_an_instance_that_dies_is_told(drill: Drill) -> None:
    with pytest.raises(InstanceError, match="went down"):
        stage(Instance(RUNNING, InstanceError("instance 'x' went down"))).play(drill)
