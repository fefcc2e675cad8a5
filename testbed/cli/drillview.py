"""The live view of a drill: its timeline as a bar, what was done, how long it will take yet.

On a terminal one line is written over and over, and every step that was done leaves a line
of its own above it; elsewhere only these are written, and now and then how far it is.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from testbed.cli.output import note
from testbed.drills.drill import Drill
from testbed.faults.script import At

_BAR = 40
_QUIET_EVERY_S = 10.0


class DrillView:
    """Shows one drill at a time; `watch` is called with every state of its run."""

    def __init__(self) -> None:
        self._is_live = sys.stderr.isatty()
        self._drill: Drill | None = None
        self._told: set[str] = set()
        self._notes = 0
        self._told_at_s = 0.0

    def watch(self, drill: Drill, state: Mapping[str, Any]) -> None:
        """The run of this drill is so far."""
        if drill is not self._drill:
            self._drill, self._told, self._notes = drill, set(), 0
            self._told_at_s = time.monotonic()
        self._tell_notes(state["notes"])
        for step in state["script"]:
            if step["done_ns"] is not None and step["name"] not in self._told:
                self._told.add(step["name"])
                self.end()
                note(step_line(step))
        if state["phase"] == "running":
            self._show(progress_line(drill, state))

    def tell(self, sentence: str) -> None:
        """Say something beside the line."""
        self.end()
        note(f"testbed: {sentence}")

    def end(self) -> None:
        """Leave the line to whatever is printed next."""
        if self._is_live:
            with contextlib.suppress(OSError):
                sys.stderr.write("\r\033[K")
                sys.stderr.flush()

    def _tell_notes(self, notes: Sequence[str]) -> None:
        for text in notes[self._notes:]:
            self.end()
            note(f"  {text}")
        self._notes = len(notes)

    def _show(self, line: str) -> None:
        if self._is_live:
            with contextlib.suppress(OSError):  # a terminal that has gone sees nothing
                width = os.get_terminal_size(sys.stderr.fileno()).columns
                sys.stderr.write("\r\033[K" + line[:width - 1])
                sys.stderr.flush()
        elif time.monotonic() - self._told_at_s > _QUIET_EVERY_S:
            self._told_at_s = time.monotonic()
            note(line)


def step_line(step: Mapping[str, Any]) -> str:
    """``     376.2 us  crash          switch:p0-t1-2#crash``: what was done, and when."""
    done = [*step["injects"], *(f"{name} healed" for name in step["heals"])]
    shown = ", ".join(done[:3]) + (f" and {len(done) - 3} more" if len(done) > 3 else "")
    when = "before" if step["done_ns"] < 0 else f"{step['done_ns'] / 1000:,.1f} us"
    return f"  {when:>12}  {step['name']:<14} {shown}"


def progress_line(drill: Drill, state: Mapping[str, Any]) -> str:
    """The bar with a mark for every step, the share that is over, and what is left."""
    share, wall_s = state["share"], state["wall_s"]
    parts = [f"  [{_bar(drill, state)}]", f"{100 * share:3.0f} %",
             f"{max(0, state['emulated_ns']) / 1000:.0f} us"]
    if 0.02 < share < 1:
        parts.append(f"{wall_s * (1 - share) / share:.0f} s left")
    waiting = [step["name"] for step in state["script"] if step["done_ns"] is None]
    if waiting:
        parts.append(f"next: {waiting[0]}")
    return "  ".join(parts)


def _bar(drill: Drill, state: Mapping[str, Any]) -> str:
    share = state["share"]
    cells = ["=" if place < share * _BAR else "." for place in range(_BAR)]
    if share > 0 and state["emulated_ns"] > 0:
        end_ns = state["emulated_ns"] / share
        for step in drill.script:
            if isinstance(step.moment, At) and 0 <= step.moment.at_ns < end_ns:
                cells[int(step.moment.at_ns / end_ns * _BAR)] = "|"
    return "".join(cells)
