"""Moments as typed: base RTTs, steps, conditions."""

from __future__ import annotations

import pytest

from testbed.drills.moments import Point, parse_name, parse_point, parse_span_ns, parse_when
from testbed.faults.script import When


@pytest.mark.parametrize(("text", "ns"), [
    ("40rtt", 400_000), ("2.5 rtt", 25_000), ("1rtts", 10_000), ("5us", 5_000), ("0.5ms", 500_000),
])
def test_spans(text: str, ns: int) -> None:
    assert parse_span_ns(text, 10_000) == ns


@pytest.mark.parametrize(("text", "point"), [
    ("40rtt", Point("start", 400_000)), ("start", Point("start", 0)),
    ("end - 2us", Point("end", -2_000)), ("crash", Point("crash", 0)),
    ("crash + 5rtt", Point("crash", 50_000)), (" stairs-2  +1rtt ", Point("stairs-2", 10_000)),
])
def test_points(text: str, point: Point) -> None:
    assert parse_point(text, 10_000) == point


@pytest.mark.parametrize("text", ["", "crash +", "+ 5rtt", "crash + later", "5 parsecs", "Crash"])
def test_what_is_no_point_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        parse_point(text, 10_000)


def test_a_point_reads_as_it_is_written() -> None:
    assert str(Point("crash", 5_000)) == "crash + 5us"
    assert str(Point("end", -500)) == "end - 0.5us"
    assert str(Point("start", 0)) == "start"


@pytest.mark.parametrize(("text", "condition"), [
    ("all ranks in iteration 3", When("all ranks", "iteration", 3, 7)),
    ("any rank in step 0", When("any rank", "step", 0, 7)),
    ("all ranks past 40 %", When("all ranks", "share", 40, 7)),
])
def test_conditions(text: str, condition: When) -> None:
    assert parse_when(text, 7) == condition


@pytest.mark.parametrize("text", ["all ranks", "rank 3 in step 2", "all ranks in step -1"])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write it like all ranks in iteration 3"):
        parse_when(text, 0)


@pytest.mark.parametrize("text", ["start", "end", "Crash", "a b", ""])
def test_words_with_a_meaning_are_no_names(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be a name"):
        parse_name(text)
