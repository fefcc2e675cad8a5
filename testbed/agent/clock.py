"""Emulated time of one run: CLOCK_MONOTONIC, slowed down (design.md section 3)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EmulatedClock:
    """t = (wall - ``zero_ns``) / ``tdf``; both agents of a link have the same one.

    ``zero_ns`` is the CLOCK_MONOTONIC time at which emulated time is 0, ``tdf`` >= 1
    the wall nanoseconds of one emulated nanosecond.
    """

    zero_ns: int
    tdf: int

    def emulated_ns(self, wall_ns: int) -> int:
        """Emulated time, rounded down; negative before the run begins."""
        return (wall_ns - self.zero_ns) // self.tdf

    def wall_ns(self, emulated_ns: int) -> int:
        """The first CLOCK_MONOTONIC nanosecond that is this emulated time."""
        return self.zero_ns + emulated_ns * self.tdf
