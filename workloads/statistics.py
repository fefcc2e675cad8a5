"""What latency measurements are summed up as, in the figures of perftest.

Percentiles are nearest rank: the smallest measured value that so many of all do not
exceed. Each is a value that was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, sqrt

from testbed.metrics.lateness import nearest_rank_of


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Figures in the unit of the values, by the names of perftest.

    ``typical`` is the median, of an even number the mean of the middle two; ``stdev`` that
    of these values (divided by their number, as perftest does). ``p99``, ``p999``: 99 %, 99.9 %.
    """

    min: float
    max: float
    typical: float
    avg: float
    stdev: float
    p99: float
    p999: float


def nearest_rank(sorted_values: Sequence[float], q: float) -> float:
    """The nearest-rank quantile of values in ascending order, ``q`` in 0..1.

    Raises ValueError where ``q`` is out of range or there are no values.
    """
    if not sorted_values:
        raise ValueError("no values have no figures: measure something first")
    return sorted_values[nearest_rank_of(q, len(sorted_values)) - 1]


def summary(values: Sequence[float]) -> LatencySummary:
    """Sum up values in any order. Raises ValueError where there are none."""
    ordered = sorted(values)
    count = len(ordered)
    if not count:
        raise ValueError("no values have no figures: measure something first")
    typical = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    average = fsum(ordered) / count
    variance = fsum((value - average) ** 2 for value in ordered) / count
    return LatencySummary(
        min=ordered[0], max=ordered[-1], typical=typical, avg=average, stdev=sqrt(variance),
        p99=nearest_rank(ordered, 0.99), p999=nearest_rank(ordered, 0.999),
    )
