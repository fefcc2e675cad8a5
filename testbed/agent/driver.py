"""Drives one endpoint in emulated time over the ports of a host. No socket, no clock.

What is due is done in the order it is due, and the endpoint is told that time, not the
moment at which Python came to look: a frame arrives when its propagation delay is over, a
port falls free when its last bit is out, a deadline is met. As long as the agent is not
later than `CATCH_UP_FRAMES` full frames take, being late changes nothing but the instant
at which a frame really leaves; time beyond that is not made up, and is counted as lost.

    arrive              a frame was received: it is held for links x link delay - transit, and
                        for what switches take to put it out
    advance             do everything that is due by now
    next_due_wall_ns    when to call again

The order is right only if every frame that is due has been handed in. A frame that was not
received yet when the sockets were last read is not due before the shortest hold after that,
so `advance` goes no further than this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from testbed.agent.clock import EmulatedClock
from testbed.agent.nic import NicPort
from testbed.errors import TestbedError
from testbed.metrics.lateness import Lateness
from testbed.transport.driven import Driven
from topologies.numbers import ETHERNET_BYTES, HOP_LIMIT, data_frame_bytes, drain_rate_bps

CATCH_UP_FRAMES = 8
_CROWD = 16  # events under way: more than one message at a time ever has

_HOP_LIMIT_AT = ETHERNET_BYTES + 7  # in the outer IPv6 header
_HOP_LIMITS = 256
_LEAST_LINKS = 2  # host - T0 - host
# An endpoint whose deadline stays in the past would hold the agent for ever.
_MAX_DEADLINES_PER_NS = 10_000

# What an event is, in the order in which events of one time are done; arrivals are numbered.
_START, _FREE = -1, 0


@dataclass(frozen=True, slots=True)
class Timing:
    """What the times of a run follow from.

    ``link_delay_ns`` and ``rate_bps`` are emulated and nominal; ``transit_ns`` is the
    wall-clock time a frame takes through the idle fabric, by the links it crosses.
    """

    clock: EmulatedClock
    link_delay_ns: int
    rate_bps: int
    payload_bytes: int
    transit_ns: Mapping[int, int]

    def hold_ns(self, links: int) -> int:
        """Wall time from the kernel's receive stamp to the arrival, never below 0.

        What switches take to put the frame out comes on top: `switch_ns_per_byte`.
        """
        transit_ns = self.transit_ns.get(links, 0)
        return max(0, links * self.link_delay_ns * self.clock.tdf - transit_ns)

    def switch_ns_per_byte(self, links: int) -> float:
        """Wall time for each byte of a frame that the switches on its way take to send it.

        Their ports let a frame go when its turn has come, and keep the next back for as long
        as it takes: the last bit has really left only then.
        """
        return max(0, links - 1) * 8e9 / drain_rate_bps(self.rate_bps, self.clock.tdf)


Send = Callable[[bytes], object]
"""Put a datagram on the wire of one plane."""
Watch = Callable[[int, int, bytes, bool], None]
"""(emulated ns, plane, datagram, is_arrival): told of every frame that leaves or arrives."""


class Driver:
    """``driven`` over a port for each of ``wires``, all with carrier unless told otherwise.

    ``wall_ns()`` is CLOCK_MONOTONIC; ``on_start`` is called once, at emulated time 0.
    ``lateness`` counts how late everything was that was due, in emulated ns.
    """

    def __init__(
        self, driven: Driven, wires: Sequence[Send], timing: Timing,
        wall_ns: Callable[[], int], watch: Watch | None = None,
        on_start: Callable[[int], None] | None = None,
    ) -> None:  # fmt: skip
        self.driven = driven
        self.timing = timing
        planes = range(len(wires))
        self.ports: Sequence[NicPort] = [NicPort(plane, timing.rate_bps) for plane in planes]
        self.lateness = Lateness()
        self._wires, self._wall_ns, self._watch = wires, wall_ns, watch
        self._on_start = on_start
        self._zero_ns, self._tdf = timing.clock.zero_ns, timing.clock.tdf
        links = [max(0, HOP_LIMIT - limit + 1) for limit in range(_HOP_LIMITS)]
        self._holds_ns = [timing.hold_ns(number) for number in links]
        self._per_byte_ns = [timing.switch_ns_per_byte(number) for number in links]
        self._lookahead_ns = timing.hold_ns(_LEAST_LINKS)
        self._catch_up_ns = self.ports[0].frame_ns(
            CATCH_UP_FRAMES * data_frame_bytes(timing.payload_bytes))
        # (due, _START or _FREE or the number of an arrival, plane, datagram)
        self._events: list[tuple[int, int, int, bytes]] = []
        self._arrivals = 0
        self._idle = self._up = (1 << len(wires)) - 1
        self._now_ns = 0
        self._deadlines_now = 0
        if on_start is not None:
            self._events.append((0, _START, 0, b""))

    @property
    def now_ns(self) -> int:
        """The emulated time the endpoint was last told."""
        return self._now_ns

    @property
    def lookahead_ns(self) -> int:
        """Wall time for which frames that are received from now on cannot be due."""
        return self._lookahead_ns

    @property
    def is_quiet(self) -> bool:
        """Nothing is being sent and nothing has arrived: only a deadline may be waiting."""
        return not self._events

    @property
    def is_crowded(self) -> bool:
        """Much is on its way, as in bulk traffic; never while one short message is."""
        return len(self._events) > _CROWD

    # --- In ----------------------------------------------------------------------------

    def arrive(self, plane: int, frame: memoryview, received_at_ns: int) -> None:
        """A frame was received (CLOCK_MONOTONIC); it arrives when its delay is over."""
        limit = frame[_HOP_LIMIT_AT]
        due_wall_ns = (
            received_at_ns + self._holds_ns[limit] + int(self._per_byte_ns[limit] * len(frame)))
        self._arrivals = number = self._arrivals + 1
        heappush(self._events, (
            (due_wall_ns - self._zero_ns) // self._tdf, number, plane,
            bytes(frame[ETHERNET_BYTES:]),
        ))

    def set_carrier(self, up_ports: int) -> None:
        """The ports with carrier are these from now on."""
        now_ns = self._to_present()
        self._up = up_ports
        self.driven.on_ports_changed(up_ports, now_ns)
        self._pump(now_ns)

    def kick(self) -> None:
        """Something was asked of the endpoint from outside: see whether it wants to send."""
        self._pump(self._to_present())

    def _to_present(self) -> int:
        self._now_ns = max(self._now_ns, (self._wall_ns() - self._zero_ns) // self._tdf)
        return self._now_ns

    # --- Time --------------------------------------------------------------------------

    def next_due_wall_ns(self) -> int | None:
        """When `advance` has something to do (CLOCK_MONOTONIC), None for never."""
        due_ns, events = self.driven.next_deadline(), self._events
        if events and (due_ns is None or events[0][0] < due_ns):
            due_ns = events[0][0]
        return None if due_ns is None else self._zero_ns + due_ns * self._tdf

    def advance(self, read_at_ns: int) -> None:
        """Do what is due; the sockets were read until empty at ``read_at_ns`` (wall clock)."""
        bound_ns = (read_at_ns + self._lookahead_ns - self._zero_ns) // self._tdf
        zero_ns, tdf, wall_ns, record = self._zero_ns, self._tdf, self._wall_ns, self._record
        events, next_deadline = self._events, self.driven.next_deadline
        while True:
            due_ns = next_deadline()
            is_event = bool(events) and (due_ns is None or events[0][0] <= due_ns)
            if is_event:
                due_ns = events[0][0]
            if due_ns is None or due_ns > bound_ns:
                return
            present_ns = (wall_ns() - zero_ns) // tdf
            if due_ns > present_ns:
                return
            now_ns = record(due_ns, present_ns)
            if is_event:
                self._do(due_ns, now_ns)
            else:
                self._guard_progress()
                self.driven.on_deadline(now_ns)
                self._pump(now_ns)

    def _record(self, due_ns: int, present_ns: int) -> int:
        """Count how late this is; the time it is done at."""
        before_ns = self._now_ns
        if due_ns < before_ns:
            due_ns = before_ns  # what is asked for in the past is due now
        late_ns = present_ns - due_ns
        if late_ns > self._catch_up_ns:
            due_ns = present_ns - self._catch_up_ns
        if due_ns > before_ns:
            self._now_ns, self._deadlines_now = due_ns, 0
        self.lateness.record(late_ns if late_ns > 0 else 0)
        return due_ns

    def _do(self, due_ns: int, now_ns: int) -> None:
        """The earliest event, at ``now_ns``."""
        _, kind, plane, datagram = heappop(self._events)
        if kind == _FREE:
            self._leave(plane, due_ns, now_ns)
            return
        if kind > _FREE:
            if self._watch is not None:
                self._watch(now_ns, plane, datagram, True)
            self.driven.receive(plane, datagram, now_ns)
        elif self._on_start is not None:
            self._on_start(now_ns)
        if self._idle & self._up:
            self._pump(now_ns)

    def _guard_progress(self) -> None:
        self._deadlines_now += 1
        if self._deadlines_now > _MAX_DEADLINES_PER_NS:
            raise TestbedError(
                f"the endpoint keeps a deadline that has passed ({self._now_ns} ns): let "
                "on_deadline move it"
            )

    # --- Out ---------------------------------------------------------------------------

    def _leave(self, plane: int, due_ns: int, now_ns: int) -> None:
        """The last bit is out on this port and all that end now; choose what follows."""
        events = self._events
        freed = self._put_out(plane, now_ns)
        while events and events[0][0] == due_ns and events[0][1] == _FREE:
            freed |= self._put_out(heappop(events)[2], now_ns)
        self._idle |= freed
        begun = self._pump(now_ns) & freed
        if now_ns > due_ns and begun:
            for port in self.ports:
                if port.bit & begun:
                    port.lost_ns += now_ns - due_ns

    def _put_out(self, plane: int, now_ns: int) -> int:
        port = self.ports[plane]
        datagram, port.in_service = port.in_service, None
        assert datagram is not None
        if self._watch is not None:
            self._watch(now_ns, plane, datagram, False)
        self._wires[plane](datagram)
        return port.bit

    def _pump(self, now_ns: int) -> int:
        """Ask for datagrams while ports are free; the ports that were given one."""
        transmit, ports, events = self.driven.transmit, self.ports, self._events
        begun = 0
        while free := self._idle & self._up:
            sent = transmit(now_ns, free)
            if sent is None:
                break
            plane, datagram = sent
            port = ports[plane]
            self._idle ^= port.bit
            begun |= port.bit
            heappush(events, (port.begin(datagram, now_ns), _FREE, plane, b""))
        return begun
