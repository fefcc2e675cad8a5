"""Prove before anything is built that a plan delivers every path of its graph."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.forwarding.paths import Path, paths, self_paths
from testbed.forwarding.plan import Plan
from testbed.forwarding.walk import Walk, Walker, make_walker
from topologies.graph import Graph
from topologies.usid import Kind, address_of, encode


def check_plan(graph: Graph, plan: Plan) -> list[str]:
    """Walk every distinct path; one sentence for each that goes wrong, [] where none does.

    Rules do not look at the port a packet came in on, so the paths of one host per T0
    stand for those of its neighbours; self probes cover every NIC link.
    """
    walker = make_walker(graph, plan)
    return [
        problem
        for path in _distinct_paths(graph)
        if (problem := _problem(walker, path, walker.walk(path.src, path.plane, path.address)))
    ]


def _distinct_paths(graph: Graph) -> Iterator[Path]:
    spec = graph.spec
    for host in graph.hosts:
        yield from self_paths(spec, host.index)
    for src in range(0, spec.host_count, spec.hosts_per_t0):
        for dst in range(spec.host_count):
            if dst != src:
                yield from paths(spec, src, dst)


def _problem(walker: Walker, path: Path, walk: Walk) -> str:
    if walk.arrived_at is None:
        return f"path {path} is dropped by {walk.drop_reason}"
    target = walker.graph.hosts[path.dst]
    if walk.arrived_at != target.nic_ports[path.plane]:
        return f"path {path} ends at {walk.arrived_at.interface}"
    if walk.switches != path.switches:
        return f"path {path} goes through {', '.join(walk.switches)}"
    at_nic = address_of((encode(path.plane, Kind.DOWNLINK, target.downlink),))
    if walk.hops[-1].address != at_nic:
        return f"path {path} arrives as {walk.hops[-1].address} instead of {at_nic}"
    return ""
