"""Answers waiting for a port: SACK, NACK, Transport ACK, endpoint packets.

An answer belongs to a port from the moment it is due (the plane its trigger came in on) but
is written only when it leaves, so that it says what is true then. Control goes before
data at the NIC as it does in the switches (facts sheet 4.18).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

Build = Callable[[Any, int], bytes | None]

# Answers are tens of bytes beside the packets that cause them: a queue of this length only
# comes about where a port does not send at all.
_LIMIT = 4096


class ControlQueue:
    """One queue per port of (build, argument); ``build(argument, now_ns)`` writes the datagram.

    ``waiting`` is the mask of ports with something to send, ``dropped`` counts what did
    not fit or lost its port.
    """

    __slots__ = ("_queues", "dropped", "waiting")

    def __init__(self, port_count: int) -> None:
        self._queues: tuple[deque[tuple[Build, Any]], ...] = tuple(
            deque() for _ in range(port_count)
        )
        self.waiting = 0
        self.dropped = 0

    def push(self, port: int, build: Build, argument: Any) -> bool:
        """Queue one answer on a port; False where there is no room and it is dropped."""
        queue = self._queues[port]
        if len(queue) >= _LIMIT:
            self.dropped += 1
            return False
        queue.append((build, argument))
        self.waiting |= 1 << port
        return True

    def pop(self, free_ports: int, now_ns: int) -> tuple[int, bytes] | None:
        """Write the next answer for one of these ports; None where none is due any more."""
        while ready := self.waiting & free_ports:
            port = (ready & -ready).bit_length() - 1
            queue = self._queues[port]
            build, argument = queue.popleft()
            if not queue:
                self.waiting &= ~(1 << port)
            datagram = build(argument, now_ns)
            if datagram is not None:
                return port, datagram
        return None

    def drop(self, ports: int, now_ns: int) -> None:
        """Ports went down: what waits for them is lost, as it would be on the wire."""
        while (datagram := self.pop(ports, now_ns)) is not None:
            del datagram  # written all the same: builders keep books of what they wrote
            self.dropped += 1
