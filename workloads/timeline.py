"""Amounts over time in bounded memory: bins whose width doubles when they run out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MAX_BINS = 1024


class Timeline:
    """Amounts in bins of ``width_ns`` from ``start_ns`` on, at most 1024 of them."""

    __slots__ = ("bins", "start_ns", "width_ns")

    def __init__(self, start_ns: int, width_ns: int) -> None:
        self.start_ns, self.width_ns = start_ns, width_ns
        self.bins: list[int] = []

    def add(self, at_ns: int, amount: int) -> None:
        """Count an amount at a time, not before the start."""
        index = (at_ns - self.start_ns) // self.width_ns
        while index >= MAX_BINS:
            self.widen(2)
            index = (at_ns - self.start_ns) // self.width_ns
        bins = self.bins
        if index >= len(bins):
            bins.extend([0] * (index + 1 - len(bins)))
        bins[index] += amount

    def widen(self, factor: int) -> None:
        """Join every ``factor`` bins to one."""
        bins = self.bins
        self.bins = [sum(bins[i : i + factor]) for i in range(0, len(bins), factor)]
        self.width_ns *= factor

    def between(self, first: int, last: int) -> int:
        """The sum of bins ``first`` to ``last`` - 1; those never reached hold nothing."""
        return sum(self.bins[first:last])

    def to_params(self) -> dict[str, Any]:
        """As JSON; `from_params` reads it back."""
        return {"start_ns": self.start_ns, "width_ns": self.width_ns, "bins": list(self.bins)}

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Timeline:
        """The timeline of a result."""
        made = cls(params["start_ns"], params["width_ns"])
        made.bins = list(params["bins"])
        return made


def total(timelines: Sequence[Timeline]) -> Timeline:
    """The sum of timelines that started together, in bins of the widest.

    Raises ValueError where there is none, or starts or widths do not fit each other.
    """
    width_ns = max((line.width_ns for line in timelines), default=0)
    starts = {line.start_ns for line in timelines}
    if len(starts) != 1 or any(width_ns % line.width_ns for line in timelines):
        raise ValueError("timelines of different starts or widths do not add up: use one run's")
    made = Timeline(starts.pop(), width_ns)
    made.bins = _sums([_widened(line, width_ns) for line in timelines])
    return made


def _widened(line: Timeline, width_ns: int) -> list[int]:
    copy = Timeline(line.start_ns, line.width_ns)
    copy.bins = line.bins
    copy.widen(width_ns // line.width_ns)
    return copy.bins


def _sums(rows: Iterable[list[int]]) -> list[int]:
    rows = list(rows)
    sums = [0] * max(len(row) for row in rows)
    for row in rows:
        for i, amount in enumerate(row):
            sums[i] += amount
    return sums
