"""Windows: refused before a run where they are nonsense, found after it where things were done."""

from __future__ import annotations

import pytest
from unit.drills.files import PLAIN_CHECKS, drill_of, faults_of

from testbed.drills.moments import Point
from testbed.drills.windows import Resolved, WindowSpec, resolve_window


def complaint_of(line: str) -> str:
    return faults_of(windows=f"windows:\n  w: {line}\n", checks=PLAIN_CHECKS)


def test_every_drill_has_the_whole_run_as_a_window() -> None:
    drill = drill_of(windows="", checks=PLAIN_CHECKS)
    assert [str(window) for window in drill.windows] == ["start .. end"]
    assert [window.name for window in drill.windows] == ["run"]


@pytest.mark.parametrize(("line", "complaint"), [
    ("crash", "is not a window"), ("back .. crash", "this window is empty"),
    ("crash + 5rtt .. crash + 5rtt", "this window is empty"),
    ("crahs .. end", "did you mean 'crash'"), ("crash .. end + 5rtt", "when the workload is over"),
    ("crash - 50rtt .. back", "begins before the run"), ("[a, b]", "a single value"),
    ("crash .. soon + x", "is not a moment"),
])
def test_nonsense_is_refused(line: str, complaint: str) -> None:
    assert complaint in complaint_of(line)


def test_the_name_of_the_whole_run_is_taken() -> None:
    assert "use another name" in faults_of(windows="windows: {run: start .. end}\n",
                                           checks=PLAIN_CHECKS)


WINDOW = WindowSpec("w", Point("crash", 10), Point("back", 0))


def test_a_window_moves_with_what_was_done() -> None:
    assert resolve_window(WINDOW, {"crash": 100, "back": 300}, 1000) == Resolved("w", 110, 300)


def test_a_window_ends_with_the_run() -> None:
    assert resolve_window(WINDOW, {"crash": 100, "back": 2000}, 1000) == Resolved("w", 110, 1000)


def test_without_its_step_there_is_no_window() -> None:
    assert resolve_window(WINDOW, {"crash": 100}, 1000).reason == "step 'back' was not done"


def test_a_window_that_came_out_empty_says_so() -> None:
    assert "is empty" in resolve_window(WINDOW, {"crash": 100, "back": 105}, 1000).reason
