"""Endpoint probes of the controller: a batch of EV probes or port status updates (7.7).

The call of the header sends a batch and blocks until all are answered or the time is up.
A sans-IO core cannot block, so here the batch is an object. A driver sends ``requests()``
through the engine, feeds each answer to ``on_response``, and loops until ``is_done(now)``;
``result(now)`` is then what the blocking call returns. Answers that come later belong to
no batch and are ignored, as the header does not keep them for a later call either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from testbed.transport.mrc.ctl.attributes import DeviceAttributes
from testbed.transport.mrc.ctl.ev_format import EvFormatMode
from testbed.transport.mrc.ctl.values import ApiEv, wire_ev
from testbed.transport.mrc.errors import Errno, MrcError

_REQ_ID_BITS = 16
_DSCP_BITS = 6
_GID_BYTES = 16
_WIRE_MASK_BITS = 32
# SRv6 EVs are whole addresses here, which the engine makes of 32-bit EVs by itself.
_MODES = (EvFormatMode.STEV, EvFormatMode.UDP)


class ProbeKind(Enum):
    """What a batch asks of the other endpoints. The numbers of the wire are elsewhere."""

    EV_PROBE = "EV probe"
    PORT_STATUS_UPDATE = "port status update"


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """One request: ``req_id`` (16 bits, unique among those outstanding) and where it goes.

    ``source`` and ``destination`` are RoCEv2 GIDs, 16 bytes. ``mode`` says how to read
    ``ev``, whose port (from 1) is the one to send from. ``port_mask``: bit N stands for
    port N (from 1) being reachable; for updates only, else 0.
    """

    req_id: int
    source: bytes
    destination: bytes
    mode: EvFormatMode
    ev: ApiEv
    port_mask: int = 0


class EngineProbe(NamedTuple):
    """A request as the engine sends it: EV of 32 bits, port from 0, mask with bit 0 = port 0."""

    req_id: int
    source: bytes
    destination: bytes
    ev: int
    port: int
    port_mask: int


class ProbeResponse(NamedTuple):
    """An answer: the port it came in on (from 1), round trip in emulated ns.

    ``is_service_time_off``: whether the time the responder took was taken off the round
    trip; never here, as no field of the wire carries it.
    """

    req_id: int
    port: int
    rtt_ns: int
    is_service_time_off: bool = False


class ProbeBatch:
    """One batch of one kind: ``dscp`` 0..63, at most ``timeout_ns`` from ``started_at_ns`` on.

    ``responses`` holds the answers in order of arrival.
    """

    def __init__(
        self,
        kind: ProbeKind,
        requests: Sequence[ProbeRequest],
        *,
        dscp: int,
        timeout_ns: int,
        started_at_ns: int,
    ) -> None:
        self.kind = kind
        self.dscp = dscp
        self.ends_at_ns = started_at_ns + timeout_ns
        self.responses: list[ProbeResponse] = []
        self._timeout_ns = timeout_ns
        self._requests = tuple(requests)
        self._outstanding = {request.req_id for request in self._requests}

    def check(self, attributes: DeviceAttributes) -> None:
        """Raises EINVAL where the batch makes no sense, ENOTSUP where a mode is not carried."""
        if not self._requests or self._timeout_ns < 1 or not 0 <= self.dscp < 1 << _DSCP_BITS:
            raise MrcError(
                Errno.EINVAL,
                f"a batch of {len(self._requests)} probes in DSCP {self.dscp} for "
                f"{self._timeout_ns} ns is none: give requests, a DSCP of 0..63 and a timeout",
            )
        if len(self._outstanding) < len(self._requests):
            raise MrcError(Errno.EINVAL, "two probes of a batch have one id: number them apart")
        for request in self._requests:
            _check_request(request, self.kind, attributes)

    def requests(self) -> tuple[EngineProbe, ...]:
        """What the engine is to send, in the order given."""
        return tuple(
            EngineProbe(
                request.req_id,
                request.source,
                request.destination,
                *wire_ev(request.ev),
                request.port_mask >> 1,
            )
            for request in self._requests
        )

    def outstanding(self) -> frozenset[int]:
        """The ids not answered so far."""
        return frozenset(self._outstanding)

    def on_response(self, req_id: int, port: int, rtt_ns: int, now_ns: int) -> bool:
        """An answer came in on ``port`` (from 0); False where nobody waits for it any more."""
        if now_ns >= self.ends_at_ns or req_id not in self._outstanding:
            return False
        self._outstanding.remove(req_id)
        self.responses.append(ProbeResponse(req_id, port + 1, rtt_ns))
        return True

    def is_done(self, now_ns: int) -> bool:
        """Whether all are answered or the time is up."""
        return not self._outstanding or now_ns >= self.ends_at_ns

    def result(self, now_ns: int) -> tuple[ProbeResponse, ...]:
        """What the blocking call would return: the answers, unanswered requests missing.

        Raises EAGAIN before the batch is done, ETIMEDOUT where nobody answered at all.
        """
        if not self.is_done(now_ns):
            left = len(self._outstanding)
            raise MrcError(Errno.EAGAIN, f"{left} probes are not answered: wait till it is done")
        if not self.responses:
            raise MrcError(
                Errno.ETIMEDOUT,
                f"none of {len(self._requests)} probes was answered in {self._timeout_ns} ns: "
                "check the destination or wait longer",
            )
        return tuple(self.responses)


def _check_request(request: ProbeRequest, kind: ProbeKind, attributes: DeviceAttributes) -> None:
    """Raises EINVAL or ENOTSUP, naming the request and what to do."""
    name = f"probe {request.req_id}"
    if request.mode not in _MODES or request.mode not in attributes.ev_format_modes:
        raise MrcError(
            Errno.ENOTSUP, f"{name} has EV format mode {request.mode!r}: give STEV or UDP"
        )
    reason = _fault(request, kind, attributes)
    if reason:
        raise MrcError(Errno.EINVAL, f"{name} {reason}")


def _fault(request: ProbeRequest, kind: ProbeKind, attributes: DeviceAttributes) -> str:
    if not 0 <= request.req_id < 1 << _REQ_ID_BITS:
        return "has no id of 16 bits: use 0 to 65535"
    if len(request.source) != _GID_BYTES or len(request.destination) != _GID_BYTES:
        return "has a GID that is not 16 bytes: give RoCEv2 GIDs"
    if request.ev.port not in attributes.ports():
        return f"leaves by port {request.ev.port}: use one of {attributes.ports()}"
    try:
        ev, _ = wire_ev(request.ev)
    except ValueError:
        return f"has EV {request.ev}: set no byte behind the first four"
    if request.mode == EvFormatMode.UDP and ev & 0xFFFF:
        return f"has EV {request.ev}: in mode UDP only its first two bytes are used"
    if kind is ProbeKind.EV_PROBE and request.port_mask:
        return "has a port mask: only port status updates carry one"
    if request.port_mask & 1 or not 0 <= request.port_mask >> 1 < 1 << _WIRE_MASK_BITS:
        return f"has port mask {request.port_mask:#x}: use bit N for port N, from 1 to 32"
    return ""
