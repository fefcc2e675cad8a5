"""Retry schedules: exact intervals, both counters, the cap and the ranges."""

from __future__ import annotations

import pytest

from testbed.transport.mrc import choices
from testbed.transport.mrc.reliability.retry import RetrySchedule


def intervals(schedule: RetrySchedule, limit: int = 100) -> list[int]:
    """How long each try waits until the schedule is used up."""
    waits = [schedule.interval_ns]
    while len(waits) < limit and schedule.on_expired():
        waits.append(schedule.interval_ns)
    return waits


def test_defaults_wait_eight_times_65_us_then_double_three_times() -> None:
    schedule = RetrySchedule(
        choices.DEFAULT_TIMEOUT, choices.DEFAULT_LINEAR_COUNT, choices.DEFAULT_EXP_COUNT
    )
    assert schedule.budget_ns == 22 * 65_536
    assert intervals(schedule) == [65_536] * 8 + [131_072, 262_144, 524_288]
    assert not schedule.on_expired()
    assert schedule.interval_ns == 524_288


@pytest.mark.parametrize(
    ("timeout", "interval_ns"), [(0, 1_024), (8, 262_144), (14, 16_777_216), (24, 17_179_869_184)]
)
def test_the_first_interval(timeout: int, interval_ns: int) -> None:
    assert RetrySchedule(timeout, 0, 0).interval_ns == interval_ns


def test_no_retries_at_all() -> None:
    assert intervals(RetrySchedule(8, 0, 0)) == [262_144]
    assert RetrySchedule(8, 0, 0).budget_ns == 262_144


def test_without_linear_retries_the_first_one_doubles() -> None:
    assert intervals(RetrySchedule(0, 0, 3)) == [1_024, 2_048, 4_096, 8_192]


def test_without_exponential_retries_all_are_alike() -> None:
    assert intervals(RetrySchedule(0, 2, 0)) == [1_024] * 3


def test_no_interval_is_longer_than_the_cap() -> None:
    cap_ns = 1_024 << 24
    assert intervals(RetrySchedule(22, 0, 5)) == [1_024 << 22, 1_024 << 23] + [cap_ns] * 4


def test_25_is_for_ever() -> None:
    schedule = RetrySchedule(20, 1, 25)
    assert schedule.budget_ns is None
    waits = intervals(schedule, limit=100)
    assert len(waits) == 100
    assert waits[:7] == [1_024 << exponent for exponent in (20, 20, 21, 22, 23, 24, 24)]
    assert set(waits[7:]) == {1_024 << 24}


def test_24_is_not() -> None:
    assert len(intervals(RetrySchedule(0, 0, 24))) == 25


def test_progress_starts_both_counters_anew() -> None:
    schedule = RetrySchedule(0, 1, 1)
    assert intervals(schedule) == [1_024, 1_024, 2_048]
    schedule.on_progress()
    assert schedule.retries == 0
    assert intervals(schedule) == [1_024, 1_024, 2_048]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ((25, 0, 0), "timeout"),
        ((-1, 0, 0), "timeout"),
        ((0, 8, 0), "retry.linear_cnt"),
        ((0, -1, 0), "retry.linear_cnt"),
        ((0, 0, 26), "retry.exp_cnt"),
        ((0, 0, -1), "retry.exp_cnt"),
    ],
)
def test_values_out_of_range_are_refused(values: tuple[int, int, int], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is "):
        RetrySchedule(*values)
