"""A script carried out in virtual time: every step at exactly its moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from testbed.faults.actions import fault_id
from testbed.faults.chronicle import Chronicle
from testbed.faults.cues import Cue, Cues
from testbed.faults.script import Script, require_sense
from testbed.sim.simulation import Simulation


class SimScript:
    """The script of one simulation; conditions are looked at when `look` is called.

    ``progress`` tells what the program of every host says of itself. Raises UsageError for a
    script that makes no sense.
    """

    def __init__(self, sim: Simulation, script: Script,
                 progress: Callable[[], Sequence[Mapping[str, Any]]]) -> None:
        require_sense(script)
        self.chronicle = Chronicle()
        self._sim, self._progress = sim, progress
        self._cues = Cues(script)
        self._wake_ns: int | None = None

    def begin(self) -> None:
        """Do what is to be there from the beginning, and wait for the rest."""
        self._do_due()

    def look(self) -> None:
        """See whether a condition has come true by now."""
        if self._cues.has_conditions:
            self._cues.observe(self._progress(), self._sim.now)
            self._do_due()

    def finish(self) -> None:
        """Heal everything that is left; what was not done is told."""
        now = self._sim.now
        for name in reversed(self.chronicle.in_force):
            self._heal(None, (name,))
        self.chronicle.note_undone(self._cues.waiting, now)

    def _do_due(self) -> None:
        for cue in self._cues.take_due(self._sim.now):
            self._do(cue)
        due_ns = self._cues.next_ns()
        if due_ns is not None and due_ns != self._wake_ns:
            self._wake_ns = due_ns
            self._sim.at(max(due_ns, self._sim.now), self._do_due)

    def _do(self, cue: Cue) -> None:
        now, step = self._sim.now, cue.step
        bitten = self._evidence(step.heals)
        self._sim.faults.move(step.injects, step.heals, now)
        for name, (has_bitten, text) in bitten.items():
            self.chronicle.note_healed(cue, name, now, has_bitten=has_bitten, evidence=text)
        for action in step.injects:
            self.chronicle.note_injected(cue, fault_id(action), now)
        self._cues.note_done(step, now)

    def _heal(self, cue: Cue | None, names: tuple[str, ...]) -> None:
        now = self._sim.now
        bitten = self._evidence(names)
        self._sim.faults.move((), names, now)
        for name, (has_bitten, text) in bitten.items():
            self.chronicle.note_healed(cue, name, now, has_bitten=has_bitten, evidence=text)

    def _evidence(self, names: Sequence[str]) -> dict[str, tuple[bool, str]]:
        return {name: self._sim.faults.evidence(name) for name in names}
