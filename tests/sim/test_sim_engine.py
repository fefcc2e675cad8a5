"""The clock: order of events, jumps, and what is still to come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.sim.engine import Engine


@given(st.lists(st.integers(0, 20)))
def test_events_come_by_time_then_by_insertion(times: list[int]) -> None:
    engine, seen = Engine(), []
    for number, at_ns in enumerate(times):
        engine.schedule(at_ns, lambda now, argument: seen.append((now, argument)), number)
    engine.run_until(20)
    assert seen == sorted((at_ns, number) for number, at_ns in enumerate(times))
    assert engine.events_run == len(times)
    assert engine.next_event_ns() is None


def test_an_event_for_this_instant_runs_in_it_and_last() -> None:
    engine, seen = Engine(), []

    def first(now: int, _: object) -> None:
        seen.append("first")
        engine.schedule(now, lambda *_: seen.append("third"))

    engine.schedule(5, first)
    engine.schedule(5, lambda *_: seen.append("second"))
    engine.run_until(5)
    assert seen == ["first", "second", "third"]


def test_the_end_is_included_and_the_clock_stands_there() -> None:
    engine, seen = Engine(), []
    engine.schedule(10, lambda *_: seen.append(10))
    engine.schedule(11, lambda *_: seen.append(11))
    engine.run_until(10)
    assert (seen, engine.now, engine.next_event_ns()) == ([10], 10, 11)
    engine.run_until(1000)
    assert (seen, engine.now) == ([10, 11], 1000)


def test_what_is_over_is_refused() -> None:
    engine = Engine()
    engine.run_until(10)
    with pytest.raises(ValueError, match="is over"):
        engine.schedule(9, lambda *_: None)
    with pytest.raises(ValueError, match="is over"):
        engine.run_until(9)


def test_run_while_stops_in_the_middle_of_an_instant() -> None:
    engine, seen = Engine(), []
    for number in range(4):
        engine.schedule(7, lambda _, argument: seen.append(argument), number)
    assert engine.run_while(lambda: len(seen) < 2, 100)
    assert (seen, engine.now) == ([0, 1], 7)
    assert [argument for *_, argument in engine.pending()] == [2, 3]
    assert not engine.run_while(lambda: len(seen) < 5, 100)
    assert (seen, engine.now) == ([0, 1, 2, 3], 100)


def test_pending_is_right_inside_an_event_too() -> None:
    engine, seen = Engine(), []

    def look(*_: object) -> None:
        seen.append([argument for *_, argument in engine.pending()])

    engine.schedule(1, look, "a")
    engine.schedule(1, look, "b")
    engine.schedule(2, look, "c")
    engine.run_until(2)
    assert seen == [["b", "c"], ["c"], []]
