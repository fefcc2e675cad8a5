"""Telling a peer which of our ports are up (spec 7.4.8; facts sheet 4.15).

Losing a NIC port takes a plane away from everybody who sends to this NIC. Each peer gets
the mask of ports that are up, again every two base RTTs, each time on another live plane,
until it answers. After eight the interval doubles with each, up to 64 base RTTs: a peer that
could not be reached for long would otherwise believe in the old mask for ever, and where
that names no port that is up it could never send again. A newer change replaces what is
still being told.
"""

from __future__ import annotations

from testbed.transport.mrc.choices import (
    PORT_UPDATE_INTERVAL_BASE_RTTS,
    PORT_UPDATE_INTERVAL_LIMIT_BASE_RTTS,
    PORT_UPDATE_TRIES,
    TIMESTAMP_TICK_NS,
)
from testbed.transport.mrc.clock import WRAP_NS
from testbed.transport.mrc.serial import signed


class PortUpdate:
    """One mask on its way to one peer."""

    __slots__ = ("interval_ns", "mask", "max_interval_ns", "next_at_ns", "sent", "tries_left")

    def __init__(self, mask: int, base_rtt_ns: int, now_ns: int) -> None:
        self.mask = mask
        self.interval_ns = PORT_UPDATE_INTERVAL_BASE_RTTS * base_rtt_ns
        self.max_interval_ns = PORT_UPDATE_INTERVAL_LIMIT_BASE_RTTS * base_rtt_ns
        self.next_at_ns = now_ns
        self.sent = 0
        self.tries_left = PORT_UPDATE_TRIES

    def on_sent(self, now_ns: int) -> None:
        """One more try has left."""
        self.sent += 1
        if self.tries_left:
            self.tries_left -= 1
        else:
            self.interval_ns = min(2 * self.interval_ns, self.max_interval_ns)
        self.next_at_ns = now_ns + self.interval_ns


class UpdateDates:
    """When updates are dated: another mask never with the time stamp of the one before.

    A stamp is a tick of 128 ns, and ports may change twice within one: the later mask is
    dated into the next tick, or the peer could not tell which of the two is the newer.
    """

    __slots__ = ("_dated_ns", "_mask")

    def __init__(self) -> None:
        self._mask = -1
        self._dated_ns = 0

    def date_ns(self, mask: int, now_ns: int) -> int:
        """The time whose stamp an update with this mask carries that leaves now."""
        least_ns = self._dated_ns if mask == self._mask else self._dated_ns + TIMESTAMP_TICK_NS
        self._mask, self._dated_ns = mask, max(now_ns, least_ns)
        return self._dated_ns


class PeerPorts:
    """What a peer last said of its ports; out-of-order updates are told by their time stamp."""

    __slots__ = ("_heard_at_ns", "_stamp", "mask")

    def __init__(self) -> None:
        self.mask = -1  # every port, until it says otherwise
        self._stamp = 0
        self._heard_at_ns: int | None = None

    def update(self, mask: int, stamp: int, now_ns: int) -> bool:
        """Take in an update with a 16-bit time stamp; True where it changes the mask.

        Updates are repeated and overtake one another on different planes. Within half the
        stamp's wrap (4.2 ms) an older one is recognised and ignored; later than that
        nothing old can be on its way any more.
        """
        is_comparable = self._heard_at_ns is not None and now_ns - self._heard_at_ns < WRAP_NS // 2
        if is_comparable and signed(stamp - self._stamp, 16) < 0:
            return False
        self._stamp, self._heard_at_ns = stamp, now_ns
        is_new = mask != self.mask
        self.mask = mask
        return is_new
