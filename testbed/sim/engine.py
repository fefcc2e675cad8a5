"""The virtual clock: events in order of time, events of one ns in order of arrival.

This is the inner loop. Events of one instant share a list, and the heap holds bare
times, which it compares faster than tuples; there is no sequence number because a list
remembers the order by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from heapq import heappop, heappush
from typing import Any

Callback = Callable[[int, Any], None]
Schedule = Callable[[int, Callback, Any], None]


class Engine:
    """A clock in emulated ns and what is to happen when.

    A callback is called with the time and the argument it was scheduled with. What it
    raises comes out of the run and leaves the engine unusable.
    """

    __slots__ = ("_buckets", "_rest", "_times", "events_run", "now")

    def __init__(self) -> None:
        self.now = 0
        self.events_run = 0
        self._times: list[int] = []
        self._buckets: dict[int, list[tuple[Callback, Any]]] = {}
        self._rest: Iterator[tuple[Callback, Any]] = iter([])  # of the bucket being run

    def schedule(self, at_ns: int, callback: Callback, argument: Any = None) -> None:
        """Have ``callback(at_ns, argument)`` called. Raises ValueError for the past."""
        bucket = self._buckets.get(at_ns)
        if bucket is not None:
            bucket.append((callback, argument))
            return
        if at_ns < self.now:
            raise ValueError(f"{at_ns} ns is over, it is {self.now} ns: schedule what is to come")
        self._buckets[at_ns] = [(callback, argument)]
        heappush(self._times, at_ns)

    def run_until(self, end_ns: int) -> None:
        """Run every event up to and including ``end_ns``, where the clock then stands.

        Raises ValueError where ``end_ns`` is over.
        """
        if end_ns < self.now:
            raise ValueError(f"{end_ns} ns is over, it is {self.now} ns: run to a later time")
        times, buckets = self._times, self._buckets
        run = 0
        while times and times[0] <= end_ns:
            now = self.now = heappop(times)
            bucket = buckets[now]
            self._rest = rest = iter(bucket)
            # What is scheduled for this very instant is appended while the loop runs.
            for callback, argument in rest:
                callback(now, argument)
            run += len(bucket)
            del buckets[now]
        self.events_run += run
        self.now = end_ns

    def run_while(self, predicate: Callable[[], bool], end_ns: int) -> bool:
        """Run event by event while the predicate holds, at most to ``end_ns``.

        True where it ceased to hold (the clock stands at that event), False where it
        still holds and nothing up to ``end_ns`` is left to run (the clock stands there).
        """
        while predicate():
            if not self._times or self._times[0] > end_ns:
                self.now = max(self.now, end_ns)
                return False
            self._step()
        return True

    def _step(self) -> None:
        now = self.now = self._times[0]
        bucket = self._buckets[now]
        callback, argument = bucket.pop(0)
        callback(now, argument)
        self.events_run += 1
        if not bucket:
            heappop(self._times)
            del self._buckets[now]

    def next_event_ns(self) -> int | None:
        """When the next event is due, None where none is left."""
        return self._times[0] if self._times else None

    def pending(self) -> Iterator[tuple[int, Callback, Any]]:
        """Every event still to come, in order; also right in the middle of a run."""
        for callback, argument in copy(self._rest):
            yield self.now, callback, argument
        for at_ns in sorted(self._times):
            for callback, argument in self._buckets[at_ns]:
                yield at_ns, callback, argument
