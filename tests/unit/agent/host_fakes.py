"""Ports and carrier of a host that need no privileges: socket pairs and pipes."""

from __future__ import annotations

import os
import socket
from collections import deque

from testbed.agent.carrier import LinkState
from testbed.agent.config import PortConfig
from testbed.agent.inbox import FRAMES, Inbox
from testbed.agent.port import PortCounters
from topologies.numbers import ETHERTYPE_IPV6


class FakePort:
    """A port whose frames are lists. ``give`` puts a frame where `receive` finds it."""

    made: list[FakePort] = []  # noqa: RUF012  a test looks the ports up that a Host has made

    def __init__(
        self, config: PortConfig, buffer_bytes: int = 0, inbox: Inbox | None = None
    ) -> None:
        self.config, self.buffer_bytes = config, buffer_bytes
        self.header = config.peer_mac + config.mac + ETHERTYPE_IPV6.to_bytes(2, "big")
        self.counters = PortCounters()
        self.sent: list[bytes] = []
        self.is_open = False
        self.fails: Exception | None = None
        self._inbox: deque[tuple[bytes, int]] = deque()
        self._here, self._there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        FakePort.made.append(self)

    def open(self) -> None:
        if self.fails:
            raise self.fails
        self.is_open = True

    def close(self) -> None:
        self.is_open = False
        self._here.close()
        self._there.close()

    def fileno(self) -> int:
        return self._here.fileno()

    def give(self, frame: bytes, arrived_at_ns: int) -> None:
        """A frame arrives, at this CLOCK_REALTIME."""
        self._inbox.append((frame, arrived_at_ns))
        self._there.send(b"x")

    def receive(self) -> list[tuple[memoryview, int]]:
        frames = []
        while self._inbox and len(frames) < FRAMES:
            self._here.recv(1)
            frame, at_ns = self._inbox.popleft()
            self.counters.received += 1
            frames.append((memoryview(frame), at_ns))
        return frames

    def send(self, frame: bytes) -> bool:
        self.sent.append(bytes(frame))
        self.counters.sent += 1
        return True

    def send_datagram(self, datagram: bytes) -> bool:
        return self.send(self.header + datagram)

    def read_counters(self) -> PortCounters:
        return self.counters


class FakeCarrier:
    """Stands in for `CarrierWatch`: all up until `change` is called."""

    made: list[FakeCarrier] = []  # noqa: RUF012  as above

    def __init__(self, indexes: frozenset[int]) -> None:
        self.state = dict.fromkeys(indexes, True)
        self.is_open = False
        self.fails: Exception | None = None
        self._changes: list[LinkState] = []
        self._reads, self._writes = os.pipe()
        FakeCarrier.made.append(self)

    def open(self) -> None:
        if self.fails:
            raise self.fails
        self.is_open = True

    def close(self) -> None:
        if self._reads >= 0:
            os.close(self._reads)
            os.close(self._writes)
        self.is_open, self._reads = False, -1

    def fileno(self) -> int:
        return self._reads

    def has_carrier(self, index: int) -> bool:
        return self.state[index]

    def change(self, index: int, has_carrier: bool) -> None:
        self.state[index] = has_carrier
        self._changes.append(LinkState(index, has_carrier))
        os.write(self._writes, b"x")

    def read_changes(self) -> list[LinkState]:
        os.read(self._reads, 100)
        changes, self._changes = self._changes, []
        return changes
