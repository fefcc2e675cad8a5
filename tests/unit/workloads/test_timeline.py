"""Amounts over time in bounded memory."""

from __future__ import annotations

import json

import pytest

from workloads.timeline import MAX_BINS, Timeline, total


def test_amounts_are_in_the_bin_of_their_time() -> None:
    line = Timeline(1000, 10)
    for at_ns, amount in ((1000, 1), (1009, 2), (1010, 4), (1035, 8)):
        line.add(at_ns, amount)
    assert line.bins == [3, 4, 0, 8]
    assert line.between(1, 4) == 12
    assert line.between(3, 99) == 8


@pytest.mark.parametrize("start_ns", [0, 777])
def test_memory_is_bounded_and_nothing_is_lost(start_ns: int) -> None:
    line = Timeline(start_ns, 1)
    times = range(start_ns, start_ns + 100_000, 7)
    for at_ns in times:
        line.add(at_ns, 3)
    assert len(line.bins) <= MAX_BINS
    assert line.width_ns == 128  # the least power of two that holds 100,000 ns
    assert sum(line.bins) == 3 * len(times)
    expected = [0] * len(line.bins)
    for at_ns in times:
        expected[(at_ns - start_ns) // 128] += 3
    assert line.bins == expected


def test_a_late_amount_widens_at_once() -> None:
    line = Timeline(0, 1)
    line.add(5, 1)
    line.add(1 << 40, 2)
    assert sum(line.bins) == 3
    assert len(line.bins) <= MAX_BINS


def test_the_sum_has_the_widest_bins() -> None:
    fine, coarse = Timeline(5, 2), Timeline(5, 8)
    for at_ns in range(5, 25):
        fine.add(at_ns, 1)
    coarse.add(5, 100)
    coarse.add(40, 100)
    line = total([fine, coarse])
    assert (line.start_ns, line.width_ns) == (5, 8)
    assert line.bins == [108, 8, 4, 0, 100]
    assert fine.width_ns == 2  # untouched


@pytest.mark.parametrize(
    "lines", [[], [Timeline(0, 2), Timeline(1, 2)], [Timeline(0, 2), Timeline(0, 3)]]
)
def test_what_does_not_fit_does_not_add_up(lines: list[Timeline]) -> None:
    with pytest.raises(ValueError, match="do not add up"):
        total(lines)


def test_it_survives_json() -> None:
    line = Timeline(3, 4)
    line.add(20, 6)
    again = Timeline.from_params(json.loads(json.dumps(line.to_params())))
    assert (again.start_ns, again.width_ns, again.bins) == (3, 4, [0, 0, 0, 0, 6])
