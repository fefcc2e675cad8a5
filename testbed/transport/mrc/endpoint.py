"""One NIC's transport engine: every QP of a host, behind three ways in and three out.

    receive(port, datagram, now)       transmit(now, free_ports) -> (port, datagram)
    on_deadline(now)                   next_deadline()
    on_ports_changed(up_ports, now)    events()

The driver owns time, ports and wires. It hands in what arrives, calls :meth:`transmit`
while ports are free, and :meth:`on_deadline` when :meth:`next_deadline` has come; nothing
here waits, reads a clock or draws randomness of its own. A datagram begins with the outer
IPv6 header; ``now`` is in emulated ns and never goes back; ports count from 0 and sets of
them are masks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from testbed.transport.mrc.choices import FIRST_QPN
from testbed.transport.mrc.completion import WcStatus
from testbed.transport.mrc.control import ControlQueue
from testbed.transport.mrc.endpoint_packets import EndpointCounters, EndpointPackets
from testbed.transport.mrc.ev.rotation import Entry
from testbed.transport.mrc.ev.states import EvChange
from testbed.transport.mrc.memory import MemoryTable
from testbed.transport.mrc.notes import AnsweredProbe
from testbed.transport.mrc.peers import Peer, Peers
from testbed.transport.mrc.qp import QpFailed, QpState, QueuePair
from testbed.transport.mrc.responder import Responder
from testbed.transport.mrc.rng import Rng
from testbed.transport.mrc.scheduler import Scheduler
from testbed.transport.mrc.srv6 import Routes
from testbed.transport.mrc.wire.codec import Arrival, decode
from testbed.transport.mrc.wire.codes import EndpointOp, NakCode
from testbed.transport.mrc.wire.errors import DecodeError, IcrcError
from testbed.transport.mrc.wire.packets import (
    EndpointRequest,
    EndpointResponse,
    Nack,
    ReliabilityProbe,
    Sack,
    TransportAck,
    Trimmed,
    Write,
)

_EVENTS_KEPT = 4096
# Looking a member up in its enum costs as much as the comparison.
_ERROR = QpState.ERROR
_NAK_STATUS = {
    int(NakCode.INVALID_REQUEST): WcStatus.REMOTE_INVALID_REQUEST,
    int(NakCode.REMOTE_ACCESS_ERROR): WcStatus.REMOTE_ACCESS_ERROR,
    int(NakCode.REMOTE_OPERATIONAL_ERROR): WcStatus.REMOTE_OPERATION_ERROR,
}


@dataclass(frozen=True, slots=True)
class EvChanged:
    """An event: an EV of a QP changed state or place (see :class:`EvChange`)."""

    qp_num: int
    peer: bytes
    change: EvChange


@dataclass(frozen=True, slots=True)
class PeerPortsChanged:
    """An event: a peer reported which of its ports are up (a mask)."""

    peer: bytes
    up_ports: int
    at_ns: int


Event = QpFailed | EvChanged | PeerPortsChanged


class Endpoint:
    """The engine of the NIC with this inner address (16 bytes).

    ``routes`` lead to other NICs, ``rng`` is the only source of randomness, ``up_ports``
    the mask of ports with carrier. QPs are made through :mod:`testbed.transport.mrc.verbs`.
    ``answered_probes``: a list that whoever records has hung up for answers, else None.
    """

    __slots__ = (
        "_enabled", "_events", "_next_qpn", "_now_ns", "_requests", "_scheduler",
        "_wake_at_ns", "address", "all_ports", "answered_probes", "carrier", "controls",
        "counters", "memory", "packets", "peers", "qps", "rng", "routes", "up_ports",
    )  # fmt: skip

    def __init__(
        self, *, address: bytes, port_count: int, routes: Routes, rng: Rng,
        memory: MemoryTable | None = None, up_ports: int | None = None,
    ) -> None:  # fmt: skip
        self.address = address
        self.routes = routes
        self.rng = rng
        self.memory = memory or MemoryTable(rng)
        self.all_ports = (1 << port_count) - 1
        self.carrier = self.all_ports if up_ports is None else up_ports
        self.up_ports = self.carrier  # with carrier, and not disabled by the controller
        self.counters = EndpointCounters()
        self.answered_probes: list[AnsweredProbe] | None = None
        self.controls = ControlQueue(port_count)
        self.qps: dict[int, QueuePair] = {}
        self.packets = EndpointPackets(
            address, routes, port_count, self.controls, self.counters, lambda: self.up_ports
        )
        self._requests = self.packets.queue
        self.peers = Peers(self.packets, self._touch)
        self._scheduler = Scheduler()
        self._events: deque[Event] = deque(maxlen=_EVENTS_KEPT)
        self._wake_at_ns: int | None = None
        self._now_ns = 0
        self._enabled = self.all_ports
        self._next_qpn = FIRST_QPN

    # --- QPs -----------------------------------------------------------------------

    def new_qp_num(self) -> int:
        """A queue pair number that is not in use, 3 .. 2^24 - 1."""
        while (number := self._next_qpn) in self.qps:
            self._next_qpn = _following_qpn(number)
        self._next_qpn = _following_qpn(number)
        return number

    def attach(self, qp: QueuePair, now_ns: int) -> None:
        """A QP has reached RTR: its peer may write from now on."""
        assert qp.paths is not None
        qp.paths.set_local_ports(self.up_ports, now_ns)
        mask = self.peers.at(qp.peer).ports.mask
        qp.paths.set_peer_ports(mask & self.all_ports, now_ns)
        self.peers.attach(qp, self.up_ports, now_ns)

    def detach(self, qp: QueuePair) -> None:
        """A QP is going away: nothing of it is answered any more."""
        self.peers.detach(qp)

    def kick(self, qp: QueuePair, now_ns: int) -> None:
        """Work was posted to this QP."""
        self._after(qp, now_ns)

    def fail(self, qp: QueuePair, status: WcStatus, reason: str, now_ns: int) -> None:
        """Take a QP to ERROR."""
        if qp.state is not _ERROR:
            self._events.append(qp.fail(status, reason, now_ns))

    # --- In: datagrams -------------------------------------------------------------

    def receive(self, port: int, datagram: bytes | memoryview, now_ns: int) -> None:
        """A datagram arrived on this port. Whatever it holds, nothing is raised."""
        self.counters.received += 1
        self._now_ns = now_ns
        if not self._enabled >> port & 1:
            self.counters.port_disabled += 1
            return
        try:
            arrival = decode(datagram)
        except IcrcError:
            self.counters.icrc_errors += 1
            return
        except DecodeError:
            self.counters.malformed += 1
            return
        if arrival.destination != self.address:
            self.counters.not_for_us += 1
            return
        packet = arrival.packet
        if isinstance(packet, EndpointRequest):
            self._on_request(port, arrival, packet, now_ns)
            return
        if isinstance(packet, EndpointResponse):
            self.packets.on_response(port, packet, now_ns)
            return
        qp = self.qps.get(packet.dqp)
        if qp is None or (responder := qp.responder) is None or qp.peer != arrival.source:
            self.counters.unknown_qp += 1
        elif isinstance(packet, Write):
            if qp.state is not _ERROR or responder.error:
                responder.on_write(port, arrival, packet, now_ns)
                self._after_write(qp, responder, now_ns)
        else:
            _QP_HANDLERS[type(packet)](self, qp, port, arrival, now_ns)
            self._after(qp, now_ns)

    def _after_write(self, qp: QueuePair, responder: Responder, now_ns: int) -> None:
        """Like :meth:`_after`: most writes complete nothing and move no deadline but one."""
        if responder.completions or responder.error:
            self._after(qp, now_ns)
        elif (at_ns := responder.reverse.probe_at_ns) is not None:
            self._touch(at_ns)

    def _on_trimmed(self, qp: QueuePair, port: int, arrival: Arrival, now_ns: int) -> None:
        assert qp.responder is not None
        if qp.state is not _ERROR:
            qp.responder.on_trimmed(port, arrival, arrival.packet, now_ns)  # type: ignore[arg-type]

    def _on_probe(self, qp: QueuePair, port: int, arrival: Arrival, now_ns: int) -> None:
        assert qp.responder is not None
        if qp.state is not _ERROR or qp.responder.error:
            qp.responder.on_probe(port, arrival, arrival.packet, now_ns)  # type: ignore[arg-type]

    def _on_sack(self, qp: QueuePair, port: int, arrival: Arrival, now_ns: int) -> None:
        if qp.requester is not None:
            qp.requester.on_sack(arrival.packet, now_ns)  # type: ignore[arg-type]

    def _on_nack(self, qp: QueuePair, port: int, arrival: Arrival, now_ns: int) -> None:
        if qp.requester is not None:
            qp.requester.on_nack(arrival.packet, now_ns)  # type: ignore[arg-type]

    def _on_transport_ack(
        self, qp: QueuePair, port: int, arrival: Arrival, now_ns: int
    ) -> None:
        ack = arrival.packet
        assert isinstance(ack, TransportAck)
        if qp.requester is None:
            return
        if not ack.is_nak:
            qp.requester.on_transport_ack(ack.psn, now_ns)
            return
        qp.requester.on_transport_ack(ack.psn - 1, now_ns)  # all before it is acknowledged
        status = _NAK_STATUS.get(ack.syndrome, WcStatus.REMOTE_OPERATION_ERROR)
        qp.requester.on_transport_nak(status)

    def _after(self, qp: QueuePair, now_ns: int) -> None:
        """Take the outcome of one call from a QP: completions, errors, readiness, deadlines."""
        overrun = qp.collect()
        requester, responder = qp.requester, qp.responder
        if qp.state is _ERROR:
            return
        if requester is not None:
            if requester.error is not None:
                self.fail(qp, requester.error, _reason(requester.error), now_ns)
                return
            if not qp.is_ready:
                self._scheduler.wake(qp)
            self._touch(requester.next_deadline())
        if responder is not None:
            if responder.error:
                status = _NAK_STATUS[responder.error]
                self.fail(qp, WcStatus.FLUSHED, f"it refused its peer: {status.value}", now_ns)
                return
            self._touch(responder.reverse.probe_at_ns)
        if qp.paths is not None:
            self._touch(qp.paths.next_probe_at())
        if overrun:
            self.fail(qp, WcStatus.FLUSHED, overrun, now_ns)

    # --- In: carrier ---------------------------------------------------------------

    def on_ports_changed(self, up_ports: int, now_ns: int) -> None:
        """The mask of ports with carrier is this from now on; every peer is told."""
        self._now_ns = now_ns
        self.carrier = up_ports
        self._set_ports(up_ports & self._enabled, now_ns)

    def set_port_enabled(self, port: int, is_enabled: bool) -> None:
        """The controller's word on a port; a disabled one is down (facts sheet 7.8).

        Dated with the last time the engine was told, as a controller has no clock here.
        """
        bit = 1 << port
        self._enabled = self._enabled | bit if is_enabled else self._enabled & ~bit
        self._set_ports(self.carrier & self._enabled, self._now_ns)

    def _set_ports(self, up_ports: int, now_ns: int) -> None:
        if up_ports == self.up_ports:
            return
        lost = self.up_ports & ~up_ports
        self.up_ports = up_ports
        for peer in self.peers:
            for qp in peer.qps:
                if qp.paths is not None:
                    qp.paths.set_local_ports(up_ports, now_ns)
                    self._after(qp, now_ns)
            self.peers.tell(peer, up_ports, now_ns)
        self.controls.drop(lost, now_ns)
        self.packets.queue.drop(lost, now_ns)

    # --- In: time ------------------------------------------------------------------

    def next_deadline(self) -> int | None:
        """When to call :meth:`on_deadline`, ns; None for never. It may turn out too early.

        Deadlines mostly move later, with every answer. Rather than search for the earliest
        each time, one that was right once is kept; :meth:`on_deadline` finds the next.
        """
        return self._wake_at_ns

    def on_deadline(self, now_ns: int) -> None:
        """Do what is due by now."""
        self._now_ns = now_ns
        self._wake_at_ns = None
        for qp in list(self.qps.values()):
            if qp.state is _ERROR or qp.paths is None or qp.responder is None:
                continue
            requester = qp.requester
            if requester is not None:
                due_at_ns = requester.next_deadline()
                if due_at_ns is not None and due_at_ns <= now_ns:
                    requester.on_deadline(now_ns)
            self._probe_paths(qp, now_ns)
            self._after(qp, now_ns)
        self.peers.on_deadline(now_ns)

    def _probe_paths(self, qp: QueuePair, now_ns: int) -> None:
        """Send the EV probes that are due: for bad EVs, and for the way back."""
        paths, reverse = qp.paths, qp.responder.reverse if qp.responder else None
        assert paths is not None
        assert reverse is not None
        for entry in paths.probes_due(now_ns):
            self._probe_ev(qp, entry, now_ns)
        back = reverse.probe_due(now_ns)
        if back is not None:
            self._probe_ev(qp, back, now_ns)

    def _probe_ev(self, qp: QueuePair, entry: Entry, now_ns: int) -> None:
        assert qp.paths is not None

        def on_answer(rtt_ns: int, port: int, at_ns: int) -> None:
            # The answer went there and back again, so both directions take it. It tells of no
            # mark: an EETH has no field for one, so only a reliability probe's answer could.
            if self.answered_probes is not None:
                self.answered_probes.append(
                    AnsweredProbe(at_ns, qp.qp_num, entry.ev, entry.port, rtt_ns))
            if qp.paths is not None and qp.responder is not None:
                qp.paths.on_probe_answered(entry.ev, at_ns, False)
                qp.responder.reverse.on_probe_answered(entry.ev, at_ns)
                self._after(qp, at_ns)

        self.packets.probe(entry, qp.peer, on_answer, qp.paths.base_rtt_ns)

    def _touch(self, deadline_ns: int | None) -> None:
        wake_at_ns = self._wake_at_ns
        if deadline_ns is not None and (wake_at_ns is None or deadline_ns < wake_at_ns):
            self._wake_at_ns = deadline_ns

    # --- Endpoint packets ----------------------------------------------------------

    def _on_request(
        self, port: int, arrival: Arrival, request: EndpointRequest, now_ns: int
    ) -> None:
        is_known = self.packets.respond(port, arrival, request)
        if is_known and request.op == EndpointOp.PORT_STATUS_UPDATE:
            mask = request.port_status_mask
            peer = self.peers.on_update(arrival.source, mask, request.tx_timestamp, now_ns)
            if peer is not None:
                self._on_peer_ports(peer, now_ns)

    def _on_peer_ports(self, peer: Peer, now_ns: int) -> None:
        self._events.append(PeerPortsChanged(peer.address, peer.ports.mask, now_ns))
        for qp in peer.qps:
            if qp.paths is not None:
                qp.paths.set_peer_ports(peer.ports.mask & self.all_ports, now_ns)
                self._after(qp, now_ns)

    # --- Out -----------------------------------------------------------------------

    def transmit(self, now_ns: int, free_ports: int) -> tuple[int, bytes] | None:
        """The next datagram for one of these ports, (port, datagram), or None.

        Answers first, then endpoint requests, then the QPs in turn.
        """
        self._now_ns = now_ns
        free_ports &= self.up_ports
        if self.controls.waiting & free_ports:
            sent = self.controls.pop(free_ports, now_ns)
            if sent is not None:
                return sent
        if self._requests.waiting & free_ports:
            sent = self._requests.pop(free_ports, now_ns)
            if sent is not None:
                return sent
        # As often as not there is nothing to send: drivers ask until they hear so.
        return self._scheduler.transmit(now_ns, free_ports) if self._scheduler.ring else None

    def events(self) -> list[Event]:
        """What happened since the last call, in order within each QP.

        Of what nobody asks for, the newest 4096 are kept.
        """
        events = list(self._events)
        self._events.clear()
        for qp in self.qps.values():
            if qp.paths is not None:
                events += [
                    EvChanged(qp.qp_num, qp.peer, change) for change in qp.paths.take_changes()
                ]
        return events


def _following_qpn(number: int) -> int:
    return FIRST_QPN if number == (1 << 24) - 1 else number + 1


def _reason(status: WcStatus) -> str:
    if status is WcStatus.RETRY_EXCEEDED:
        return "no answer from its peer within the retry budget"
    return f"its peer refused a message: {status.value}"


_QP_HANDLERS: dict[type, Callable[[Endpoint, QueuePair, int, Arrival, int], None]] = {
    Trimmed: Endpoint._on_trimmed,
    ReliabilityProbe: Endpoint._on_probe,
    Sack: Endpoint._on_sack,
    Nack: Endpoint._on_nack,
    TransportAck: Endpoint._on_transport_ack,
}
