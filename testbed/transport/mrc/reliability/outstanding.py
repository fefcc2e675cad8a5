"""The requester's view of PSNs: what was sent, what of it is not acknowledged, what is lost.

A packet is IN_FLIGHT from the moment it leaves, LOST while it waits to be sent again,
and gone from here once a SACK covers it. Its latest transmission (EV, time, order) is what
evidence is held against; earlier ones no longer matter (facts sheet 4.2, 4.3, 4.8).
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from testbed.transport.mrc.ev.rotation import Entry
    from testbed.transport.mrc.messages import Message

IN_FLIGHT = 0
LOST = 1
ACKED = 2


class Packet:
    """One PSN that has been sent at least once.

    ``size_bytes`` is nominal (UDP length + 40), ``sent_at_ns`` and ``order`` belong to the
    latest of ``tries`` transmissions, ``entry`` is the EV it went out on.
    """

    __slots__ = ("entry", "length", "message", "offset", "order", "psn", "sent_at_ns",
                 "size_bytes", "state", "tries")  # fmt: skip

    def __init__(
        self, psn: int, message: Message, offset: int, length: int, size_bytes: int, entry: Entry
    ) -> None:
        self.psn = psn
        self.message = message
        self.offset = offset
        self.length = length
        self.size_bytes = size_bytes
        self.entry = entry
        self.sent_at_ns = 0
        self.order = -1
        self.tries = 0
        self.state = IN_FLIGHT


class SendWindow:
    """Every packet sent and not yet acknowledged.

    ``first_psn`` is the lowest PSN not cumulatively acknowledged (unack_psn + 1 of Table
    7-4), ``next_psn`` the next one to send for the first time. Unwrapped numbers.
    """

    __slots__ = ("_sacked", "first_psn", "lost", "next_psn", "packets")

    def __init__(self, first_psn: int) -> None:
        self.first_psn = first_psn
        self.next_psn = first_psn
        self.packets: dict[int, Packet] = {}  # in order of PSN; acknowledged ones are gone
        self._sacked = 0  # bit i: PSN first_psn + i is acknowledged
        self.lost: list[int] = []  # heap of PSNs; some may have been found meanwhile

    def add(self, packet: Packet) -> None:
        """A new packet has been sent: it carries ``next_psn``."""
        self.packets[packet.psn] = packet
        self.next_psn = packet.psn + 1

    def acknowledge(
        self, cack_psn: int, base: int, bitmap: int, ack_psn: int | None = None
    ) -> list[Packet]:
        """Take in one SACK's PSNs, unwrapped; the packets it acknowledges for the first time.

        ``ack_psn`` is the PSN that triggered it, received whether or not the bitmap
        reaches that far. PSNs never sent are ignored; a cack_psn behind the edge is old
        news, its bitmap still counts (facts sheet 4.5). The ``state`` of what is returned
        still says IN_FLIGHT or LOST; the caller looks, and makes it ACKED.
        """
        packets, newly, first = self.packets, [], self.first_psn
        if first <= cack_psn < self.next_psn:
            for psn in range(first, cack_psn + 1):
                packet = packets.pop(psn, None)
                if packet is not None:
                    newly.append(packet)
            self._sacked >>= cack_psn + 1 - first
            self.first_psn = first = cack_psn + 1
        if bitmap or (ack_psn is not None and ack_psn >= first):
            shift = base - first
            bits = bitmap << shift if shift >= 0 else bitmap >> -shift
            if ack_psn is not None and ack_psn >= first:
                bits |= 1 << ack_psn - first
            bits &= ~self._sacked & (1 << self.next_psn - first) - 1
            self._sacked |= bits
            while bits:
                lowest = bits & -bits
                newly.append(packets.pop(first + lowest.bit_length() - 1))
                bits ^= lowest
        return newly

    def lose(self, packet: Packet) -> None:
        """A packet in flight is lost: it waits to be sent again, lowest PSN first."""
        packet.state = LOST
        heappush(self.lost, packet.psn)

    def next_lost(self) -> Packet | None:
        """The lost packet to send next, None where nothing is missing."""
        lost = self.lost
        while lost:
            packet = self.packets.get(lost[0])
            if packet is not None and packet.state == LOST:
                return packet
            heappop(lost)
        return None

    def resend(self, packet: Packet) -> None:
        """The packet :meth:`next_lost` returned has been sent again."""
        heappop(self.lost)
        packet.state = IN_FLIGHT

    @property
    def in_flight_count(self) -> int:
        """How many are on their way; counted anew each time."""
        return sum(packet.state == IN_FLIGHT for packet in self.packets.values())

    @property
    def oldest(self) -> Packet | None:
        """The unacknowledged packet with the lowest PSN."""
        return next(iter(self.packets.values()), None)
