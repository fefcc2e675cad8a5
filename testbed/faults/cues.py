"""When each step of a script is to be done: a book of what is due, kept by whoever does it.

    next_ns()          when the next step is due that has a time by now
    observe(...)       how far the ranks are: conditions may have come true
    take_due(now)      steps whose moment has come, in order; they count as begun
    note_done(...)     a step is done: those that come after it have a time now

Pure: time is told, and nothing is done here. A step waits for what is before it in the
script only where it says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testbed.faults.script import After, At, Script, Step, When


@dataclass(frozen=True, slots=True)
class Cue:
    """A step and the emulated time it was due at, ns."""

    step: Step
    due_ns: int


class Cues:
    """The steps of one script that are still to be done."""

    def __init__(self, script: Script) -> None:
        self._waiting = list(script)
        self._due_ns: dict[str, int] = {
            step.name: step.moment.at_ns for step in script if isinstance(step.moment, At)}

    @property
    def waiting(self) -> tuple[Step, ...]:
        """Steps nobody has taken yet."""
        return tuple(self._waiting)

    @property
    def has_conditions(self) -> bool:
        """A step waits for what ranks say of themselves."""
        return any(isinstance(step.moment, When) and step.name not in self._due_ns
                   for step in self._waiting)

    def next_ns(self) -> int | None:
        """When the next step is due, emulated ns; None where no time is known yet."""
        known = (self._due_ns[step.name] for step in self._waiting if step.name in self._due_ns)
        return min(known, default=None)

    def observe(self, ranks: Sequence[Mapping[str, Any]], now_ns: int) -> None:
        """``ranks``: what the program of every host last said of its progress."""
        for step in self._waiting:
            moment = step.moment
            if isinstance(moment, When) and step.name not in self._due_ns and _holds(moment, ranks):
                self._due_ns[step.name] = now_ns + moment.delay_ns

    def take_due(self, now_ns: int) -> list[Cue]:
        """What is due by now, earliest first, of one time in the order of the script."""
        due = [Cue(step, self._due_ns[step.name]) for step in self._waiting
               if self._due_ns.get(step.name, now_ns + 1) <= now_ns]
        taken = {cue.step.name for cue in due}
        self._waiting = [step for step in self._waiting if step.name not in taken]
        return sorted(due, key=lambda cue: cue.due_ns)

    def note_done(self, step: Step, at_ns: int) -> None:
        """What comes after this step is due so long after ``at_ns``."""
        for later in self._waiting:
            if isinstance(later.moment, After) and later.moment.step == step.name:
                self._due_ns[later.name] = at_ns + later.moment.delay_ns


def _holds(moment: When, ranks: Sequence[Mapping[str, Any]]) -> bool:
    if not ranks:
        return False
    judge = all if moment.who == "all ranks" else any
    return judge(_reached(rank, moment) for rank in ranks)


def _reached(rank: Mapping[str, Any], moment: When) -> bool:
    """A program that does not count reaches nothing."""
    found = rank.get(moment.unit)
    if found is None:
        return False
    return bool(100 * found >= moment.number if moment.unit == "share" else found >= moment.number)
