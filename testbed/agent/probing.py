"""Drives the prober, and answers the frame probes of other hosts.

EV probes are requests of the endpoint and answered by the other endpoint (facts sheet
4.15). Frame probes, of any size and class, leave through the sockets directly.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from testbed.agent.config import AgentConfig
from testbed.agent.frames import MAX_PAYLOAD_BYTES, FrameError, FrameFacts, FrameHeaders, parse
from testbed.agent.params import Params, ParamsError
from testbed.agent.port import Port
from testbed.agent.prober import Answer, Outgoing, PathResult, ProbePath, Prober, ProbeRequest
from testbed.agent.probewire import MIN_FRAME_BYTES, PAYLOAD_BYTES, Kind, Probe, parse_probe
from testbed.agent.rtt import emulated_rtt_ns
from topologies.ev import EV_BITS, split_ev
from topologies.numbers import ENCAPSULATION_BYTES, Dscp

MAX_PATHS = 100_000
MAX_FRAME_BYTES = min(9014, ENCAPSULATION_BYTES + MAX_PAYLOAD_BYTES)
_MAX_WAIT = 3_600_000
_CONTROL = int(Dscp.CONTROL)


@dataclass(slots=True)
class AnsweringCounters:
    """What became of probes that arrived here for an answer.

    `trimmed` ones lost the address of the way back and get none; `unanswered`
    could not be answered because the port refused the reply.
    """

    answered: int = 0
    unanswered: int = 0
    trimmed: int = 0


Ask = Callable[[ProbePath, Callable[[int], None]], bool]
"""Have the endpoint probe a path's EV: called back with the emulated RTT, or never; False
where its port is down."""


class Probing:
    """Probes out of, and into, the ports of one host."""

    def __init__(self, config: AgentConfig, ports: Mapping[int, Port], ask: Ask) -> None:
        self._config = config
        self._ports = ports
        self._ask = ask
        self._prober = Prober(config.max_in_flight)
        self._answering = AnsweringCounters()

    def start(self, key: int, request: ProbeRequest, now_ns: int) -> None:
        """Begin a run; its rows come from `take_finished` under `key`."""
        self._prober.start(key, request, now_ns)

    @property
    def is_busy(self) -> bool:
        """There is something to `pump` or to take."""
        return self._prober.is_busy

    def next_deadline_ns(self) -> int | None:
        """When `pump` has to be called at the latest, on CLOCK_MONOTONIC."""
        return self._prober.next_deadline_ns()

    def pump(self, now_ns: int) -> None:
        """Expire what is overdue and send what may be sent now."""
        self._prober.on_deadline(now_ns)
        while (probe := self._prober.next_probe(now_ns)) is not None:
            self._send(probe)

    def take_finished(self, tdf: int) -> list[tuple[int, list[dict[str, Any]]]]:
        """(key, rows) of finished runs; `rtt_ns` of a row is emulated time under `tdf`."""
        return [
            (key, [_row(result, tdf, self._config.link_delay_ns) for result in results])
            for key, results in self._prober.take_finished()
        ]

    def counters(self) -> dict[str, int]:
        """Answers given, and answers that came but counted for nothing, by cause."""
        return asdict(self._answering) | asdict(self._prober.counters)

    def _send(self, probe: Outgoing) -> None:
        if probe.request.is_ev_probe:
            self._send_ev_probe(probe)
        else:
            self._send_frame(probe)

    def _send_ev_probe(self, probe: Outgoing) -> None:
        def on_answer(rtt_ns: int) -> None:
            self._prober.on_ev_answer(probe.id, rtt_ns)

        if self._ask(probe.path, on_answer):
            self._prober.on_probe_sent(probe.id, 0)
        else:
            self._prober.on_probe_refused(probe.id)

    def _send_frame(self, probe: Outgoing) -> None:
        path, request = probe.path, probe.request
        port = self._ports.get(path.plane)
        if port is None:
            self._prober.on_probe_refused(probe.id)
            return
        payload_bytes = request.frame_bytes - ENCAPSULATION_BYTES
        headers = FrameHeaders(
            port.config.peer_mac, port.config.mac, path.address, self._config.address,
            path.destination, path.ev, request.dscp, request.ecn,
        ).pack(payload_bytes)  # fmt: skip
        kind = Kind.SELF if path.is_self else Kind.REQUEST
        sent_at_ns = time.time_ns()
        payload = Probe(kind, probe.id, sent_at_ns, path.reverse).pack()
        if port.send(headers + payload + bytes(payload_bytes - PAYLOAD_BYTES)):
            self._prober.on_probe_sent(probe.id, sent_at_ns)
        else:
            self._prober.on_probe_refused(probe.id)

    def on_frame(self, port: Port, frame: memoryview, arrived_at_ns: int) -> None:
        """Take a received frame: a probe to answer, an answer, or something to count."""
        try:
            facts = parse(frame)
            if not self._is_ours(facts, port):
                port.counters.misrouted += 1
            elif facts.is_trimmed:
                self._answering.trimmed += 1
            else:
                self._on_probe(port, facts, parse_probe(facts.payload), arrived_at_ns)
        except FrameError:
            port.counters.foreign += 1

    def _is_ours(self, facts: FrameFacts, port: Port) -> bool:
        """Addressed to this host, and come over the plane its EV names."""
        try:
            plane, _ = split_ev(facts.ev)
        except ValueError:
            return False
        return facts.destination == self._config.address and plane == port.config.plane

    def _on_probe(self, port: Port, facts: FrameFacts, probe: Probe, at_ns: int) -> None:
        if probe.kind is Kind.REQUEST:
            self._answer(port, facts, probe, at_ns)
            return
        is_reply = probe.kind is Kind.REPLY
        self._prober.on_answer(Answer(
            id=probe.id,
            sent_at_ns=probe.sent_at_ns,
            received_at_ns=at_ns,
            source=facts.source,
            ev=facts.ev,
            plane=port.config.plane,
            hops_out=probe.hops_out if is_reply else facts.hops,
            hops_back=facts.hops if is_reply else None,
            met_ce=probe.met_ce or facts.is_ce,
            transit_ns=probe.transit_ns if is_reply else at_ns - probe.sent_at_ns,
        ))

    def _answer(self, port: Port, facts: FrameFacts, probe: Probe, at_ns: int) -> None:
        headers = FrameHeaders(
            port.config.peer_mac, port.config.mac, probe.reverse, self._config.address,
            facts.source, facts.ev, _CONTROL,
        ).pack(PAYLOAD_BYTES)  # fmt: skip
        if port.send(headers + probe.reply(facts.hops, facts.is_ce, at_ns).pack()):
            self._answering.answered += 1
        else:
            self._answering.unanswered += 1


def read_request(params: Mapping[str, Any], config: AgentConfig) -> ProbeRequest:
    """The parameters of `probe`; raises ParamsError at the first fault.

    {"paths": [{"ev", "plane", "address", and either "dst" and "reverse" or
    "self": true}], "count": 1, "timeout_ms", "interval_us": 0, "size": 134,
    "dscp": 46, "ecn": 0, "ev_probe": false}. Times are wall clock, `size` is the frame on
    the wire; an EV probe has a size and class of its own.
    """
    take = Params(params, "probe")
    request = ProbeRequest(
        paths=tuple(_read_path(entry, config) for entry in take.objects("paths", MAX_PATHS)),
        count=take.integer("count", 1, 1_000_000, 1),
        timeout_ns=take.integer("timeout_ms", 1, _MAX_WAIT) * 1_000_000,
        interval_ns=take.integer("interval_us", 0, _MAX_WAIT * 1000, 0) * 1000,
        frame_bytes=take.integer("size", MIN_FRAME_BYTES, MAX_FRAME_BYTES, MIN_FRAME_BYTES),
        dscp=take.integer("dscp", 0, 63, _CONTROL),
        ecn=take.integer("ecn", 0, 3, 0),
        is_ev_probe=take.boolean("ev_probe", False),
    )
    take.finish()
    return request


def _read_path(take: Params, config: AgentConfig) -> ProbePath:
    is_self = take.boolean("self", False)
    path = ProbePath(
        ev=take.integer("ev", 0, (1 << EV_BITS) - 1),
        plane=take.integer("plane", 0, 7),
        address=take.address("address"),
        destination=config.address if is_self else take.address("dst"),
        reverse=bytes(16) if is_self else take.address("reverse"),
        is_self=is_self,
    )
    take.finish()
    if path.plane not in {port.plane for port in config.ports}:
        raise ParamsError(f"plane {path.plane} of EV {path.ev:#010x} is none of this host's")
    return path


def _row(result: PathResult, tdf: int, link_delay_ns: int) -> dict[str, Any]:
    links = result.links or 0
    return {
        "ev": result.path.ev,
        "plane": result.path.plane,
        "sent": result.sent,
        "received": result.received,
        "refused": result.refused,
        "late": result.late,
        "duplicates": result.duplicates,
        "marked": result.marked,
        "links": result.links,
        "rtt_wall_ns": result.rtt_wall_ns,
        "transit_wall_ns": result.transit_wall_ns,
        "rtt_ns": result.rtt_ns + [
            emulated_rtt_ns(rtt, tdf, links, link_delay_ns) for rtt in result.rtt_wall_ns
        ],
    }
