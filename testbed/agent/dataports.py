"""The data ports of a host together: read them all, watch their carrier, wake in time.

While frames come and go all the time, being woken by each of them would cost more than the
frames: the agent then looks at its sockets whenever something is due, and often enough that
no frame is due before it was read. When nothing is under way, frames wake it.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Mapping

from testbed.agent.carrier import CarrierWatch
from testbed.agent.clock import realtime_ahead_ns
from testbed.agent.driver import Driver
from testbed.agent.inbox import FRAMES
from testbed.agent.loop import Loop
from testbed.agent.port import Port

OnFrame = Callable[[Port, memoryview, int], None]
"""(port, frame, CLOCK_MONOTONIC of its receipt)"""
OnCarrier = Callable[[Port, bool], None]

# How long the agent lets pass between two looks; what is due meanwhile is done together, and
# leaves so much late. A tenth of a link delay where much is on its way; else, for latency is
# measured then, not much above what a wake costs: what is due next is rarely closer.
_CROWDED_SHARE = 10  # of a link delay: one over this
_PAUSE_NS = 100_000
_MOST_CALLS = 64  # for one port: the rest comes with the next look


class DataPorts:
    """The ports by plane. ``on_frame`` and ``on_carrier`` are called from `read` and the loop."""

    def __init__(
        self, ports: Mapping[int, Port], on_frame: OnFrame, on_carrier: OnCarrier
    ) -> None:
        self._ports, self._on_frame, self._on_carrier = ports, on_frame, on_carrier
        self._by_slot = {port.config.slot: port for port in ports.values()}
        self._carrier = CarrierWatch(frozenset(self._by_slot))
        self._epoll = select.epoll()
        self._by_fd: dict[int, Port] = {}
        self._is_watched = False
        self._woke_at_ns = 0

    def open(self, loop: Loop) -> None:
        """Open every port and the carrier watch; none stays open if one fails."""
        self._loop = loop
        try:
            for port in self._ports.values():
                port.open()
            self._carrier.open()
        except Exception:
            self.close()
            raise
        for port in self._ports.values():
            self._by_fd[port.fileno()] = port
            self._epoll.register(port.fileno(), select.EPOLLIN)
        loop.add(self._carrier.fileno(), self._report_carrier)
        self._watch(True)

    def close(self) -> None:
        """Give the sockets back."""
        for port in self._ports.values():
            port.close()
        self._carrier.close()
        self._epoll.close()

    def has_carrier(self, port: Port) -> bool:
        """Whether this port can carry frames."""
        return self._carrier.has_carrier(port.config.slot)

    @property
    def up_ports(self) -> int:
        """The planes whose port has carrier, as a mask."""
        return sum(1 << plane for plane, port in self._ports.items() if self.has_carrier(port))

    def read(self) -> int:
        """Hand over every frame that was received by now, which is answered (CLOCK_MONOTONIC).

        Frames that come meanwhile may wait for the next call. A port that is fed faster than
        it is read ends that all the same.
        """
        on_frame = self._on_frame
        self._woke_at_ns = now_ns = time.monotonic_ns()
        ready = self._epoll.poll(0)
        if ready:
            ahead_ns = realtime_ahead_ns()
            for fd, _ in ready:
                port = self._by_fd[fd]
                for _ in range(_MOST_CALLS):
                    frames = port.receive()
                    for frame, received_at_ns in frames:
                        on_frame(port, frame, received_at_ns - ahead_ns)
                    if len(frames) < FRAMES:
                        break
        return now_ns

    def pace(self, driver: Driver) -> int | None:
        """When to look again for this driver's sake; decides whether frames wake the agent."""
        now_ns = time.monotonic_ns()
        due_at_ns, lookahead_ns = driver.next_due_wall_ns(), driver.lookahead_ns
        is_busy = due_at_ns is not None and due_at_ns < now_ns + lookahead_ns
        self._watch(not is_busy)
        if due_at_ns is None or not is_busy:
            return due_at_ns
        pause_ns = _pause_ns(driver.timing.link_delay_ns * driver.timing.clock.tdf,
                             driver.is_crowded)
        return min(max(due_at_ns, self._woke_at_ns + pause_ns), now_ns + lookahead_ns)

    def _watch(self, is_wanted: bool) -> None:
        if is_wanted == self._is_watched:
            return
        if is_wanted:
            self._loop.add(self._epoll.fileno(), lambda: None)
        else:
            self._loop.remove(self._epoll.fileno())
        self._is_watched = is_wanted

    def _report_carrier(self) -> None:
        for change in self._carrier.read_changes():
            self._on_carrier(self._by_slot[change.index], change.has_carrier)


def _pause_ns(link_delay_wall_ns: int, is_crowded: bool) -> int:
    longest_ns = link_delay_wall_ns // _CROWDED_SHARE
    return longest_ns if is_crowded else min(_PAUSE_NS, longest_ns)
