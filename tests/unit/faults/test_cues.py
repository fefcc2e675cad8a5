"""When steps are due: times, chains of steps, and conditions on what ranks say."""

from __future__ import annotations

import pytest

from testbed.faults.cues import Cues
from testbed.faults.script import After, At, Step, When

A, B = Step("a", At(100)), Step("b", At(100))


def names(cues: Cues, now_ns: int) -> list[tuple[str, int]]:
    return [(cue.step.name, cue.due_ns) for cue in cues.take_due(now_ns)]


def test_steps_are_due_at_their_times_and_once() -> None:
    cues = Cues((Step("late", At(200)), A, B))
    assert cues.next_ns() == 100
    assert names(cues, 99) == []
    assert names(cues, 250) == [("a", 100), ("b", 100), ("late", 200)]
    assert names(cues, 300) == []
    assert cues.waiting == ()
    assert cues.next_ns() is None


def test_one_step_after_another() -> None:
    after = Step("after", After("a", 50))
    cues = Cues((A, after))
    assert names(cues, 10**6) == [("a", 100)]
    assert cues.next_ns() is None
    cues.note_done(A, 120)  # a little late, so is what follows
    assert cues.next_ns() == 170
    assert names(cues, 170) == [("after", 170)]


@pytest.mark.parametrize(("who", "unit", "number", "ranks", "holds"), [
    ("all ranks", "iteration", 3, [{"iteration": 3}, {"iteration": 4}], True),
    ("all ranks", "iteration", 3, [{"iteration": 3}, {"iteration": 2}], False),
    ("any rank", "iteration", 3, [{"iteration": 3}, {"iteration": 2}], True),
    ("any rank", "step", 3, [{"step": 2}, {"step": 2}], False),
    ("all ranks", "step", 0, [{"step": 0}, {"step": 7}], True),
    ("all ranks", "step", 9, [{"is_done": True}, {"is_done": True}], False),
    ("all ranks", "share", 50, [{"share": 0.5}, {"share": 0.49}], False),
    ("all ranks", "share", 50, [{"share": 0.5}, {"share": 0.51}], True),
    ("all ranks", "step", 1, [], False),
    ("all ranks", "step", 1, [{"bytes_done": 7}], False),
])
def test_conditions(who: str, unit: str, number: int, ranks: list[dict[str, object]],
                    holds: bool) -> None:
    cues = Cues((Step("x", When(who, unit, number, 40)),))  # type: ignore[arg-type]
    assert cues.has_conditions
    cues.observe(ranks, 1000)
    assert cues.has_conditions is not holds
    assert cues.next_ns() == (1040 if holds else None)


def test_a_condition_counts_from_when_it_was_first_seen() -> None:
    cues = Cues((Step("x", When("any rank", "step", 1, 10)),))
    cues.observe([{"step": 1}], 500)
    cues.observe([{"step": 2}], 900)
    assert names(cues, 600) == [("x", 510)]
