"""Rows of what was done: evidence reaches the begin of a fault when it ends."""

from __future__ import annotations

from testbed.faults.chronicle import BY_HAND, END, NO_EVIDENCE, Chronicle
from testbed.faults.cues import Cue
from testbed.faults.script import After, At, Step
from testbed.metrics.tables import check_rows

STEP = Step("crash", At(100))
NAME = "switch:p0-t1-2#crash"


def test_a_fault_from_begin_to_end() -> None:
    told = Chronicle()
    told.note_injected(Cue(STEP, 100), NAME, 130)
    assert told.in_force == (NAME,)
    assert told.rows[0]["evidence"] == ""
    told.note_healed(Cue(Step("back", At(300)), 300), NAME, 310, has_bitten=True,
                     evidence="7 frames dropped")
    assert told.in_force == ()
    assert [(row["what"], row["name"], row["t_ns"], row["planned_ns"], row["late_ns"],
             row["evidence"]) for row in told.rows] == [
        ("inject", "crash", 130, 100, 30, "7 frames dropped"),
        ("heal", "back", 310, 300, 10, "7 frames dropped")]
    assert told.late_ns() == {"crash": 30, "back": 10}
    check_rows("events", told.rows)


def test_what_did_not_bite_is_marked() -> None:
    told = Chronicle()
    told.note_injected(Cue(STEP, 100), NAME, 100)
    told.note_healed(None, NAME, 500, has_bitten=False, evidence="0 frames dropped")
    assert [row["detail"] for row in told.rows] == [NO_EVIDENCE, NO_EVIDENCE]
    assert told.rows[1]["name"] == END
    assert told.late_ns() == {"crash": 0}


def test_what_is_there_from_the_beginning_is_not_late() -> None:
    told = Chronicle()
    told.note_injected(Cue(Step("bad", At(-1)), -1), NAME, -1)
    assert told.late_ns() == {}


def test_steps_that_were_not_done_are_told() -> None:
    told = Chronicle()
    told.note_undone([STEP, Step("x", After("crash", 1))], 50)
    assert [(row["kind"], row["detail"]) for row in told.rows] == [
        ("warning", "step 'crash' was not done: the run was over before"),
        ("warning", "step 'x' was not done: what it waits for never came")]
    check_rows("events", told.rows)


def test_a_row_is_kept_before_it_can_be_seen() -> None:
    kept: list[tuple[str, str, int]] = []
    told = Chronicle(lambda row: kept.append((row["what"], row["evidence"], len(told.rows))))
    told.note_injected(Cue(STEP, 100), NAME, 130)
    told.note_healed(None, NAME, 500, has_bitten=True, evidence="7 frames dropped")
    told.note_undone([STEP], 600)
    assert kept == [("inject", "", 0), ("heal", "7 frames dropped", 1), ("not done", "", 2)]


def test_what_is_done_by_hand_has_a_name_of_its_own_and_is_not_the_script_s_to_heal() -> None:
    told = Chronicle()
    told.note_injected(Cue(STEP, 100), NAME, 130)
    told.note_injected_by_hand("plane:1#down", 140)
    assert told.in_force == (NAME,)
    told.note_healed_by_hand(NAME, 150, has_bitten=True, evidence="7 frames dropped")
    told.note_healed_by_hand("host:h2#death", 160, has_bitten=True, evidence="a new agent")
    assert told.in_force == ()
    assert [(row["name"], row["what"], row["evidence"]) for row in told.rows] == [
        ("crash", "inject", "7 frames dropped"), (BY_HAND, "inject", ""),
        (BY_HAND, "heal", "7 frames dropped"), (BY_HAND, "heal", "a new agent")]
    assert told.late_ns() == {"crash": 30}
    check_rows("events", told.rows)
