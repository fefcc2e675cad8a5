"""What was done of a script, as rows of the `events` table: faults begun, faults ended.

Whether a fault has bitten is known only when it ends, so the row of its begin is completed
then. A step that was never done leaves a warning. What somebody does by hand meanwhile is noted
under a name of its own (`BY_HAND`). A row is kept before anybody can see it: a
process that dies the moment after has left it behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from testbed.faults.cues import Cue
from testbed.faults.script import At, Step
from testbed.metrics.tables import event_row

NO_EVIDENCE = "no evidence"
"""In `detail` of a fault that nothing shows to have bitten."""
END = "end"
"""The name of what is healed because the run is over."""
BY_HAND = "by hand"
"""The name of what somebody did beside the script, or had in force when it began."""


def keep_nowhere(_row: Mapping[str, Any]) -> None:
    """For a script whose rows need not outlive the process."""


class Chronicle:
    """The rows of one script, in the order in which things were done.

    ``keep`` is given every row once, as far as it is known then.
    """

    def __init__(self, keep: Callable[[Mapping[str, Any]], None] = keep_nowhere) -> None:
        self.rows: list[dict[str, Any]] = []
        self._keep = keep
        self._begun: dict[str, dict[str, Any]] = {}

    @property
    def in_force(self) -> tuple[str, ...]:
        """Ids of the faults that the script put in force and nobody took back, newest last."""
        return tuple(fault_id for fault_id, row in self._begun.items() if row["name"] != BY_HAND)

    def note_injected(self, cue: Cue, fault_id: str, at_ns: int) -> None:
        """A fault is in force since ``at_ns``."""
        self._begin(fault_id, self._row(cue.step.name, "inject", fault_id, at_ns, cue))

    def note_healed(self, cue: Cue | None, fault_id: str, at_ns: int, *, has_bitten: bool,
                    evidence: str) -> None:
        """A fault was taken back at ``at_ns``, by a step or (None) because the run is over."""
        name = END if cue is None else cue.step.name
        self._end(fault_id, self._row(name, "heal", fault_id, at_ns, cue), has_bitten, evidence)

    def note_injected_by_hand(self, fault_id: str, at_ns: int) -> None:
        """Somebody has put a fault in force, which stays when the run is over."""
        self._begin(fault_id, self._row(BY_HAND, "inject", fault_id, at_ns, None))

    def note_healed_by_hand(self, fault_id: str, at_ns: int, *, has_bitten: bool,
                            evidence: str) -> None:
        """Somebody has taken a fault back, one of his own or one of the script."""
        row = self._row(BY_HAND, "heal", fault_id, at_ns, None)
        self._end(fault_id, row, has_bitten, evidence)

    def note_undone(self, steps: Iterable[Step], now_ns: int) -> None:
        """The run is over and these steps were not done."""
        for step in steps:
            why = ("the run was over before" if isinstance(step.moment, At)
                   else "what it waits for never came")
            self._add(event_row(now_ns, "warning", name=step.name, what="not done",
                                detail=f"step '{step.name}' was not done: {why}"))

    def late_ns(self) -> dict[str, int]:
        """By step: how much later than planned it was done."""
        return {row["name"]: max(0, row["late_ns"]) for row in self.rows
                if row["late_ns"] is not None}

    def _begin(self, fault_id: str, row: dict[str, Any]) -> None:
        self._begun[fault_id] = row
        self._add(row)

    def _end(self, fault_id: str, row: dict[str, Any], has_bitten: bool, evidence: str) -> None:
        for told in (row, self._begun.pop(fault_id, row)):
            told["evidence"] = evidence
            told["detail"] = "" if has_bitten else NO_EVIDENCE
        self._add(row)

    def _row(self, name: str, what: str, fault_id: str, at_ns: int,
             cue: Cue | None) -> dict[str, Any]:
        # What is to be there from the beginning is done before there is a clock.
        is_timed = cue is not None and cue.due_ns >= 0
        return event_row(
            at_ns, "action", name=name, what=what, target=fault_id,
            planned_ns=cue.due_ns if cue is not None and is_timed else None,
            late_ns=at_ns - cue.due_ns if cue is not None and is_timed else None)

    def _add(self, row: dict[str, Any]) -> None:
        self._keep(row)
        self.rows.append(row)
