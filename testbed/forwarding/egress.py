"""Which egress slots a path crosses: what counters must move, where a fault bites."""

from __future__ import annotations

from itertools import pairwise

from testbed.forwarding.paths import Path
from topologies.graph import Graph
from topologies.names import host_name


def egress_slots(graph: Graph, path: Path) -> tuple[int, ...]:
    """Slots of the ports a packet leaves through: the NIC's first, then each switch's.

    Raises KeyError where the path is not one of this graph.
    """
    nodes = (host_name(path.src), *path.switches, host_name(path.dst))
    return tuple(graph.port_towards(node, peer).slot for node, peer in pairwise(nodes))
