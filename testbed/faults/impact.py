"""Which paths must fail under a desired state: what tests and drills expect of probes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations

from testbed.faults.desired import DesiredState, EvFaultKey
from testbed.forwarding.egress import egress_slots
from testbed.forwarding.paths import Path, paths, reverse
from topologies.graph import Graph


def faulted_paths(
    graph: Graph,
    state: DesiredState,
    *,
    round_trip: bool = True,
    pairs: Iterable[tuple[int, int]] | None = None,
) -> frozenset[Path]:
    """The paths on which nothing can get through, of all pairs of hosts or of these.

    ``round_trip``: as a probe sees it, whose answer comes back along the same switches.
    Ratios below 1 make a path lossy, not dead, and do not count.
    """
    if pairs is None:
        pairs = permutations(range(graph.spec.host_count), 2)
    return frozenset(
        path
        for src, dst in pairs
        for path in paths(graph.spec, src, dst)
        if is_path_faulted(graph, state, path, round_trip=round_trip)
    )


def is_path_faulted(
    graph: Graph, state: DesiredState, path: Path, *, round_trip: bool = True
) -> bool:
    """True where no frame gets through on this path (self probes included).

    A port that a controller has disabled stops no frame on its way, and self probes pass it;
    but its device sends and takes none there, so that nobody answers on a round trip. A
    denied EV carries no data and everything else: it makes no path fail.
    """
    if _is_way_dead(graph, state, path):
        return True
    if not round_trip or path.is_self_probe:
        return False
    if {(path.src, path.plane), (path.dst, path.plane)} & state.disabled:
        return True
    return _is_way_dead(graph, state, reverse(graph.spec, path))


def _is_way_dead(graph: Graph, state: DesiredState, path: Path) -> bool:
    if {path.src, path.dst} & (state.paused | state.killed):
        return True
    slots = egress_slots(graph, path)
    faults = (state.port(slot) for slot in slots)
    if any(fault.blackhole or fault.loss_ratio >= 1 for fault in faults):
        return True
    ends = graph.hosts[path.src].address, graph.hosts[path.dst].address
    return state.ev.get(EvFaultKey(slots[1], *ends, path.ev), 0.0) >= 1
