"""When to leave a congested EV for an idle spare (paper Figure 14).

QPs that share an EV are marked together. Were all to leave they would share the next EV as
they did this one, and the queue they leave behind goes on marking whoever stays. Hence, as
stations on a shared wire do, each waits a random time before it acts, so that whoever comes
first is seen to have gone; tosses a coin, for the case that two come at once all the same;
waits up to half as long again each time; and starts anew once nothing was marked for a while.
"""

from __future__ import annotations

from testbed.transport.mrc.choices import (
    LEAVE_CHANCE,
    LEAVE_PAUSE_BASE_RTTS,
    LEAVE_PAUSE_GROWTH,
    LEAVE_PAUSE_LIMIT_BASE_RTTS,
)
from testbed.transport.mrc.rng import Rng


class Departure:
    """The coin and the clock of one port of one QP."""

    __slots__ = ("_base_rtt_ns", "_congested_at_ns", "_next_ns", "_pause_ns", "_rng")

    def __init__(self, base_rtt_ns: int, rng: Rng) -> None:
        self._base_rtt_ns = base_rtt_ns
        self._rng = rng
        self._congested_at_ns: int | None = None
        self._next_ns = 0
        self._pause_ns = 0.0

    def is_time(self, now_ns: int) -> bool:
        """Everything sendable here is congested now: True for leaving."""
        before_ns, self._congested_at_ns = self._congested_at_ns, now_ns
        limit_ns = LEAVE_PAUSE_LIMIT_BASE_RTTS * self._base_rtt_ns
        if before_ns is None or now_ns - before_ns > limit_ns:
            self._pause_ns = LEAVE_PAUSE_BASE_RTTS * self._base_rtt_ns
            self._pause(now_ns)
        if now_ns < self._next_ns:
            return False
        self._pause_ns = min(LEAVE_PAUSE_GROWTH * self._pause_ns, limit_ns)
        self._pause(now_ns)
        return self._rng.random() < LEAVE_CHANCE

    def _pause(self, now_ns: int) -> None:
        """Do nothing for up to the whole pause."""
        self._next_ns = now_ns + int(self._pause_ns * self._rng.random())
