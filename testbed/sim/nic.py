"""One NIC port of a host: busy for size/rate with every frame, and where frames arrive.

It obeys injected faults as a switch port does but has no queue: the endpoint is asked
for a datagram only when the port is free.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from testbed.errors import TestbedError
from testbed.sim.chaos import Chaos
from testbed.sim.counters import NOISE, PASSED_CONTROL, PASSED_DATA
from testbed.sim.engine import Callback, Schedule
from testbed.sim.frame import IS_CONTROL, WAY, Frame, Route, is_srv6
from testbed.sim.hazard import HazardPort
from testbed.sim.port import UNITS_PER_BYTE
from testbed.sim.routes import CACHED_ROUTES
from topologies.graph import Link
from topologies.graph import NicPort as GraphNicPort
from topologies.numbers import ETHERNET_BYTES

FindRoute = Callable[[int, int, bytes], Route]


class Taker(Protocol):
    """Who takes what arrives: the host."""

    def take(self, port: SimNicPort, datagram: bytes, now: int) -> None:
        """A datagram has arrived at one of the host's ports."""


class SimNicPort(HazardPort):
    """A host's port on one plane."""

    __slots__ = (
        "_delay_ns",
        "_find_route",
        "_finish_units",
        "_half",
        "_mtu_bytes",
        "_rate",
        "_routes",
        "_schedule",
        "arrive_callback",
        "arrived_frames",
        "chaos",
        "deliver_callback",
        "duplicated_frames",
        "held_bytes",
        "host",
        "name",
        "overflowed_frames",
        "plane",
        "received_bytes",
        "received_frames",
        "taker",
        "unreceived_frames",
    )  # fmt: skip

    def __init__(
        self,
        port: GraphNicPort,
        host_index: int,
        link: Link,
        run_seed: int,
        schedule: Schedule,
        mtu_bytes: int,
    ) -> None:
        super().__init__(port.slot, run_seed)
        self.name = port.interface
        self.host = host_index
        self.plane = port.plane
        self._mtu_bytes = mtu_bytes
        # Bits, not bytes, per s: the nominal rate exactly, whatever it is.
        self._rate = link.rate_bps
        self._half = link.rate_bps >> 1
        self._delay_ns = link.delay_ns
        self._schedule = schedule
        self._finish_units = 0  # bits sent x 10^9 when the frame in service has left
        self._routes: dict[bytes, Route] = {}
        self._find_route: FindRoute | None = None
        self.taker: Taker | None = None
        self.chaos: Chaos | None = None
        self.arrived_frames = 0  # counted under chaos only: the position of its draws
        self.duplicated_frames = 0
        self.received_frames = self.received_bytes = 0
        self.held_bytes = 0  # waiting for a paused host
        self.overflowed_frames = 0
        self.unreceived_frames = 0
        self.arrive_callback: Callback = self.arrive
        self.deliver_callback: Callback = self.deliver

    def connect(self, find_route: FindRoute, taker: Taker) -> None:
        """Say who knows the ways out and who takes what comes in."""
        self._find_route = find_route
        self.taker = taker

    # --- Out ---------------------------------------------------------------------------

    def send(self, now: int, datagram: bytes) -> int:
        """Put a datagram on the wire; the ns at which the port is free again.

        A port in use sends back to back: what rounding an event to whole ns adds to one
        frame, the next one makes up. Raises TestbedError beyond the MTU.
        """
        size = len(datagram) + ETHERNET_BYTES
        if size - ETHERNET_BYTES > self._mtu_bytes:
            raise TestbedError(
                f"{self.name} cannot send {size - ETHERNET_BYTES} bytes: its MTU is "
                f"{self._mtu_bytes}, send smaller packets"
            )
        rate = self._rate
        start = now * rate
        if self._finish_units > start - rate:
            start = self._finish_units
        self._finish_units = finish = start + size * (8 * UNITS_PER_BYTE)
        free_at_ns = (finish + self._half) // rate
        if not is_srv6(datagram):
            self.count(NOISE, size)
            return free_at_ns
        number = self.offered_frames
        self.offered_frames = number + 1
        self.offered_bytes += size
        traffic_class = (datagram[0] & 15) << 4 | datagram[1] >> 4
        way = datagram[WAY]
        route = self._routes.get(way) or self._learn_route(way)
        frame = Frame(datagram, size, IS_CONTROL[traffic_class], traffic_class, route)
        if (self.hazard is not None or self.trace is not None) and not self._passes(
            now, frame, number
        ):
            return free_at_ns
        if frame.is_control:
            self.control_frames += 1
            self.control_bytes += size
        else:
            self.data_frames += 1
            self.data_bytes += size
        self._schedule(free_at_ns + self._delay_ns, route.steps[0], frame)
        return free_at_ns

    def _passes(self, now: int, frame: Frame, number: int) -> bool:
        """Judge with faults and trace; an unshaped port has no queue to judge by."""
        verdict = self.drop_cause(number, frame)
        if verdict is None:
            verdict = PASSED_CONTROL if frame.is_control else PASSED_DATA
            self.corrupt(number, frame)
            if self.trace is not None:
                self.trace.passed(now, self.slot, frame, frame.route.headers[0])
        if self.trace is not None:
            self.trace.judged(now, self.slot, verdict, frame)
        return verdict >= PASSED_CONTROL

    def _learn_route(self, way: bytes) -> Route:
        assert self._find_route is not None  # connected before anything runs
        if len(self._routes) >= CACHED_ROUTES:
            self._routes.clear()
        route = self._routes[way] = self._find_route(self.host, self.plane, way)
        return route

    # --- In ----------------------------------------------------------------------------

    def arrive(self, now: int, frame: Frame) -> None:
        """A frame has reached the end of its way here."""
        if self.chaos is None:
            self.deliver(now, frame)
            return
        number = self.arrived_frames
        self.arrived_frames = number + 1
        delays_ns = self.chaos.delays_ns(self.slot, number)
        self.duplicated_frames += len(delays_ns) - 1
        for delay_ns in delays_ns:
            if delay_ns:
                self._schedule(now + delay_ns, self.deliver_callback, frame)
            else:
                self.deliver(now, frame)

    def deliver(self, now: int, frame: Frame) -> None:
        """Write what arrived and hand it to the host."""
        datagram = frame.written(frame.route.headers[-1])
        if self.trace is not None:
            self.trace.delivered(now, self.slot, datagram)
        assert self.taker is not None  # connected before anything runs
        self.taker.take(self, datagram, now)
