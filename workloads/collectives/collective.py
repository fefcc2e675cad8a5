"""The program of a collective: sizes, warm-up and iterations, and how long each took.

    barrier -> collective -> barrier -> collective -> ... -> barrier

A barrier is made of writes of nothing over the fabric itself, and no time is counted in it.
An iteration begins on a rank when its barrier is over, and has ended there when its result is
complete and everything it sent is acknowledged. Adding up takes no emulated time. After the
last barrier nobody needs anything of another: a rank that is lost before is noticed by all.

Before the barrier a rank compares every element of the result it has, and poisons the areas of
the next iteration: no peer writes there until all are through the barrier. Both are done a
slice at a time, as an agent has other things to do meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from workloads.collectives.joint import JointProgram
from workloads.collectives.plan import KIND, CollectivePlan
from workloads.collectives.schedule import Area
from workloads.collectives.tensors import Compared, Tensors
from workloads.connections import Channel

_DATA, _BARRIER = 0, 1  # lanes
# Between two slices. At a time dilation of 5,000 one of a tenth of a millisecond is followed by
# nine without any.
_SLICE_NS = 200


class Collective(JointProgram):
    """The program of one rank. Raises WorkloadError where a channel does not fit the plan."""

    def __init__(self, plan: CollectivePlan, channels: Mapping[int, Channel]) -> None:
        super().__init__(plan, channels)
        self.plan = plan
        self._tensors = [
            Tensors(self._view, layout, plan.seed, plan.rank) for layout in plan.layouts()]
        self._schedules = [plan.schedule(size) for size in plan.sizes]
        self._expected = [plan.expect(size) for size in plan.sizes]
        self._turns = self._all_turns()
        self._turn: tuple[int, int] | None = None  # index of the size, iteration
        self._number = 0  # of the collective, over all sizes
        self._begun_ns = 0
        self._ended: dict[str, Any] | None = None  # the row that is not compared yet
        self._slices: Iterator[None] | None = None  # of what comes before the next barrier
        self._slice_at_ns = 0
        self._rows: list[dict[str, Any]] = []
        self._checkable: dict[int, int] = {}  # by size: the number its OUTPUT is from

    def _all_turns(self) -> Iterator[tuple[int, int]]:
        plan = self.plan
        for size in range(len(plan.sizes)):
            for iteration in range(-plan.warmup, plan.iters):
                yield size, iteration

    def fill_sources(self) -> None:
        """Put the contents of this rank into INPUT, and work out what the results must be."""
        max(self._tensors, key=lambda tensors: tensors.layout.count).fill_input()
        for tensors, expected in zip(self._tensors, self._expected, strict=True):
            tensors.expect(expected)

    # --- Running -----------------------------------------------------------------------

    def start(self, now_ns: int) -> None:
        """Begin with a barrier."""
        self._group.open()
        self._next(now_ns)

    def _next(self, now_ns: int) -> None:
        self._slices = self._compare_and_poison()
        self._go_on(now_ns)

    def _go_on(self, now_ns: int) -> None:
        """A slice more, or the barrier."""
        assert self._slices is not None
        for _ in self._slices:
            self._slice_at_ns = now_ns + _SLICE_NS
            return
        self._slices = None
        follows = self._finish if self._turn is None else self._begin
        self._group.begin(_BARRIER, self._barrier, None, now_ns, follows)

    def _compare_and_poison(self) -> Iterator[None]:
        """The result of this turn, and where that of the next will be."""
        if self._turn is not None and self._ended is not None:
            size, _ = self._turn
            found = Compared()
            for compared in self._tensors[size].compare(self._expected[size], self._number):
                found += compared
                yield
            self._rows.append({**self._ended, "wrong": found.wrong})
            self._checkable[size] = self._number
        self._turn = next(self._turns, None)
        if self._turn is not None:
            size, _ = self._turn
            self._checkable.pop(size, None)
            yield from self._tensors[size].poison(Area.OUTPUT, Area.STAGING)

    def next_timer_ns(self) -> int | None:
        """When the next slice is due, or it looks after the ranks it waits for."""
        if self._slices is None:
            return super().next_timer_ns()
        return None if self._group.is_over else self._slice_at_ns

    def on_timer(self, now_ns: int) -> None:
        """The same."""
        if self._slices is None:
            super().on_timer(now_ns)
        elif not self._group.is_over:
            self._go_on(now_ns)

    def _begin(self, now_ns: int) -> None:
        """All ranks are ready."""
        assert self._turn is not None
        size, _ = self._turn
        self._number += 1
        self._begun_ns = now_ns
        tensors = self._tensors[size]
        tensors.stamp_input(self._number)
        self._group.begin(_DATA, self._schedules[size], tensors, now_ns, self._end)

    def _end(self, now_ns: int) -> None:
        """This rank has its result."""
        assert self._turn is not None
        size, iteration = self._turn
        self._ended = {
            "size_bytes": self.plan.sizes[size], "iteration": iteration, "number": self._number,
            "begun_ns": self._begun_ns, "ended_ns": now_ns,
        }
        self._next(now_ns)

    # --- Results -----------------------------------------------------------------------

    def progress(self) -> dict[str, Any]:
        """What has completed so far; ``turn`` is the size in bytes and the iteration.

        ``share`` is of all turns, the same on ranks that send nothing. ``iteration`` is the one it
        is in, counted over all sizes without warm-ups; where it warms up, the one before.
        """
        turn = self._turn and [self.plan.sizes[self._turn[0]], self._turn[1]]
        done = sum(row["iteration"] >= 0 for row in self._rows)
        is_counted = self._turn is not None and self._turn[1] >= 0
        turns = len(self.plan.sizes) * (self.plan.warmup + self.plan.iters)
        return {**self._progress(len(self._rows) / turns, turn),
                "iteration": done if is_counted else done - 1}

    def result(self) -> dict[str, Any]:
        """``iterations``: a row for each that this rank completed and compared, warm-up below 0;
        ``wrong`` is of all elements."""
        return self._result(KIND, iterations=self._rows)

    def verify(self, peers: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
        """Every element of the last result of every size once more, when all is over.

        ``sizes`` says which iteration each is of, and how many of its elements are wrong. Peers
        have nothing to add: contents follow from the seed.
        """
        sizes = self.plan.sizes
        found = [(sizes[size], number, self._tensors[size].check(self._expected[size], number))
                 for size, number in self._checkable.items()]
        unchecked = [i for i in range(len(sizes)) if i not in self._checkable]
        return {**self._verified((({"size_bytes": size}, compared) for size, _, compared in found),
                                 unchecked),
                "sizes": [{"rank": self._rank, "size_bytes": size, "number": number,
                           "wrong": compared.wrong} for size, number, compared in found]}
