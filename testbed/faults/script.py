"""What is to happen during a run: faults put in force and taken back at given moments.

A script is data: it is planned before a run, sent to whoever runs it, and done there by one
who knows when each moment has come, on the emulated fabric and in the simulator alike.

    At(40_000)                    emulated ns after the start of the run; below 0 is before it
    After("crash", 20_000)        so long after another step was done
    When("all ranks", "iteration", 3, 0)      when all ranks are in that iteration
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from testbed.errors import UsageError
from testbed.faults.actions import Action, HostKill, HostPause, fault_id, make_action
from testbed.faults.targets import parse_target
from testbed.fields import Fields

Who = Literal["all ranks", "any rank"]
Unit = Literal["iteration", "step", "share"]

WHO: tuple[Who, ...] = ("all ranks", "any rank")
UNITS: tuple[Unit, ...] = ("iteration", "step", "share")
MAX_STEPS = 10_000
_MAX_NS = 10**12


@dataclass(frozen=True, slots=True)
class At:
    """At this emulated time, ns; below 0 before anything is sent."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class After:
    """``delay_ns`` >= 0 after the step of this name was done."""

    step: str
    delay_ns: int


@dataclass(frozen=True, slots=True)
class When:
    """``delay_ns`` >= 0 after this was first seen to be so.

    Iterations and steps count from 0 and are those a rank is in, or has left behind;
    ``share`` is of the whole run, in percent.
    """

    who: Who
    unit: Unit
    number: int
    delay_ns: int = 0


Moment = At | After | When


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do: faults that begin together, and faults that end together.

    ``name`` is the step's, unique in its script; ``heals`` are ids of faults
    (:func:`~testbed.faults.actions.fault_id`) that earlier steps put in force.
    """

    name: str
    moment: Moment
    injects: tuple[Action, ...] = ()
    heals: tuple[str, ...] = ()

    def to_params(self) -> dict[str, Any]:
        """As JSON; `from_params` reads it back."""
        return {
            "name": self.name, "moment": _moment_params(self.moment),
            "injects": [_action_params(action) for action in self.injects],
            "heals": list(self.heals),
        }

    @classmethod
    def from_params(cls, params: object) -> Step:
        """Read JSON; raises the error of `Fields`, or UsageError, at the first fault."""
        take = Fields(params, "step")
        step = cls(
            str(take.take("name")), _read_moment(take.mapping("moment")),
            tuple(_read_action(found) for found in take.items("injects", [])),
            tuple(str(name) for name in take.items("heals", [])),
        )
        take.finish()
        return step


Script = tuple[Step, ...]


def require_sense(script: Sequence[Step]) -> None:
    """Raises UsageError for a script that cannot be done as written.

    Names twice, a moment after a step that does not exist or comes later in the list, a heal
    of what nothing before it put in force, a fault put in force twice.
    """
    names, active = set[str](), set[str]()
    for step in script:
        if step.name in names:
            raise UsageError(f"two steps are called '{step.name}': give each a name of its own")
        if isinstance(step.moment, After) and step.moment.step not in names:
            raise UsageError(f"step '{step.name}' comes after '{step.moment.step}', which is no "
                             "step before it: write that one first")
        names.add(step.name)
        _follow(step, active)


def _follow(step: Step, active: set[str]) -> None:
    for name in step.heals:
        if name not in active:
            raise UsageError(f"step '{step.name}' heals {name}, which no step before it puts in "
                             "force: inject it first")
        active.remove(name)
    for action in step.injects:
        name = fault_id(action)
        if name in active:
            raise UsageError(f"step '{step.name}' puts {name} in force a second time: heal it "
                             "in between")
        active.add(name)


def faults_of(script: Sequence[Step]) -> Iterator[tuple[Step, Action]]:
    """Every fault with the step that puts it in force, in order."""
    for step in script:
        for action in step.injects:
            yield step, action


def silenced_hosts(script: Sequence[Step]) -> frozenset[int]:
    """Hosts (indexes) whose agents the script stops or kills: that they fall silent is no
    accident."""
    return frozenset(action.target.host for _, action in faults_of(script)
                     if isinstance(action, HostPause | HostKill))


def left_in_force(script: Sequence[Step]) -> tuple[str, ...]:
    """Ids of the faults that no step heals: whoever runs the script heals them at its end."""
    healed = {name for step in script for name in step.heals}
    return tuple(fault_id(action) for _, action in faults_of(script)
                 if fault_id(action) not in healed)


# --- JSON ----------------------------------------------------------------------------------


def _action_params(action: Action) -> dict[str, Any]:
    return {"target": str(action.target), "kind": action.kind,
            "ratio": getattr(action, "ratio", None)}


def _read_action(params: object) -> Action:
    if not isinstance(params, Mapping):
        raise UsageError("a fault of a script is no object: give target, kind and ratio")
    ratio = params.get("ratio")
    return make_action(parse_target(str(params.get("target"))), str(params.get("kind")),
                       None if ratio is None else float(ratio))


def _moment_params(moment: Moment) -> dict[str, Any]:
    match moment:
        case At(at_ns):
            return {"at_ns": at_ns}
        case After(step, delay_ns):
            return {"after": step, "delay_ns": delay_ns}
        case When(who, unit, number, delay_ns):
            return {"who": who, "unit": unit, "number": number, "delay_ns": delay_ns}


def _read_moment(params: Mapping[str, Any]) -> Moment:
    take = Fields(params, "step.moment")
    moment: Moment
    if "at_ns" in params:
        moment = At(take.integer("at_ns", -_MAX_NS, _MAX_NS))
    elif "after" in params:
        moment = After(str(take.take("after")), take.integer("delay_ns", 0, _MAX_NS))
    else:
        moment = When(take.word("who", WHO), take.word("unit", UNITS),  # type: ignore[arg-type]
                      take.integer("number", 0, _MAX_NS), take.integer("delay_ns", 0, _MAX_NS))
    take.finish()
    return moment
