"""Endpoint requests and responses: they belong to no QP (facts sheet 4.15).

An EV probe asks whether one path leads anywhere, and how long it takes; a port status
update tells which ports are up. Each is answered on the path it came by.
"""

from __future__ import annotations

from collections.abc import Callable

from testbed.transport.mrc.clock import age_ns, timestamp
from testbed.transport.mrc.control import ControlQueue
from testbed.transport.mrc.endpoint_probes import EndpointProbes, OnAnswer
from testbed.transport.mrc.ev.rotation import Entry
from testbed.transport.mrc.port_status import UpdateDates
from testbed.transport.mrc.srv6 import RouteError, Routes
from testbed.transport.mrc.wire.codec import Arrival, Envelope, encode
from testbed.transport.mrc.wire.codes import EndpointOp
from testbed.transport.mrc.wire.packets import EndpointRequest, EndpointResponse
from topologies.numbers import Dscp, Ecn

_NO_TRIM, _CONTROL = int(Dscp.NO_TRIM), int(Dscp.CONTROL)
_NOT_ECT, _ECT0 = int(Ecn.NOT_ECT), int(Ecn.ECT0)
_EV_PROBE = EndpointOp.EV_PROBE

_Request = tuple[Envelope, EndpointOp, int | None, object, OnAnswer, int]


class EndpointCounters:
    """Datagrams that reached nobody, by cause, and endpoint packets."""

    __slots__ = ("ev_probes", "icrc_errors", "malformed", "not_for_us", "port_disabled",
                 "port_updates", "received", "unknown_qp", "unroutable")  # fmt: skip

    def __init__(self) -> None:
        self.received = self.malformed = self.icrc_errors = self.not_for_us = 0
        self.port_disabled = 0
        self.unknown_qp = self.unroutable = self.ev_probes = self.port_updates = 0


class EndpointPackets:
    """The connectionless half of an endpoint.

    ``queue`` holds the requests that wait for their port, ``answers`` is where responses
    go; ``up_ports()`` is the mask a port status update tells when it leaves.
    """

    __slots__ = (
        "_address", "_answers", "_dates", "_routes", "_up_ports", "counters", "queue",
        "waiting",
    )  # fmt: skip

    def __init__(
        self, address: bytes, routes: Routes, port_count: int, answers: ControlQueue,
        counters: EndpointCounters, up_ports: Callable[[], int],
    ) -> None:  # fmt: skip
        self.queue = ControlQueue(port_count)
        self.counters = counters
        self._address, self._routes = address, routes
        self._answers, self._up_ports = answers, up_ports
        self.waiting = EndpointProbes()
        self._dates = UpdateDates()

    def request(
        self, destination: bytes, ev: int, port: int, op: EndpointOp, on_answer: OnAnswer,
        *, port_mask: int = 0, dscp: int = _NO_TRIM,
    ) -> None:  # fmt: skip
        """Queue a request along any path, for anybody who asks.

        ``on_answer(rtt_ns, port, now_ns)`` is called once, or never. Raises RouteError
        where the destination or the EV has no path.
        """
        address = self._routes.lookup(destination).address(ev)
        envelope = Envelope(self._address, destination, address, ev, dscp, _ecn(dscp))
        self.queue.push(port, self._build, (envelope, op, port_mask, object(), on_answer, 0))

    def probe(
        self, entry: Entry, destination: bytes, on_answer: OnAnswer, joins_ns: int
    ) -> None:
        """Probe the EV of an entry, or wait for a probe of it that left this shortly ago."""
        envelope = self._envelope(entry, destination, _NO_TRIM)
        key = (destination, entry.ev)
        self.queue.push(
            entry.port, self._build, (envelope, _EV_PROBE, 0, key, on_answer, joins_ns)
        )

    def tell_ports(self, entry: Entry, destination: bytes, on_answer: OnAnswer) -> None:
        """Tell which ports are up: those that are when it leaves.

        A mask taken earlier could leave after a newer one, and would look like the newest.
        """
        envelope = self._envelope(entry, destination, _CONTROL)
        op = EndpointOp.PORT_STATUS_UPDATE
        self.queue.push(entry.port, self._build, (envelope, op, None, object(), on_answer, 0))

    def _build(self, argument: _Request, now_ns: int) -> bytes | None:
        envelope, op, mask, key, on_answer, joins_ns = argument
        if joins_ns and self.waiting.join(key, on_answer, now_ns - joins_ns):
            return None
        if op is _EV_PROBE:
            self.counters.ev_probes += 1
        dated_ns = now_ns
        if mask is None:
            mask = self._up_ports()
            dated_ns = self._dates.date_ns(mask, now_ns)
        request_id = self.waiting.open(key, on_answer, now_ns)
        return encode(envelope, EndpointRequest(request_id, op, mask, timestamp(dated_ns)))

    def respond(self, port: int, arrival: Arrival, request: EndpointRequest) -> bool:
        """Answer on the path the request came by, in the control class.

        False where no route leads back: nobody this NIC could have to do with.
        """
        try:
            address = self._routes.lookup(arrival.source).address(arrival.ev)
        except RouteError:
            self.counters.unroutable += 1
            return False
        envelope = Envelope(
            self._address, arrival.source, address, arrival.ev, _CONTROL, _NOT_ECT
        )
        response = EndpointResponse(request.request_id, request.op, request.tx_timestamp)
        self._answers.push(port, _build_response, (envelope, response))
        return True

    def on_response(self, port: int, response: EndpointResponse, now_ns: int) -> None:
        """Tell whoever waits for it."""
        on_answer = self.waiting.answered(response.request_id, now_ns)
        if on_answer is not None:
            on_answer(age_ns(now_ns, response.tx_timestamp), port, now_ns)

    def _envelope(self, entry: Entry, destination: bytes, dscp: int) -> Envelope:
        return Envelope(
            self._address, destination, entry.path_address, entry.ev, dscp, _ecn(dscp)
        )


def _ecn(dscp: int) -> int:
    """Data is ECN-capable, control is not (facts sheet 3.5)."""
    return _NOT_ECT if dscp == _CONTROL else _ECT0


def _build_response(argument: tuple[Envelope, EndpointResponse], now_ns: int) -> bytes:
    return encode(*argument)
