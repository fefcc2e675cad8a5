"""The other NICs: which QPs lead to each, and which ports each end has up (spec 7.4.8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from testbed.transport.mrc.endpoint_packets import EndpointPackets
from testbed.transport.mrc.port_status import PeerPorts, PortUpdate
from testbed.transport.mrc.qp import QpState, QueuePair

_MAX_PEERS = 4096


class Peer:
    """What is known of another NIC, for all QPs to it.

    ``update`` is what it has not yet confirmed to have heard of our ports.
    """

    __slots__ = ("address", "ports", "qps", "update")

    def __init__(self, address: bytes) -> None:
        self.address = address
        self.ports = PeerPorts()
        self.qps: list[QueuePair] = []
        self.update: PortUpdate | None = None


class Peers:
    """All of them; ``touch`` is told of deadlines.

    Of those no QP leads to, at most 4096 are remembered.
    """

    def __init__(self, packets: EndpointPackets, touch: Callable[[int], None]) -> None:
        self._packets, self._touch = packets, touch
        self._peers: dict[bytes, Peer] = {}

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._peers.values())

    def __len__(self) -> int:
        return len(self._peers)

    def at(self, address: bytes) -> Peer:
        """The peer with this inner address; it need not have been heard of."""
        peer = self._peers.get(address)
        if peer is None:
            self._make_room()
            peer = self._peers[address] = Peer(address)
        return peer

    def attach(self, qp: QueuePair, up_ports: int, now_ns: int) -> None:
        """A QP leads to its peer from now on; the peer must know our ports then.

        It is told with each QP, even if all are up: one of the two NICs may have been
        restarted since the last, and either forgotten our ports or been remembered wrongly.
        """
        peer = self.at(qp.peer)
        peer.qps.append(qp)
        if peer.update is None:
            self.tell(peer, up_ports, now_ns)

    def detach(self, qp: QueuePair) -> None:
        """A QP is going away."""
        peer = self._peers.get(qp.peer)
        if peer is not None and qp in peer.qps:
            peer.qps.remove(qp)
            if not peer.qps:
                peer.update = None

    def tell(self, peer: Peer, up_ports: int, now_ns: int) -> None:
        """Our ports have changed: tell the peer, until it answers."""
        if not peer.qps or peer.qps[0].paths is None:
            return
        peer.update = PortUpdate(up_ports, peer.qps[0].paths.base_rtt_ns, now_ns)
        self._repeat(peer, now_ns)

    def on_deadline(self, now_ns: int) -> None:
        """Say again what has not been answered."""
        for peer in self._peers.values():
            if peer.update is None:
                continue
            if peer.update.next_at_ns <= now_ns:
                self._repeat(peer, now_ns)
            else:
                self._touch(peer.update.next_at_ns)

    def on_update(self, source: bytes, mask: int, stamp: int, now_ns: int) -> Peer | None:
        """A peer tells which of its ports are up; the peer where that is news, else None."""
        if source not in self._peers and not self._make_room():
            return None
        peer = self.at(source)
        return peer if peer.ports.update(mask, stamp, now_ns) else None

    def _make_room(self) -> bool:
        """Forget a peer without QPs where too many are known; False where none is without."""
        if len(self._peers) < _MAX_PEERS:
            return True
        idle = next((peer for peer in self if not peer.qps), None)
        if idle is not None:
            del self._peers[idle.address]
        return idle is not None

    def _repeat(self, peer: Peer, now_ns: int) -> None:
        """Send the update that waits, unless no QP is left that it matters to."""
        update = peer.update
        if update is None or not peer.qps:
            return
        if all(qp.state is QpState.ERROR for qp in peer.qps):
            peer.update = None
            return
        update.on_sent(now_ns)
        self._touch(update.next_at_ns)
        paths = next((qp.paths for qp in peer.qps if qp.paths is not None), None)
        entry = None if paths is None else paths.way_out(update.sent)
        if entry is None:
            return

        def on_answer(rtt_ns: int, port: int, at_ns: int) -> None:
            if peer.update is update:
                peer.update = None

        self._packets.counters.port_updates += 1
        self._packets.tell_ports(entry, peer.address, on_answer)
