"""Emulated time of one run: CLOCK_MONOTONIC, slowed down; and what receive stamps are on it."""

from __future__ import annotations

import time
from dataclasses import dataclass

_APART_NS = 2_000  # between two readings of one clock with one of the other in the middle
_TRIES = 5


@dataclass(frozen=True, slots=True)
class EmulatedClock:
    """t = (wall - ``zero_ns``) / ``tdf``; both agents of a link have the same one.

    ``zero_ns`` is the CLOCK_MONOTONIC time at which emulated time is 0, ``tdf`` >= 1
    the wall nanoseconds of one emulated nanosecond.
    """

    zero_ns: int
    tdf: int


def realtime_ahead_ns() -> int:
    """How far CLOCK_REALTIME, on which the kernel stamps frames, is ahead of CLOCK_MONOTONIC.

    Exact to a microsecond or two of wall clock: an interruption between the readings would
    date every frame of a wake wrongly, and nothing would show it, so it is read again then.
    """
    best_ns, ahead_ns = -1, 0
    for _ in range(_TRIES):
        before_ns = time.monotonic_ns()
        real_ns = time.time_ns()
        apart_ns = time.monotonic_ns() - before_ns
        if best_ns < 0 or apart_ns < best_ns:
            best_ns, ahead_ns = apart_ns, real_ns - before_ns - apart_ns // 2
        if best_ns <= _APART_NS:
            break
    return ahead_ns
