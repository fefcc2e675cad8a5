"""Which instance a drill is given: the one that is up and fits, else one of its own."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from testbed.drills import bringup
from testbed.drills.bringup import control_for
from testbed.errors import TestbedError, UsageError
from testbed.instance.layout import Liveness
from testbed.intent.topology import load_topology
from topologies.spec import ClosSpec

QUAD, TINY = load_topology("quad"), load_topology("tiny")
READY = {"topology": "tiny"}


class Machine:
    """Instances by name, and what was done with them."""

    def __init__(self, up: dict[str, ClosSpec]) -> None:
        self.up, self.done = dict(up), list[str]()
        self.on_ready: Exception | None = None

    def layout(self, name: str) -> Any:
        machine = self

        class Layout:
            def liveness(self) -> Liveness:
                return Liveness.ALIVE if name in machine.up else Liveness.ABSENT

        return Layout()

    def control(self, name: str) -> Any:
        machine = self

        class Control:
            name_ = name

            def __enter__(self) -> Control:
                return self

            def __exit__(self, *_exc: object) -> None:
                machine.done.append(f"left {name}")

            def call(self, method: str) -> Any:
                assert method == "nodes"
                return {"spec": asdict(machine.up[name])}

        return Control()

    def launch(self, request: Any) -> Any:
        machine = self

        class Launch:
            is_claimed = False

            def start(self) -> None:
                self.is_claimed = True
                machine.done.append(f"up {request.name} {request.spec.name}")
                machine.up[request.name] = request.spec

            def follow_until_ready(self, _on_stage: Any) -> dict[str, Any]:
                if machine.on_ready:
                    raise machine.on_ready
                return READY

            def release(self) -> None:
                machine.done.append("released")

        return Launch()

    def tear_down(self, name: str) -> None:
        self.done.append(f"down {name}")


@pytest.fixture(name="machine")
def _machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine({"default": QUAD})
    for name, stand_in in (("Layout", machine.layout), ("Control", machine.control),
                           ("Launch", machine.launch), ("tear_down", machine.tear_down)):
        monkeypatch.setattr(bringup, name, stand_in)
    return machine


def use(spec: ClosSpec, name: str = "default", is_named: bool = False) -> str:
    with control_for(spec, name, is_named, lambda _summary, _took: None) as control:
        return str(control.name_)  # type: ignore[attr-defined]


@pytest.mark.parametrize("spec", [QUAD, replace(QUAD, dataplane="linux")])
def test_the_instance_that_is_up_is_taken_and_left_up(machine: Machine, spec: ClosSpec) -> None:
    assert use(spec) == "default"
    assert machine.done == ["left default"]


def test_another_topology_gets_an_instance_of_its_own(machine: Machine) -> None:
    assert use(TINY) == "drill"
    assert machine.done == ["left default", "up drill tiny", "left drill", "released",
                            "down drill"]


def test_an_instance_asked_for_by_name_is_not_passed_over(machine: Machine) -> None:
    with pytest.raises(UsageError, match="is not tiny"):
        use(TINY, is_named=True)
    assert use(TINY, "mine", is_named=True) == "mine"
    assert "up mine tiny" in machine.done


def test_what_was_brought_up_is_taken_down_whatever_happens(machine: Machine) -> None:
    with (pytest.raises(KeyboardInterrupt),
          control_for(TINY, "default", False, lambda _summary, _took: None)):
        raise KeyboardInterrupt
    assert machine.done[-1] == "down drill"
    machine.done.clear()
    machine.on_ready = TestbedError("no room")
    with pytest.raises(TestbedError, match="no room"):
        use(TINY)
    assert machine.done[-1] == "down drill"
