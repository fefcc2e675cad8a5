"""Levels of goodput, and when it is back at one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.analysis.settling import Curve

BIN = 1000


def curve(*rates: float) -> Curve:
    ends = BIN * np.arange(1, len(rates) + 1)
    return Curve(ends, np.array(rates, dtype=float), BIN)


def test_the_second_half_of_a_time_counts_as_settled() -> None:
    assert curve(1, 1, 8, 8, 8, 8).settled_bps(0, 6000) == pytest.approx(8)
    assert curve(1, 1, 8, 8, 8, 8).settled_bps(2000, 6000) == pytest.approx(8)


def test_a_part_of_a_bin_counts_as_a_part() -> None:
    assert curve(10, 10, 20, 20).settled_bps(1000, 4000) == pytest.approx(20)
    assert curve(10, 19.5, 20, 20).settled_bps(0, 3000) == pytest.approx((9.75 + 20) / 1.5)


@pytest.mark.parametrize(("rates", "start", "end"), [
    ((8, 8, 8, 8), 2500, 4000),  # shorter than a bin
    ((8, 8, 8, 8), 5000, 9000),  # nothing measured
    ((0, 0, 0, 0), 0, 4000),
    ((8, 8, 8, 8, 8, 1, 8, 1), 0, 8000),  # bursts
])
def test_where_nothing_settles_there_is_no_level(rates: tuple[float, ...], start: int,
                                                 end: int) -> None:
    assert curve(*rates).settled_bps(start, end) is None


def test_back_is_the_end_of_the_last_bin_that_was_too_low() -> None:
    found = curve(10, 10, 3, 5, 10, 10, 10, 10)
    assert found.back_ns(10, 2000, 8000, 3000) == 4000
    assert found.back_ns(10, 2500, 8000, 3000) == 4000


def test_one_lucky_bin_is_not_back() -> None:
    assert curve(10, 3, 10, 3, 3, 10, 10, 10).back_ns(10, 1000, 8000, 3000) == 5000


def test_at_the_end_what_is_left_decides() -> None:
    assert curve(10, 3, 10).back_ns(10, 1000, 3000, 3000) == 2000
    assert curve(10, 3, 3).back_ns(10, 1000, 3000, 3000) is None


def test_without_a_dip_it_was_never_away() -> None:
    found = curve(10, 10, 10, 10, 10, 10, 3, 10)
    assert found.back_ns(10, 1500, 8000, 3000) == 1500  # the dip comes too late to be of this
    assert found.back_ns(10, 1500, 8000, 9000) == 7000
    assert found.back_ns(10, 9000, 9500, 3000) is None


def test_missing_is_the_area_below_the_level() -> None:
    assert curve(8e9, 2e9, 4e9, 9e9).missing_bytes(8e9, 0, 4000) == pytest.approx(750 + 500)
    assert curve(8e9, 2e9, 4e9, 9e9).missing_bytes(8e9, 1500, 2500) == pytest.approx(375 + 250)


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=30), st.floats(1, 1e12),
       st.integers(0, 30_000), st.integers(0, 30_000))
def test_back_lies_in_the_time_that_was_looked_at(rates: list[float], level: float, start: int,
                                                  width: int) -> None:
    found = curve(*rates)
    back_ns = found.back_ns(level, start, start + width, 16_000)
    assert back_ns is None or start <= back_ns <= start + width
    assert found.missing_bytes(level, start, start + width) <= level * width / 8e9 * 1.0001
