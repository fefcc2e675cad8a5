"""When to leave a congested EV for an idle spare (paper Figure 14).

QPs that share an EV are marked together. Were all to leave they would share the next EV as
they did this one, and the queue they leave behind goes on marking whoever stays. Hence, as
stations on a shared wire do, each tosses a coin, waits a random time before the next toss,
up to twice as long after each, and starts anew once nothing was marked for a while.
"""

from __future__ import annotations

from testbed.transport.mrc.choices import (
    LEAVE_CHANCE,
    LEAVE_PAUSE_BASE_RTTS,
    LEAVE_PAUSE_LIMIT_BASE_RTTS,
)
from testbed.transport.mrc.rng import Rng


class Departure:
    """The coin and the clock of one port of one QP."""

    __slots__ = ("_base_rtt_ns", "_congested_at_ns", "_next_ns", "_pause_rtts", "_rng")

    def __init__(self, base_rtt_ns: int, rng: Rng) -> None:
        self._base_rtt_ns = base_rtt_ns
        self._rng = rng
        self._congested_at_ns = self._next_ns = 0
        self._pause_rtts = LEAVE_PAUSE_BASE_RTTS

    def is_time(self, now_ns: int) -> bool:
        """Everything sendable here is congested now: True for leaving."""
        rtt_ns = self._base_rtt_ns
        if now_ns - self._congested_at_ns > LEAVE_PAUSE_LIMIT_BASE_RTTS * rtt_ns:
            self._pause_rtts = LEAVE_PAUSE_BASE_RTTS
            self._next_ns = now_ns
        self._congested_at_ns = now_ns
        if now_ns < self._next_ns:
            return False
        # Between half the pause and all of it.
        self._next_ns = now_ns + int(rtt_ns * self._pause_rtts * (1 + self._rng.random()) / 2)
        self._pause_rtts = min(2 * self._pause_rtts, LEAVE_PAUSE_LIMIT_BASE_RTTS)
        return self._rng.random() < LEAVE_CHANCE
