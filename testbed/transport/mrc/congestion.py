"""The window of a QP: its books, whatever moves it (facts sheet 6.2, 6.4), and Figure 4.

:mod:`.nscc` moves it as UET's NSCC does; :class:`NoCongestionControl` leaves it alone.
"""

from __future__ import annotations

import math
from enum import Enum

from testbed.transport.mrc.choices import RCVD_BYTES_UNIT, SACK_THRESHOLD_BYTES

_RCVD_MASK = (1 << 24) - 1


class SchedulerState(Enum):
    """What the QP scheduler may do with a QP (Figure 4); only READY ones compete."""

    IDLE = "idle"  # nothing queued, nothing in flight
    PENDING = "pending"  # nothing queued, answers outstanding
    READY = "ready"  # data queued and the window open
    ACTIVE = "active"  # data queued and the window full


class CongestionControl:
    """The window's books, whatever moves the window (facts sheet 6.4); here nothing does.

    Read-only for others: ``cwnd``, ``max_cwnd``, ``inflight``, ``backlog`` and
    ``rtx_backlog`` (bytes queued: new, lost), ``inflight_pkts`` and ``waiting_rtx``
    (packets), ``base_rtt_ns`` (the smallest seen), ``avg_delay_ns``. ``inflight`` is
    signed: the responder rounds its count up, so it reads up to 255 bytes low.
    """

    __slots__ = (
        "avg_delay_ns",
        "backlog",
        "base_rtt_ns",
        "cwnd",
        "inflight",
        "inflight_pkts",
        "last_rcvd",
        "max_cwnd",
        "mtu_bytes",
        "rtx_backlog",
        "sack_threshold_bytes",
        "waiting_rtx",
    )

    def __init__(
        self, window_bytes: float, base_rtt_ns: int, mtu_bytes: int, sack_threshold_bytes: int
    ) -> None:
        self.cwnd = self.max_cwnd = float(window_bytes)
        self.base_rtt_ns = base_rtt_ns
        self.mtu_bytes = mtu_bytes
        self.sack_threshold_bytes = sack_threshold_bytes
        self.avg_delay_ns = 0.0
        self.inflight = self.inflight_pkts = 0
        self.backlog = self.waiting_rtx = self.rtx_backlog = 0
        self.last_rcvd = 0

    def can_send(self) -> bool:
        """Whether a packet of any size may leave; the last one may overshoot ([32])."""
        return self.inflight < self.cwnd

    @property
    def state(self) -> SchedulerState:
        """Figure 4 as it is now."""
        if self.backlog > 0 or self.waiting_rtx > 0:
            return SchedulerState.READY if self.can_send() else SchedulerState.ACTIVE
        return SchedulerState.PENDING if self.inflight_pkts > 0 else SchedulerState.IDLE

    def on_queued(self, size: int) -> None:
        """New data of this nominal size waits to be sent."""
        self.backlog += size

    def on_sent(self, size: int, is_rtx: bool) -> bool:
        """A packet leaves; the answer is whether to ask for a SACK with it (BTH.a)."""
        self.inflight += size
        self.inflight_pkts += 1
        if is_rtx:
            self.waiting_rtx -= 1
            self.rtx_backlog -= size
        else:
            self.backlog -= size
        cwnd = self.cwnd
        return cwnd - self.inflight < self.mtu_bytes or cwnd < self.sack_threshold_bytes

    def on_found(self, size: int) -> None:
        """A packet on the lost list was acknowledged before its resend left.

        The verdict took its size off, and the responder's count does so again: call
        this before or after the SACK that says so.
        """
        self.inflight += size
        self.inflight_pkts += 1
        self.waiting_rtx -= 1
        self.rtx_backlog -= size

    def on_sack(
        self,
        now: int,
        rcvd_bytes: int,
        marked: bool,
        rtt_ns: int | None,
        penalty: int,
        restore: bool,
        packets: int,
    ) -> None:
        """A SACK came at ``now`` (ns).

        ``rcvd_bytes`` is the field of CC_STATE as it is, 24 bits in units of 256 bytes;
        ``marked``: m is not NONE; ``rtt_ns``: the sample, None where it would be
        ambiguous; ``penalty``, ``restore``: rcv_cwnd_pen (0..127) and r_c; ``packets``:
        PSNs this SACK acknowledges for the first time, those of :meth:`on_found` included.
        """
        self._take_received(rcvd_bytes, packets)
        self._learn_base_rtt(rtt_ns)

    def on_nack(self, now: int, size: int, is_trim: bool, rtt_ns: int | None) -> None:
        """The responder refused a packet in flight: trimmed, at whatever hop, or otherwise.

        Call this or :meth:`on_loss`, once for each transmission given up.
        """
        self._mark_lost(size)
        self._learn_base_rtt(rtt_ns)

    def on_loss(self, size: int) -> None:
        """A packet in flight is declared lost: by a hole, a probe's answer or the timer."""
        self._mark_lost(size)

    def _take_received(self, rcvd_bytes: int, packets: int) -> int:
        """Facts sheet 6.3 step 1: bytes newly received, 0 where the SACK is an old one."""
        ahead = rcvd_bytes - self.last_rcvd & _RCVD_MASK
        if ahead > _RCVD_MASK >> 1:
            ahead = 0
        else:
            self.last_rcvd = rcvd_bytes
        newly = ahead * RCVD_BYTES_UNIT
        self.inflight -= newly
        self.inflight_pkts -= packets
        return newly

    def _mark_lost(self, size: int) -> None:
        self.inflight -= size
        self.inflight_pkts -= 1
        self.waiting_rtx += 1
        self.rtx_backlog += size

    def _learn_base_rtt(self, rtt_ns: int | None) -> None:
        if rtt_ns is not None and 0 < rtt_ns < self.base_rtt_ns:
            self.base_rtt_ns = rtt_ns


class NoCongestionControl(CongestionControl):
    """What a CC profile with algorithm NULL means: a fixed window, or none at all."""

    __slots__ = ()

    def __init__(
        self,
        base_rtt_ns: int,
        mtu_bytes: int,
        window_bytes: int | None = None,
        sack_threshold_bytes: int = SACK_THRESHOLD_BYTES,
    ) -> None:
        window = math.inf if window_bytes is None else window_bytes
        super().__init__(window, base_rtt_ns, mtu_bytes, sack_threshold_bytes)
