"""The anatomy of recovery as lanes."""

from __future__ import annotations

import pytest
from unit.analysis.figures.drawing import ACTIONS, drawn, line
from unit.analysis.made import ev_change, ev_sample, loss, made_run, steady

EV = 0x0002_0000


def _run():  # type: ignore[no-untyped-def]
    return made_run(
        flows=steady(300e9, 0, 100_000, 2000), events=ACTIONS,
        ev_samples=[ev_sample(100_000, EV, 50, 100_000)],
        losses=[loss(56_000, 41_000, EV)],
        evs=[ev_change(57_000, EV, "good", "assumed_bad"),
             ev_change(90_000, EV, "assumed_bad", "good", "probes_answered")])


def test_marks_stand_where_the_table_has_them() -> None:
    run = _run()
    _, (since_fault, since_heal, *_) = drawn("recovery", run)
    (fault,) = run.recovery().to_dict("records")
    assert line(since_fault, "first packet lost") == [(pytest.approx(fault["first_lost_rtt"]), 0)]
    assert line(since_fault, "sender knew; first good probe")[0][0] == pytest.approx(
        16_000 / run.base_rtt_ns)
    back = [x for found in since_heal.lines for x in found.get_xdata() if x > 1]
    assert back == pytest.approx([20_000 / run.base_rtt_ns] * len(back))
    assert back


def test_what_lies_before_the_inject_is_inside_the_panel() -> None:
    run = _run()
    _, (since_fault, *_) = drawn("recovery", run)
    low, high = since_fault.get_xlim()
    assert low < 0 < run.recovery()["last_out_rtt"].max() < high


def test_every_fault_is_named() -> None:
    _, (since_fault, *_) = drawn("recovery", _run())
    assert [label.get_text() for label in since_fault.get_yticklabels()] == [
        "crash\nswitch:p0-t1-2#crash"]
