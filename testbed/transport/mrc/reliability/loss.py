"""Telling loss from delay when packets are sprayed over many paths.

A hole in the bitmap proves nothing by itself. First there has to be evidence that a packet
would have arrived by now, by order of sending, not by PSN (facts sheet 4.8, choice 23):

a. a packet sent later on the *same EV in the same class* was acknowledged: the path is a
   pinned queue, so whatever was sent before is gone;
b. a packet sent at least one reorder window later on the *same plane* was acknowledged
   (on any plane, for a packet on a plane that went down); the window starts at NSCC's
   target delay, the queueing the paths of a plane may differ by, and doubles when a
   verdict proves wrong;
c. a reliability probe sent at least one reorder window later was answered;
d. the timer (:mod:`testbed.transport.mrc.reliability.retry`).

Evidence a to c makes a suspect. A SACK shows 64 PSNs only, and what it does not show may
well have arrived, so the verdict waits for a SACK made no earlier than the evidence that
does show the suspect's PSN, and shows it missing. Which SACK was made later its rcvd_bytes
tell, which only grows.

Where an EV does not pin a path (ECMP), rule a is left out.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import NamedTuple

from testbed.transport.mrc.reliability.outstanding import IN_FLIGHT, Packet

_MAX_WINDOW_FACTOR = 4  # what two queues at their trim thresholds may differ by
_TIDY_EVERY = 1024  # transmissions; so many stale ones may be held

Transmissions = deque[tuple[int, Packet]]


class Shown(NamedTuple):
    """What one SACK speaks of, as it was at ``made``: its bitmap's PSNs, and its edge.

    ``edge``, the PSN after cack, is missing by definition, wherever the bitmap begins.
    """

    edge: int
    first: int
    last: int
    made: int  # rcvd_bytes, unwrapped


class _Suspect(NamedTuple):
    order: int
    packet: Packet
    since: int  # rcvd_bytes of the SACK that brought the evidence


class LossDetector:
    """Rules a to c for one QP; ``window_ns`` is the reorder window."""

    __slots__ = ("_by_ev", "_by_port", "_heard", "_initial_window_ns", "_order", "_suspects",
                 "is_pinned", "window_ns")  # fmt: skip

    def __init__(self, window_ns: int, *, is_pinned: bool = True) -> None:
        self.window_ns = window_ns
        self.is_pinned = is_pinned
        self._initial_window_ns = window_ns
        self._order = 0
        # Transmissions in order of sending; stale ones are dropped from the head.
        self._by_ev: defaultdict[int, Transmissions] = defaultdict(deque)
        self._by_port: defaultdict[int, Transmissions] = defaultdict(deque)
        # Latest time of sending acknowledged, by port.
        self._heard: defaultdict[int, int] = defaultdict(lambda: -1)
        self._suspects: list[_Suspect] = []

    def on_sent(self, packet: Packet, now_ns: int) -> None:
        """A packet leaves, for the first time or again, on ``packet.entry``."""
        self._order = packet.order = order = self._order + 1
        packet.sent_at_ns = now_ns
        packet.tries = tries = packet.tries + 1
        item = (order, packet)
        entry = packet.entry
        self._by_port[entry.port].append(item)
        if self.is_pinned:
            self._by_ev[entry.ev << 1 | (tries > 1)].append(item)
        if not order % _TIDY_EVERY:
            self._tidy()

    def on_acknowledged(
        self, newly: list[Packet], answered: Packet | None, dead_ports: int, made: int
    ) -> None:
        """Look for suspects in the light of these first acknowledgements.

        ``newly`` are settled (ACKED). Of a packet sent more than once it is unknown which
        transmission arrived; only ``answered``, whose latest one the SACK names by its time
        stamp, counts as evidence then. ``dead_ports`` is a mask, ``made`` the SACK's
        rcvd_bytes, unwrapped.
        """
        found: list[tuple[int, Packet]] = []
        heard, is_pinned, ports = self._heard, self.is_pinned, 0
        for packet in newly:
            is_again = packet.tries > 1
            if is_again and packet is not answered:
                continue
            entry, sent_at_ns = packet.entry, packet.sent_at_ns
            port = entry.port
            if sent_at_ns > heard[port]:
                heard[port] = sent_at_ns
                ports |= 1 << port
            if is_pinned:
                order, queue = packet.order, self._by_ev[entry.ev << 1 | is_again]
                while queue and queue[0][0] <= order:
                    item = queue.popleft()
                    other = item[1]
                    if other.state == IN_FLIGHT and other.order == item[0]:
                        found.append(item)
        for port in self._by_port:
            if ports >> port & 1:
                self._sent_long_before(port, self._heard[port] - self.window_ns, found)
            elif dead_ports >> port & 1 and ports:
                self._sent_long_before(port, max(self._heard.values()) - self.window_ns, found)
        for order, packet in found:
            self._suspects.append(_Suspect(order, packet, made))

    def on_probe_answered(self, probe_sent_at_ns: int, missing: list[Packet], made: int) -> None:
        """Rule c: suspect what a probe overtook by more than the window."""
        limit_ns = probe_sent_at_ns - self.window_ns
        suspected = {suspect.order for suspect in self._suspects}
        for packet in missing:
            is_due = packet.state == IN_FLIGHT and packet.sent_at_ns <= limit_ns
            if is_due and packet.order not in suspected:
                self._suspects.append(_Suspect(packet.order, packet, made))

    @property
    def has_suspects(self) -> bool:
        """False where :meth:`verdicts` has nothing to decide, as mostly."""
        return bool(self._suspects)

    def verdicts(self, shown: Shown) -> list[Packet]:
        """The suspects this SACK shows missing, each once."""
        # By order of sending: two rules may have found the same transmission.
        lost: dict[int, Packet] = {}
        waiting = []
        for suspect in self._suspects:
            order, packet, since = suspect
            if packet.state != IN_FLIGHT or packet.order != order:
                continue  # acknowledged or sent again meanwhile
            is_shown = shown.first <= packet.psn <= shown.last or packet.psn == shown.edge
            if is_shown and shown.made >= since:
                lost[order] = packet
            else:
                waiting.append(suspect)
        self._suspects = waiting
        return list(lost.values())

    def on_spurious(self) -> None:
        """A packet declared lost was not: paths differ by more than the window."""
        self.window_ns = min(2 * self.window_ns, _MAX_WINDOW_FACTOR * self._initial_window_ns)

    def _sent_long_before(
        self, port: int, limit_ns: int, found: list[tuple[int, Packet]]
    ) -> None:
        queue = self._by_port[port]
        while queue:
            order, other = queue[0]
            if other.state == IN_FLIGHT and other.order == order:
                if other.sent_at_ns > limit_ns:
                    return
                found.append(queue[0])
            queue.popleft()

    def _tidy(self) -> None:
        """Forget what is stale at the heads; EVs come and go with the controller's profiles."""
        for queue in self._by_port.values():
            _drop_stale(queue)
        for key, queue in list(self._by_ev.items()):
            _drop_stale(queue)
            if not queue:
                del self._by_ev[key]


def _drop_stale(queue: Transmissions) -> None:
    """Take off the head what is acknowledged, lost, or has been sent again since."""
    while queue:
        order, packet = queue[0]
        if packet.state == IN_FLIGHT and packet.order == order:
            return
        queue.popleft()
