"""A host: its NIC ports and the endpoint that is run on them.

The twin of the agent's loop: an endpoint is called when a datagram arrives, when its
deadline is due, when ports change, and is asked for datagrams whenever a port is free.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from testbed.errors import TestbedError
from testbed.sim.engine import Callback, Schedule
from testbed.sim.nic import SimNicPort
from testbed.transport.driven import Driven
from topologies.graph import Host
from topologies.numbers import ETHERNET_BYTES

_NEVER = 1 << 62
# An endpoint whose deadline stays in the past would hold the clock for ever.
_MAX_DEADLINES_PER_NS = 10_000

# Called at the start and whenever a killed host is restarted, with the time. All ports
# have carrier unless ``on_ports_changed`` follows at once.
EndpointFactory = Callable[[Host, int], Driven]


class SimHost:
    """A host of the simulation. ``endpoint`` is None while it is killed."""

    __slots__ = (
        "_control_callback", "_deadlines_now", "_factory", "_free_callback", "_frees", "_held",
        "_idle_ports", "_is_inside", "_is_killed", "_is_paused", "_last_deadline_ns",
        "_receive_buffer_bytes", "_run_callback", "_running", "_schedule", "_told_ports",
        "_up_ports", "_wake_at_ns", "_wake_callback", "endpoint", "host", "ports",
    )  # fmt: skip

    def __init__(
        self,
        host: Host,
        ports: tuple[SimNicPort, ...],
        factory: EndpointFactory,
        schedule: Schedule,
        receive_buffer_bytes: int,
    ) -> None:
        self.host = host
        self.ports = ports
        self.endpoint: Driven | None = None
        self._factory = factory
        self._schedule = schedule
        self._receive_buffer_bytes = receive_buffer_bytes
        self._running: Driven | None = None  # the endpoint, unless paused
        self._is_paused = self._is_killed = self._is_inside = False
        self._idle_ports = self._up_ports = self._told_ports = (1 << len(ports)) - 1
        self._frees: dict[int, int] = {}  # ports that fall free, by time
        self._wake_at_ns = _NEVER
        self._last_deadline_ns = -1
        self._deadlines_now = 0
        self._held: deque[tuple[SimNicPort, bytes]] = deque()
        self._free_callback: Callback = self._on_ports_free
        self._wake_callback: Callback = self._on_wake
        self._run_callback: Callback = self._run
        self._control_callback: Callback = self._on_control

    @property
    def up_ports(self) -> int:
        """The ports with carrier, as a mask."""
        return self._up_ports

    @property
    def held_frames(self) -> int:
        """Frames that wait for a paused endpoint."""
        return len(self._held)

    def start(self, now: int) -> None:
        """Make an endpoint and run it."""
        self.endpoint = self._factory(self.host, now)
        self._told_ports = (1 << len(self.ports)) - 1
        self._run(now)

    def kick(self, now: int) -> None:
        """Look what the endpoint wants, after something was posted to it from outside."""
        if self._running is not None and not self._is_inside:
            self._settle(self._running, now)

    def take(self, port: SimNicPort, datagram: bytes, now: int) -> None:
        """A datagram has arrived: hand it over, or keep it while the host is paused."""
        endpoint = self._running
        if endpoint is None:
            self._hold(port, datagram)
            return
        port.received_frames += 1
        port.received_bytes += len(datagram) + ETHERNET_BYTES
        self._is_inside = True
        endpoint.receive(port.plane, datagram, now)
        self._settle(endpoint, now)

    # --- Faults ------------------------------------------------------------------------

    def set_carrier(self, up_ports: int, now: int) -> None:
        """Tell the endpoint which ports have carrier, where that changed."""
        self._up_ports = up_ports
        if self._is_inside:  # a fault injected by what an endpoint called
            self._schedule(now, self._run_callback, None)
        elif self._running is not None:
            self._run(now)

    def set_condition(self, is_paused: bool, is_killed: bool, now: int) -> None:
        """Pause, continue, kill or restart, whatever leads to this condition."""
        was_killed = self._is_killed
        self._is_paused, self._is_killed = is_paused, is_killed
        if is_killed:
            self.endpoint = self._running = None
            self._lose_held()
        elif was_killed:
            self.start(now)
        elif is_paused:
            self._running = None
        else:
            self._run(now)

    def control(self, act: Callable[[int], None], now: int) -> None:
        """Have the controller do something to the device, then see what that makes it want."""
        if self._is_inside:  # called by what an endpoint called
            self._schedule(now, self._control_callback, act)
        else:
            self._on_control(now, act)

    def _on_control(self, now: int, act: Callable[[int], None]) -> None:
        act(now)
        self.kick(now)

    def _run(self, now: int, _: None = None) -> None:
        """Let the endpoint go on, unless it is paused: ports first, then what waited."""
        endpoint = None if self._is_paused else self.endpoint
        self._running = endpoint
        if endpoint is None:
            return
        self._is_inside = True
        if self._told_ports != self._up_ports:
            self._told_ports = self._up_ports
            endpoint.on_ports_changed(self._up_ports, now)
        while self._held and self._running is not None:
            port, datagram = self._held.popleft()
            port.held_bytes -= len(datagram)
            self.take(port, datagram, now)
        self._settle(endpoint, now)

    def _hold(self, port: SimNicPort, datagram: bytes) -> None:
        if self._is_killed:
            port.unreceived_frames += 1
        elif port.held_bytes + len(datagram) > self._receive_buffer_bytes:
            port.overflowed_frames += 1
        else:
            port.held_bytes += len(datagram)
            self._held.append((port, datagram))

    def _lose_held(self) -> None:
        for port, _ in self._held:
            port.unreceived_frames += 1
            port.held_bytes = 0
        self._held.clear()

    # --- Running the endpoint ----------------------------------------------------------

    def _settle(self, endpoint: Driven, now: int) -> None:
        """Send while a port is free and the endpoint has something; heed its deadline."""
        self._is_inside = True
        if free := self._idle_ports & self._up_ports:
            self._pump(endpoint, now, free)
        deadline_ns = endpoint.next_deadline()
        if deadline_ns is not None and deadline_ns < self._wake_at_ns:
            self._wake_at_ns = at_ns = deadline_ns if deadline_ns > now else now
            self._schedule(at_ns, self._wake_callback, None)
        self._is_inside = False

    def _pump(self, endpoint: Driven, now: int, free: int) -> None:
        transmit, ports, frees = endpoint.transmit, self.ports, self._frees
        while free:
            sent = transmit(now, free)
            if sent is None:
                return
            plane, datagram = sent
            port_bit = 1 << plane
            if not free & port_bit:
                raise TestbedError(
                    f"the endpoint of {self.host.name} sent on port {plane}, which is not free "
                    f"(free: {free:#b}): let transmit return one of the ports it is given"
                )
            free_at_ns = ports[plane].send(now, datagram)
            free ^= port_bit
            self._idle_ports ^= port_bit
            # Ports that fall free together are one event, so the endpoint sees them all.
            if free_at_ns in frees:
                frees[free_at_ns] |= port_bit
            else:
                frees[free_at_ns] = port_bit
                self._schedule(free_at_ns, self._free_callback, None)

    def _on_ports_free(self, now: int, _: None) -> None:
        self._idle_ports |= self._frees.pop(now)
        endpoint = self._running
        if endpoint is not None:
            self._settle(endpoint, now)

    def _on_wake(self, now: int, _: None) -> None:
        if now != self._wake_at_ns:  # an earlier deadline has replaced this one
            return
        self._wake_at_ns = _NEVER
        endpoint = self._running
        if endpoint is None:
            return
        deadline_ns = endpoint.next_deadline()
        if deadline_ns is not None and deadline_ns <= now:
            self._is_inside = True
            self._guard_progress(now)
            endpoint.on_deadline(now)
        self._settle(endpoint, now)

    def _guard_progress(self, now: int) -> None:
        if now != self._last_deadline_ns:
            self._last_deadline_ns, self._deadlines_now = now, 0
        self._deadlines_now += 1
        if self._deadlines_now > _MAX_DEADLINES_PER_NS:
            raise TestbedError(
                f"the endpoint of {self.host.name} keeps a deadline that has passed ({now} ns): "
                "let on_deadline move it"
            )
