"""Ways through the fabric, found by pushing an address through the plan, once each.

The rules of :mod:`testbed.forwarding.plan` decide, by :mod:`testbed.forwarding.walk`; a
route only remembers what they decided, so that a frame costs no look-up on its way.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Address

from testbed.forwarding.plan import Plan
from testbed.forwarding.walk import Walk, make_walker
from testbed.metrics.ports import Tally
from testbed.sim.engine import Callback
from testbed.sim.frame import Frame, Route
from topologies.graph import Graph
from topologies.usid import BLOCK

_OUTER_SOURCE = slice(1, 17)  # within the bytes at frame.WAY
_OUTER_DESTINATION = slice(17, 33)
CACHED_ROUTES = 1 << 16  # per NIC port; real runs use some hundreds


class Refusal:
    """Counts what one switch drops because it has no rule for it."""

    __slots__ = ("callback", "counted")

    def __init__(self) -> None:
        self.counted = Tally()
        self.callback: Callback = self.drop

    def drop(self, _: int, frame: Frame) -> None:
        """A frame ends here."""
        self.counted += Tally(1, frame.size)


class Router:
    """Finds routes. ``offers`` and ``arrivals`` are the callbacks of ports by slot."""

    __slots__ = ("_arrivals", "_graph", "_offers", "_walker", "refusals")

    def __init__(
        self,
        graph: Graph,
        plan: Plan,
        offers: Mapping[int, Callback],
        arrivals: Mapping[int, Callback],
    ) -> None:
        self._graph = graph
        self._walker = make_walker(graph, plan)
        self._offers = offers
        self._arrivals = arrivals
        self.refusals = {switch.name: Refusal() for switch in graph.switches}

    def route(self, host: int, plane: int, way: bytes) -> Route:
        """Where a frame with these 33 bytes at ``frame.WAY`` goes from this NIC port."""
        address = IPv6Address(way[_OUTER_DESTINATION])
        if address in BLOCK:
            walk = self._walker.walk(host, plane, address, hop_limit=way[0])
        else:  # a walk compares uSIDs, a switch its whole /48
            walk = Walk((), None, f"{address} is outside the uSID block {BLOCK}")
        slots = [self._slot_out(hop.switch, hop.port) for hop in walk.hops]
        source = way[_OUTER_SOURCE]
        headers = [bytes((hop.hop_limit,)) + source + hop.address.packed for hop in walk.hops]
        steps = (*(self._offers[slot] for slot in slots), self._end(host, plane, slots, walk))
        return Route(steps, (way, *headers), walk.drop_reason)

    def _slot_out(self, switch: str, port: int) -> int:
        return self._graph.switch(switch).ports[port - 1].slot

    def _end(self, host: int, plane: int, slots: list[int], walk: Walk) -> Callback:
        if walk.arrived_at is not None:
            return self._arrivals[walk.arrived_at.slot]
        last = slots[-1] if slots else self._graph.hosts[host].nic_ports[plane].slot
        return self.refusals[self._graph.port(last).peer.node].callback
