"""Expectations: how they are read, what holds, and how figures are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.drills.expect import (
    BYTE_RATE,
    NUMBER,
    RATE,
    SIZE,
    TIME,
    Expectation,
    parse_expectation,
    show,
)


def expect(text: str, unit: str = NUMBER, is_relative: bool = False) -> Expectation:
    return parse_expectation(text, unit, is_relative, 10_000)


@pytest.mark.parametrize(("text", "held", "not_held"), [
    ("0", [0], [1, -1, 0.5]), (">= 3", [3, 4], [2.9]), ("> 3", [3.1], [3]),
    ("< 3", [2.9], [3]), ("<= 3", [3], [3.1]), ("1 .. 3", [1, 2, 3], [0.9, 3.1]),
    ("10 +- 2", [8, 12], [7.9, 12.1]), (">= 95 %", [0.95, 1], [0.94]),
])
def test_bounds_of_plain_numbers(text: str, held: list[float], not_held: list[float]) -> None:
    found = expect(text)
    assert all(found.holds(value) for value in held)
    assert not any(found.holds(value) for value in not_held)


def test_percentages_of_a_reference() -> None:
    found = expect("100 % +- 3 %", RATE, True)
    assert found.holds(970, 1000)
    assert found.holds(1030, 1000)
    assert not found.holds(969, 1000)
    assert not found.holds(1031, 1000)
    assert expect("<= 1 %", RATE, True).holds(0, 0)
    assert not expect(">= 1 %", RATE, True).holds(float("nan"), 100)


@pytest.mark.parametrize(("text", "unit", "low"), [
    (">= 4 rtt", TIME, 40_000), (">= 5us", TIME, 5_000), (">= 0", TIME, 0),
    (">= 100Gbps", RATE, 10**11), (">= 100Gbps", BYTE_RATE, 12.5e9), (">= 64KiB", SIZE, 65_536),
    (">= 64", SIZE, 64),
])
def test_units(text: str, unit: str, low: float) -> None:
    assert expect(text, unit).low == low


@pytest.mark.parametrize(("text", "unit", "is_relative", "complaint"), [
    ("about 3", NUMBER, False, "says nothing that could be expected"),
    ("94 %", RATE, False, "percentage of nothing"), (">= 94", RATE, True, "write a percentage"),
    ("3 .. 1", NUMBER, False, "smaller bound first"), ("5 +- -2", NUMBER, False, "bound first"),
    ("5us", NUMBER, False, "does not fit a plain number"), ("5", TIME, False, "has no unit"),
    ("5 parsecs", TIME, False, "unknown unit"), ("", NUMBER, False, "nothing that could"),
])
def test_what_says_nothing_is_refused(text: str, unit: str, is_relative: bool,
                                      complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        expect(text, unit, is_relative)


@given(middle=st.integers(0, 1000), off=st.integers(0, 1000), value=st.integers(-2000, 3000))
def test_around_is_a_range(middle: int, off: int, value: int) -> None:
    assert expect(f"{middle} +- {off}").holds(value) == (abs(value - middle) <= off)


@pytest.mark.parametrize(("value", "unit", "text"), [
    (742.14e9, RATE, "742.1 Gb/s"), (18_800, TIME, "18.80 us (1.9 rtt)"), (17, NUMBER, "17"),
    (0.9625, NUMBER, "0.963"), (92e9, BYTE_RATE, "92.00 GB/s"), (65536, SIZE, "65,536 bytes"),
    (None, RATE, "nothing"),
])
def test_figures_are_shown_with_their_unit(value: float | None, unit: str, text: str) -> None:
    assert show(value, unit, 10_000) == text
