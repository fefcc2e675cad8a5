"""Carries a script out on the fabric, each step at its emulated time, and writes down when.

    before()       what is to be there from the beginning, before anything is sent
    start(zero)    emulated time runs: a thread waits for each moment
    see(answers)   how far the ranks are, for steps that wait for that
    finish()       no more steps; everything that is in force is healed

A step that cannot be done ends the script, heals what it did so far, and is told in
``failures``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from testbed.errors import TestbedError
from testbed.faults.actions import Action, fault_id
from testbed.faults.chronicle import Chronicle, keep_nowhere
from testbed.faults.cues import Cue, Cues
from testbed.faults.script import Script, require_sense

_LONGEST_WAIT_S = 0.5
_NEAR_NS = 300_000_000  # of wall clock


class Mover(Protocol):
    """What puts faults in force: the instance's injector.

    ``moved_at_ns``: CLOCK_MONOTONIC when the last move had its effect. ``on_by_hand`` is told,
    while it is held, what somebody else did: inject or heal, and the fault.
    """

    moved_at_ns: int
    on_by_hand: Callable[[str, Mapping[str, Any]], None] | None

    def held(self) -> AbstractContextManager[object]:
        """Until it is left nobody else sees what is in force, or changes it."""

    def move(self, injects: Sequence[Action], heals: Sequence[str]) -> list[dict[str, Any]]:
        """Several faults begun and ended at once; what each that ended has done."""

    @property
    def in_force(self) -> tuple[str, ...]:
        """Ids of the faults in force, newest last."""


class Conductor:
    """One script on one fabric. `see` and `finish` may be called from any thread.

    ``keep`` is given a row of the table `events` for everything that was done, at once, also
    by hand: what is in force from before, and what somebody does meanwhile.
    Raises UsageError for a script that makes no sense.
    """

    def __init__(self, injector: Mover, script: Script, tdf: int,
                 keep: Callable[[Mapping[str, Any]], None] = keep_nowhere) -> None:
        require_sense(script)
        self.chronicle = Chronicle(keep)
        self.failures: list[str] = []
        self._injector, self._tdf = injector, tdf
        self._script = script
        self._cues = Cues(script)
        self._changed = threading.Condition()
        self._is_over = self._is_moving = False
        self._zero_ns: int | None = None
        self._thread: threading.Thread | None = None

    def before(self) -> None:
        """Do what is due before the start. Raises TestbedError where it cannot be done."""
        with self._injector.held():
            self._injector.on_by_hand = self._note_by_hand
            for name in self._injector.in_force:
                self.chronicle.note_injected_by_hand(name, -1)
        try:
            for cue in self._cues.take_due(-1):
                self._do(cue, cue.due_ns)
        except BaseException:
            self._heal_all()
            raise

    def start(self, zero_ns: int) -> None:
        """Emulated time is 0 at this CLOCK_MONOTONIC time."""
        self._zero_ns = zero_ns
        if self._cues.waiting:
            self._thread = threading.Thread(target=self._run, name="conductor", daemon=True)
            self._thread.start()

    def see(self, answers: Mapping[str, Mapping[str, Any]]) -> None:
        """What every host last said of its progress."""
        with self._changed:
            if self._cues.has_conditions:
                self._cues.observe(list(answers.values()), self._now_ns())
                self._changed.notify()

    @property
    def is_step_near(self) -> bool:
        """A step is being done, or due in a moment: what takes long should wait, for its work
        in this process would make the step late."""
        with self._changed:
            due_ns = self._cues.next_ns()
        is_soon = due_ns is not None and (due_ns - self._now_ns()) * self._tdf < _NEAR_NS
        return self._is_moving or is_soon

    def finish(self) -> None:
        """Do nothing more, and heal what is in force, newest first; never raises."""
        with self._changed:
            self._is_over = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        self._heal_all()
        with self._injector.held():
            self._injector.on_by_hand = None
        self.chronicle.note_undone(self._cues.waiting, self._now_ns())

    def describe(self) -> list[dict[str, Any]]:
        """For those who watch: every step with when it was done, None where it was not yet."""
        done = {row["name"]: row["t_ns"] for row in tuple(self.chronicle.rows)}
        return [{"name": step.name, "done_ns": done.get(step.name),
                 "injects": [fault_id(action) for action in step.injects],
                 "heals": list(step.heals)} for step in self._script]

    # --- the thread -------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while (cues := self._wait()) is not None:
                for cue in cues:
                    self._do(cue)
        except TestbedError as error:
            self.failures.append(f"the script stopped: {error}")
        except Exception as error:
            self.failures.append(f"the script stopped ({error!r}): please report this")

    def _wait(self) -> list[Cue] | None:
        """Until steps are due; None when it is over."""
        with self._changed:
            while not self._is_over:
                now_ns = self._now_ns()
                if cues := self._cues.take_due(now_ns):
                    return cues
                if not self._cues.waiting:
                    return None
                due_ns = self._cues.next_ns()
                wait_s = (_LONGEST_WAIT_S if due_ns is None
                          else (due_ns - now_ns) * self._tdf / 1e9)
                self._changed.wait(min(max(wait_s, 0), _LONGEST_WAIT_S))
        return None

    def _now_ns(self) -> int:
        return self._emulated_ns(time.monotonic_ns())

    def _emulated_ns(self, monotonic_ns: int) -> int:
        """Below 0 before the start."""
        if self._zero_ns is None:
            return -1
        return (monotonic_ns - self._zero_ns) // self._tdf

    # --- steps ------------------------------------------------------------------------

    def _do(self, cue: Cue, at_ns: int | None = None) -> None:
        self._is_moving = True
        try:
            # Its rows are kept before anybody can see that it is done.
            with self._injector.held():
                done_ns = self._move(cue, at_ns)
        finally:
            self._is_moving = False
        with self._changed:
            self._cues.note_done(cue.step, done_ns)

    def _move(self, cue: Cue, at_ns: int | None) -> int:
        """Do a step and note it; when it was done, emulated ns: ``at_ns`` where it is given."""
        told = self._injector.move(cue.step.injects, cue.step.heals)
        done_ns = self._emulated_ns(self._injector.moved_at_ns) if at_ns is None else at_ns
        for found in told:
            self._note_healed(cue, found, done_ns)
        for action in cue.step.injects:
            self.chronicle.note_injected(cue, fault_id(action), done_ns)
        return done_ns

    def _heal_all(self) -> None:
        for name in reversed(self.chronicle.in_force):
            try:
                with self._injector.held():
                    for found in self._injector.move((), (name,)):
                        self._note_healed(None, found, self._now_ns())
            except TestbedError as error:
                self.failures.append(f"{name} could not be healed: {error}")
            except Exception as error:  # the next one may well be healed
                self.failures.append(f"{name} could not be healed ({error!r}): heal it by hand, or "
                                     "take the instance down and up again")

    def _note_healed(self, cue: Cue | None, found: Mapping[str, Any], at_ns: int) -> None:
        self.chronicle.note_healed(cue, _id_of(found), at_ns, has_bitten=found["has_bitten"],
                                   evidence=found["evidence"])

    def _note_by_hand(self, what: str, found: Mapping[str, Any]) -> None:
        if what == "inject":
            self.chronicle.note_injected_by_hand(_id_of(found), self._now_ns())
        else:
            self.chronicle.note_healed_by_hand(
                _id_of(found), self._now_ns(), has_bitten=found["has_bitten"],
                evidence=found["evidence"])


def _id_of(found: Mapping[str, Any]) -> str:
    return f"{found['target']}#{found['kind']}"
