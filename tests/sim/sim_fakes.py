"""Endpoints that are no transport, and datagrams written independently of the simulator."""

from __future__ import annotations

import struct
from collections import deque
from ipaddress import IPv6Address
from typing import Any

from testbed.faults.actions import Action, make_action
from testbed.faults.targets import parse_target
from testbed.forwarding.paths import Path
from testbed.sim.simulation import Simulation
from topologies.graph import Graph, Host, build_graph
from topologies.spec import ClosSpec

TINY = build_graph(ClosSpec("tiny", 2, 2, 2, 2, 100 * 10**9, 1000))
OCTO = build_graph(ClosSpec("octo", 8, 2, 4, 4, 100 * 10**9, 1000))
DATA_BYTES = 4238  # a full data frame, with its Ethernet header
FOR_EVER = 1 << 40


def make_datagram(
    source: IPv6Address,
    destination: IPv6Address,
    outer_destination: IPv6Address,
    ev: int = 0,
    *,
    size: int = DATA_BYTES,
    dscp: int = 4,
    ecn: int = 2,
    hop_limit: int = 64,
    number: int = 0,
) -> bytes:
    """A datagram of a frame of ``size`` bytes; the four bytes after UDP are ``number``."""
    word = 6 << 28 | dscp << 22 | ecn << 20 | ev & 0xFFFF
    udp_bytes = size - 94
    body = (number.to_bytes(4, "big") + bytes(range(256)) * (size // 256 + 1))[: size - 102]
    return b"".join((
        struct.pack("!IHBB", word, size - 54, 41, hop_limit),
        source.packed, outer_destination.packed,
        struct.pack("!IHBB", word, udp_bytes, 17, 64), source.packed, destination.packed,
        struct.pack("!HHHH", ev >> 16, 4791, udp_bytes, 0),
        body,
    ))  # fmt: skip


def on_path(graph: Graph, path: Path, **fields: Any) -> bytes:
    """A datagram along a path; keywords as of `make_datagram`."""
    source, destination = graph.hosts[path.src].address, graph.hosts[path.dst].address
    return make_datagram(source, destination, path.address, path.ev, **fields)


def number_of(datagram: bytes) -> int:
    """The number `make_datagram` wrote."""
    return int.from_bytes(datagram[88:92], "big")


class Fake:
    """Sends what it is given to send, port by port, and keeps what arrives."""

    def __init__(self, host: Host, born_ns: int = 0) -> None:
        self.host = host
        self.born_ns = born_ns
        self.queues: list[deque[bytes]] = [deque() for _ in host.nic_ports]
        self.received: list[tuple[int, int, bytes]] = []
        self.ports_seen: list[tuple[int, int]] = []
        self.asked: list[tuple[int, int]] = []
        self.deadlines: list[int] = []
        self.fired: list[int] = []

    def receive(self, port: int, datagram: bytes, now: int) -> None:
        self.received.append((now, port, datagram))

    def transmit(self, now: int, free_ports: int) -> tuple[int, bytes] | None:
        self.asked.append((now, free_ports))
        for plane, queue in enumerate(self.queues):
            if queue and free_ports >> plane & 1:
                return plane, queue.popleft()
        return None

    def next_deadline(self) -> int | None:
        return min(self.deadlines, default=None)

    def on_deadline(self, now: int) -> None:
        self.fired.append(now)
        self.deadlines = [at for at in self.deadlines if at > now]

    def on_ports_changed(self, up_ports: int, now: int) -> None:
        self.ports_seen.append((now, up_ports))

    @property
    def numbers(self) -> list[int]:
        """Numbers of the datagrams received, in order."""
        return [number_of(datagram) for _, _, datagram in self.received]


class Bench:
    """A simulation of fakes. ``all_made[h]`` are host h's endpoints, oldest first."""

    def __init__(self, graph: Graph, seed: int = 0, **options: Any) -> None:
        self.graph = graph
        self.all_made: list[list[Fake]] = [[] for _ in graph.hosts]
        self.sim = Simulation(graph, seed, endpoint_factory=self._make, **options)

    def _make(self, host: Host, now: int) -> Fake:
        fake = Fake(host, now)
        self.all_made[host.index].append(fake)
        return fake

    def fake(self, host: int) -> Fake:
        """The host's present endpoint."""
        return self.all_made[host][-1]

    def post(self, host: int, plane: int, *datagrams: bytes) -> None:
        """Give a host something to send, now."""
        self.fake(host).queues[plane].extend(datagrams)
        self.sim.kick(host)

    def post_at(self, at_ns: int, host: int, plane: int, *datagrams: bytes) -> None:
        """Give a host something to send at a time."""
        self.sim.at(at_ns, lambda: self.post(host, plane, *datagrams))

    def finish(self) -> None:
        """Run until nothing is left to happen."""
        assert not self.sim.run_while(
            lambda: self.sim.engine.next_event_ns() is not None, FOR_EVER
        ) or self.sim.engine.next_event_ns() is None


def fail(text: str, kind: str | None = None, ratio: float | None = None) -> Action:
    """The fault of this text."""
    return make_action(parse_target(text), kind, ratio)
