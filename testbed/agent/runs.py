"""One run on one host: prepared, connected, started, stopped, and what came of it.

    prepare    a device with this run's seed, queue pairs, registered memory: what peers
               must know of them is the answer
    connect    what the peers answered
    start      emulated time 0 is at this wall-clock time
    stop       post nothing more; what is under way is finished
    results    counters, what the program found, how late the agent was
"""

from __future__ import annotations

import contextlib
import gc
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.agent.capture import Capture
from testbed.agent.clock import EmulatedClock
from testbed.agent.config import AgentConfig, take_tdf
from testbed.agent.driver import Driver, Send, Timing
from testbed.agent.journal import describe, qp_counters, slots
from testbed.agent.params import Params, ParamsError
from testbed.agent.recording import Recording
from testbed.errors import TestbedError
from testbed.forwarding.routes import host_routes
from testbed.transport.mrc.device import open_device
from testbed.transport.mrc.qp import QpFailed
from topologies.names import host_name
from topologies.spec import ClosSpec
from workloads.application import Application
from workloads.connections import MAX_BUFFER_BYTES, End, HostSetup
from workloads.job import make_program

_MAX_NUMBER = 2**31 - 1
_MAX_SAMPLE_NS = 10**12
_KEPT_EVENTS = 10_000


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What a host is told of a run.

    ``transit_ns``: wall-clock time through the idle fabric by links crossed. ``captures``:
    the folder for one capture per port, None for none; ``snap_bytes`` of each frame;
    ``shared_bytes``: the length of the buffer that ends without one of their own share.
    ``records``: the folder for this host's rows, one sample every ``sample_ns``; without one
    nothing is recorded.
    """

    number: int
    seed: int
    tdf: int
    transit_ns: Mapping[int, int]
    ends: tuple[End, ...]
    program: Mapping[str, Any]
    captures: Path | None = None
    snap_bytes: int = 256
    shared_bytes: int = 0
    records: Path | None = None
    sample_ns: int | None = None

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> RunOrder:
        """Read `prepare`; raises ParamsError at the first fault."""
        take = Params(params, "prepare")
        order = cls(
            number=take.integer("number", 0, _MAX_NUMBER),
            seed=take.integer("seed", 0, 2**63 - 1),
            tdf=take_tdf(take),
            transit_ns=read_transit(take),
            ends=tuple(End.from_params(end) for end in take.items("ends", [])),
            program=take.mapping("program"),
            captures=Path(folder) if (folder := take.text("captures")) else None,
            snap_bytes=take.integer("snap_bytes", 1, 65_535, 256),
            shared_bytes=take.integer("shared_bytes", 0, MAX_BUFFER_BYTES, 0),
            records=Path(folder) if (folder := take.text("records")) else None,
            sample_ns=take.integer("sample_ns", 0, _MAX_SAMPLE_NS, 0) or None,
        )
        take.finish()
        return order

    def to_params(self) -> dict[str, Any]:
        """The parameters of `prepare`."""
        return {
            "number": self.number, "seed": self.seed, "tdf": self.tdf,
            "transit_ns": {str(links): ns for links, ns in self.transit_ns.items()},
            "ends": [end.to_params() for end in self.ends], "program": dict(self.program),
            "captures": str(self.captures) if self.captures else "",
            "snap_bytes": self.snap_bytes, "shared_bytes": self.shared_bytes,
            "records": str(self.records) if self.records else "",
            "sample_ns": self.sample_ns or 0,
        }


def read_transit(take: Params) -> dict[int, int]:
    """Transit times by links crossed: ``{"2": 40000, "4": 120000}``."""
    found = {}
    for links, ns in take.mapping("transit_ns").items():
        if not (links.isdecimal() and type(ns) is int and ns >= 0):
            raise ParamsError(f"transit_ns has {links!r}: {ns!r}: give links and ns")
        found[int(links)] = ns
    return found


def timing_of(spec: ClosSpec, clock: EmulatedClock, transit_ns: Mapping[int, int]) -> Timing:
    """The times of a topology under this clock."""
    return Timing(clock, spec.link_delay_ns, spec.port_rate_bps, spec.payload_bytes, transit_ns)


class HostRun:
    """A run on this host, whose datagrams of each plane leave by one of ``wires``.

    ``read_drops()``: frames the host's sockets have dropped by now.
    """

    def __init__(self, config: AgentConfig, order: RunOrder, wires: Sequence[Send],
                 read_drops: Callable[[], int] = lambda: 0) -> None:
        spec = config.spec
        if spec is None:
            raise TestbedError("this host has no MRC device: configure it with its topology")
        self.config, self.order, self._spec, self._wires = config, order, spec, wires
        rng = random.Random(f"host {config.host} seed {order.seed}")
        self.context = open_device(spec, config.host, host_routes(spec, config.host), rng)
        self._setup = HostSetup(
            self.context, order.ends, spec.payload_bytes, rng, order.shared_bytes)
        self._application: Application | None = None
        self._driver: Driver | None = None
        self._read_drops = read_drops
        self._recording: Recording | None = None
        self._captures: dict[int, Capture] = {}
        self._events: list[dict[str, Any]] = []
        self._events_lost = 0

    def describe(self) -> list[dict[str, Any]]:
        """What the peers must know."""
        return self._setup.describe()

    def connect(self, remote: Mapping[int, Mapping[str, Any]]) -> None:
        """Take every queue pair to RTS with what its peer said."""
        self._setup.connect(remote, 0)
        program = make_program(self.order.program, self._setup.channels)
        self._application = Application(self._setup, program)
        self._open_captures()
        self._open_recording(self._application)
        # Collecting garbage in the middle of a run would stop every port for milliseconds.
        gc.collect()
        gc.freeze()
        gc.disable()

    def start(self, zero_ns: int, up_ports: int) -> Driver:
        """Begin at this wall-clock time; the ports with carrier are ``up_ports``."""
        if self._application is None:
            raise TestbedError("the run is not connected: send connect before start")
        clock = EmulatedClock(zero_ns, self.order.tdf)
        self._driver = Driver(
            self._application, self._wires,
            timing_of(self._spec, clock, self.order.transit_ns), time.monotonic_ns,
            self._watch if self._captures else None,
            on_start=self._application.start,
        )  # fmt: skip
        self._driver.set_carrier(up_ports)
        if self._recording is not None:
            self._recording.watch(self._driver.lateness, self._read_drops)
        return self._driver

    def stop(self) -> None:
        """Post nothing more."""
        if self._application is not None and self._driver is not None:
            self._application.stop(self._driver.now_ns)

    def close(self) -> None:
        """End it in whatever state it is."""
        for capture in self._captures.values():
            with contextlib.suppress(TestbedError):  # told when it was flushed
                capture.close()
        if self._recording is not None:
            self._recording.close()
        gc.enable()
        gc.unfreeze()

    # --- what it tells -------------------------------------------------------------

    def progress(self) -> dict[str, Any]:
        """How far it is: cheap, asked a few times a second."""
        if self._application is None or self._driver is None:
            return {"is_done": False, "now_ns": 0}
        self._note_events()
        return {
            "is_done": self._application.program.is_done,
            "is_settled": self._is_settled(),
            "now_ns": self._driver.now_ns,
            "active_evs": self._active_evs(),
            "resent": sum(qp.requester.counters.resent for qp in self._qps() if qp.requester),
            "lateness_p99_ns": self._driver.lateness.quantile_ns(0.99),
            "failures": [event for event in self._events if event["event"] == "qp failed"],
            **self._application.program.progress(),
        }

    def _is_settled(self) -> bool:
        """Nothing is unacknowledged, nothing waits to leave or to arrive."""
        assert self._driver is not None
        return self._driver.is_quiet and not any(
            qp.requester.messages for qp in self._qps() if qp.requester)

    def _qps(self) -> list[Any]:
        return list(self.context.endpoint.qps.values())

    def _active_evs(self) -> list[int]:
        """EVs in use per plane, over all queue pairs of this host."""
        counts = [0] * self._spec.planes
        for qp in self._qps():
            usable = qp.paths.usable_ports if qp.paths else 0
            for entry in qp.paths.entries() if qp.paths else ():
                is_used = entry.is_active and entry.is_sendable and usable >> entry.port & 1
                counts[entry.port] += bool(is_used)
        return counts

    def paths(self, peer: bytes) -> list[dict[str, Any]]:
        """State of every EV of the queue pairs to this peer (16 bytes): a row per QP and EV."""
        return [
            {"qp": qp.qp_num, "ev": entry.ev, "plane": entry.port, "state": entry.state.value,
             "is_active": entry.is_active, "sent": entry.sent, "acked": entry.acked,
             "marked": entry.marked, "trimmed": entry.trimmed, "lost": entry.lost}
            for qp in self._qps() if qp.peer == peer and qp.paths
            for entry in qp.paths.entries()
        ]

    def verify(self, peers: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
        """Compare what peers wrote here with what they must have written."""
        assert self._application is not None
        return self._application.program.verify(peers)

    def results(self) -> dict[str, Any]:
        """Everything this host knows of the run."""
        if self._application is None or self._driver is None:
            raise TestbedError("the run has not started: there are no results")
        self._note_events()
        self._flush_captures()
        self._finish_recording()
        return {
            "program": self._application.program.result(),
            "qps": [qp_counters(qp) for qp in self._qps()],
            "endpoint": slots(self.context.endpoint.counters),
            "lateness": self._driver.lateness.to_dict(),
            "ports": [{"plane": port.plane, "lost_ns": port.lost_ns, "sent": port.sent_frames,
                       "sent_bytes": port.sent_bytes} for port in self._driver.ports],
            "events": self._events,
            "events_lost": self._events_lost,
            "captures_lost": sum(capture.lost for capture in self._captures.values()),
            "ended_ns": self._driver.now_ns,
        }

    def _flush_captures(self) -> None:
        for capture in self._captures.values():
            try:
                capture.flush()
            except TestbedError as error:
                self._fail_capture(error)

    def _note_events(self) -> None:
        assert self._application is not None
        for event in self._application.poll_events():
            if len(self._events) < _KEPT_EVENTS or isinstance(event, QpFailed):
                self._events.append(describe(event))
            else:
                self._events_lost += 1

    # --- rows ----------------------------------------------------------------------

    def pump(self, slack_ns: int) -> None:
        """Put rows into the file, where nothing is due for so much wall-clock time."""
        if self._recording is not None and self._driver is not None:
            self._recording.pump(self._driver.now_ns, slack_ns)

    @property
    def is_recorded(self) -> bool:
        """It keeps rows, so `pump` is wanted."""
        return self._recording is not None

    def _open_recording(self, application: Application) -> None:
        order = self.order
        if order.records is None or order.sample_ns is None:
            return
        host = host_name(self.config.host)
        self._recording = Recording(order.records / f"{host}.jsonl", host, order.sample_ns)
        self._recording.open()
        application.record(order.sample_ns, self._recording.write)

    def _finish_recording(self) -> None:
        recording = self._recording
        if recording is None or self._application is None or self._driver is None:
            return
        self._application.finish_recording(self._driver.now_ns)
        recording.finish(self._driver.now_ns)
        if recording.failure is not None:
            self._events.append({"t_ns": self._driver.now_ns, "event": "recording failed",
                                 "reason": recording.failure})

    # --- captures ------------------------------------------------------------------

    def _open_captures(self) -> None:
        folder = self.order.captures
        if folder is None:
            return
        for port in self.config.ports:
            capture = Capture(folder / f"{port.interface}.pcap", self.order.snap_bytes)
            capture.open()
            self._captures[port.plane] = capture
        self._headers = {
            port.plane: (port.peer_mac + port.mac + b"\x86\xdd",
                         port.mac + port.peer_mac + b"\x86\xdd")
            for port in self.config.ports
        }

    def _watch(self, now_ns: int, plane: int, datagram: bytes, is_arrival: bool) -> None:
        """Note a frame; a capture that cannot be written must not stop the run."""
        try:
            self._captures[plane].write(now_ns, self._headers[plane][is_arrival] + datagram)
        except TestbedError as error:
            self._fail_capture(error)

    def _fail_capture(self, error: TestbedError) -> None:
        self._events.append({"t_ns": self._driver.now_ns if self._driver else 0,
                             "event": "capture failed", "reason": str(error)})
