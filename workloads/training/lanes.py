"""Exchanges of one kind, one at a time, in the order they were asked for.

What a rank asks for while another is under way waits its turn. Every rank asks for the same
in the same order, so the n-th exchange of a lane is the same on all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from workloads.collectives.group import Group
from workloads.collectives.schedule import Area, Expected, Schedule
from workloads.collectives.tensors import Compared, Tensors

OnEnd = Callable[[int, int], None]
"""An exchange has ended, with so many wrong elements, at this time in ns."""


class Work:
    """An exchange that is carried out ``times`` times, in areas of its own.

    ``is_thorough``: every result is poisoned and compared to the last element, which holds up
    whoever does it; else only the last is, and of those before the stamps.
    ``is_checkable``: its OUTPUT is a whole result.
    """

    __slots__ = ("_expected", "_is_thorough", "_tensors", "_times", "is_checkable", "number",
                 "schedule")  # fmt: skip

    def __init__(
        self, schedule: Schedule, tensors: Tensors, expected: Sequence[Expected], times: int,
        is_thorough: bool = False,
    ) -> None:  # fmt: skip
        self.schedule = schedule
        self._tensors, self._expected = tensors, expected
        self._times, self._is_thorough = times, is_thorough
        self.number = -1  # of times it was begun, from 0; makes the stamps
        self.is_checkable = False

    def fill_source(self) -> None:
        """Put the contents of this rank into INPUT, and work out what the result must be."""
        self._tensors.fill_input()
        self._tensors.expect(self._expected)

    def poison(self) -> None:
        """Nothing of the result there is may pass for the next.

        STAGING is left alone: a peer that is ahead may have written there.
        """
        self.is_checkable = False
        if self._is_thorough or self.number + 2 >= self._times:
            deque(self._tensors.poison(Area.OUTPUT), maxlen=0)
        else:
            self._tensors.poison_stamps(self._expected)

    def begin(self) -> Tensors:
        """Once more, on a poisoned OUTPUT: INPUT is stamped anew."""
        self.number += 1
        self._tensors.stamp_input(self.number)
        return self._tensors

    def end(self) -> int:
        """The result is there; how many of its elements, or of its stamps, are wrong."""
        self.is_checkable = True
        if self._is_thorough:
            return self.check().wrong
        return self._tensors.check_stamps(self._expected, self.number)

    def check(self) -> Compared:
        """Compare every element of the result."""
        return self._tensors.check(self._expected, self.number)


class Lane:
    """Lane ``number`` of a group, ``on_end`` told of every exchange that ends.

    ``guard`` is the lane and the schedule of the barrier that separates two exchanges, for
    those that do not synchronise all ranks by themselves; ``total`` how many exchanges there
    will be: none follows the last, so no barrier does.

    OUTPUT is poisoned where no peer can write to it yet: before that barrier, and where there is
    none, before this rank has added its part to what others would write.
    """

    def __init__(
        self, group: Group, number: int, total: int, on_end: OnEnd,
        guard: tuple[int, Schedule] | None = None,
    ) -> None:  # fmt: skip
        self._group, self._number, self._on_end = group, number, on_end
        self._left = total
        self._guard = guard
        self._waiting: deque[Work] = deque()
        self._running: Work | None = None
        self._is_guarded = False  # a barrier is under way
        self.ended_ns = 0  # when the latest ended

    @property
    def is_idle(self) -> bool:
        """All that was asked for has ended. A barrier may still be under way: nobody's result
        waits for it, only the next exchange does."""
        return self._running is None and not self._waiting

    def ask(self, work: Work, now_ns: int) -> None:
        """Do this as soon as what was asked for before is done."""
        self._waiting.append(work)
        self._go_on(now_ns)

    def _go_on(self, now_ns: int) -> None:
        if self._running is not None or self._is_guarded or not self._waiting:
            return
        work = self._running = self._waiting.popleft()
        if self._guard is None:
            work.poison()
        self._group.begin(self._number, work.schedule, work.begin(), now_ns, self._end)

    def _end(self, now_ns: int) -> None:
        assert self._running is not None
        work = self._running
        wrong = work.end()
        self._running, self.ended_ns = None, now_ns
        self._left -= 1
        if self._guard is not None and self._left:
            work.poison()
            self._is_guarded = True
            self._group.begin(*self._guard, None, now_ns, self._release)
        self._go_on(now_ns)
        self._on_end(wrong, now_ns)

    def _release(self, now_ns: int) -> None:
        """All ranks are done with the exchange before."""
        self._is_guarded = False
        self._go_on(now_ns)
