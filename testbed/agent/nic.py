"""One port of the emulated NIC: busy for size/rate with every frame, exact over time.

A frame is chosen when the port falls free and leaves when its last bit would have left a
real port. The next one begins at that very instant, however late the agent looked, so the
rate is exact as long as the agent is not later than it may catch up (`driver`).
"""

from __future__ import annotations

from topologies.numbers import ETHERNET_BYTES

_NS_PER_S = 1_000_000_000


class NicPort:
    """``rate_bps`` is the nominal, emulated rate; times are emulated ns.

    ``in_service`` is the datagram that is being serialised, None while the port is idle.
    ``lost_ns`` adds up the time the port stood still although there was work, because its
    agent was later than it may catch up.
    """

    __slots__ = ("_finish_units", "_half", "_rate", "bit", "in_service", "lost_ns",
                 "plane", "sent_bytes", "sent_frames")  # fmt: skip

    def __init__(self, plane: int, rate_bps: int) -> None:
        self.plane = plane
        self.bit = 1 << plane
        self.in_service: bytes | None = None
        self.lost_ns = 0
        self.sent_frames = self.sent_bytes = 0
        self._rate = rate_bps
        self._half = rate_bps >> 1
        self._finish_units = 0  # bits sent x 10^9 when the frame in service has left

    def begin(self, datagram: bytes, now_ns: int) -> int:
        """Serialise a datagram and its Ethernet header; the time at which it is out.

        A port in use goes on back to back: what rounding to whole ns adds to one frame the
        next one makes up.
        """
        rate = self._rate
        start = now_ns * rate
        if self._finish_units > start - rate:
            start = self._finish_units
        size = len(datagram) + ETHERNET_BYTES
        self._finish_units = finish = start + size * 8 * _NS_PER_S
        self.in_service = datagram
        self.sent_frames += 1
        self.sent_bytes += size
        return (finish + self._half) // rate

    def frame_ns(self, size_bytes: int) -> int:
        """How long a frame of this size, Ethernet header included, keeps the port busy."""
        return size_bytes * 8 * _NS_PER_S // self._rate
