"""Latency figures: nearest rank, median, mean and spread."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.statistics import LatencySummary, nearest_rank, summary


@pytest.mark.parametrize(("q", "value"), [
    (0, 15), (0.05, 15), (0.3, 20), (0.4, 20), (0.5, 35), (0.99, 50), (1, 50),
])
def test_the_textbook_example_of_nearest_rank(q: float, value: int) -> None:
    assert nearest_rank([15, 20, 35, 40, 50], q) == value


def test_percentiles_of_a_hundred_and_of_a_thousand() -> None:
    hundred, thousand = list(range(1, 101)), list(range(1, 1001))
    assert (nearest_rank(hundred, 0.99), nearest_rank(hundred, 0.999)) == (99, 100)
    assert (nearest_rank(thousand, 0.99), nearest_rank(thousand, 0.999)) == (990, 999)


def test_a_summary() -> None:
    assert summary([9, 2, 4, 4, 5, 4, 7, 5]) == LatencySummary(
        min=2, max=9, typical=4.5, avg=5.0, stdev=2.0, p99=9, p999=9)


def test_one_value_is_every_figure() -> None:
    assert summary([7]) == LatencySummary(7, 7, 7, 7.0, 0.0, 7, 7)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=200))
def test_figures_agree_with_the_standard_library(values: list[int]) -> None:
    found = summary(values)
    assert found.avg == pytest.approx(statistics.fmean(values))
    assert found.stdev == pytest.approx(statistics.pstdev(values), abs=1e-3)
    assert {found.min, found.p99, found.p999, found.max} <= set(values)
    assert found.min <= found.typical <= found.max
    assert found.min <= found.p99 <= found.p999 <= found.max
    assert found.typical == statistics.median(values)


def test_no_values_have_no_figures() -> None:
    for ask in (lambda: summary([]), lambda: nearest_rank([], 0.5)):
        with pytest.raises(ValueError, match="no values"):
            ask()
