"""Which ports of a graph a target means; errors say what exists instead."""

from __future__ import annotations

from dataclasses import dataclass

from testbed.errors import UsageError, did_you_mean
from testbed.faults.targets import (
    EvTarget,
    HostTarget,
    LinkTarget,
    NicTarget,
    PlaneTarget,
    PortTarget,
    SwitchTarget,
    Target,
)
from testbed.forwarding.egress import egress_slots
from testbed.forwarding.paths import path_of_ev
from topologies.graph import Graph, Host, Switch, SwitchPort
from topologies.names import host_name


@dataclass(frozen=True, slots=True)
class Reach:
    """What a target covers.

    ``ports``: slots whose egress it means. ``nic_links``: the NIC links whose carrier
    is part of it, each by its switch-side slot.
    """

    ports: frozenset[int]
    nic_links: frozenset[int] = frozenset()

    def both_ends(self, graph: Graph) -> frozenset[int]:
        """``ports`` and the host's end of every NIC link among ``nic_links``."""
        return self.ports | {graph.port(slot).peer.slot for slot in self.nic_links}


def reach(graph: Graph, target: Target) -> Reach:
    """What this target covers in this graph. Raises UsageError where it does not exist."""
    match target:
        case NicTarget(host, plane):
            _require_plane(graph, plane)
            nic = _host(graph, host).nic_ports[plane]
            return Reach(frozenset({nic.slot, nic.peer.slot}), frozenset({nic.peer.slot}))
        case LinkTarget(t0, t1):
            return Reach(frozenset({_port(graph, t0, t1), _port(graph, t1, t0)}))
        case SwitchTarget(name):
            return _reach_of_switches((_switch(graph, name),))
        case PortTarget(node, peer):
            return Reach(frozenset({_port(graph, node, peer)}))
        case EvTarget():
            return Reach(frozenset({_first_switch_slot(graph, target)}))
        case HostTarget(host):
            _host(graph, host)
            return Reach(frozenset())
        case PlaneTarget(plane):
            _require_plane(graph, plane)
            of_plane = tuple(s for s in graph.switches if s.plane == plane)
            inside = _reach_of_switches(of_plane)
            return Reach(inside.both_ends(graph), inside.nic_links)


def _reach_of_switches(switches: tuple[Switch, ...]) -> Reach:
    ports: list[SwitchPort] = [port for switch in switches for port in switch.ports]
    return Reach(
        frozenset(port.slot for port in ports),
        frozenset(port.slot for port in ports if port.faces_host),
    )


def _first_switch_slot(graph: Graph, target: EvTarget) -> int:
    """Slot of the egress of the first switch on the EV's path: where its fault acts."""
    for host in (target.src, target.dst):
        _host(graph, host)
    try:
        path = path_of_ev(graph.spec, target.src, target.dst, target.ev)
    except ValueError as error:
        raise UsageError(f"{target} does not exist: {error}") from error
    return egress_slots(graph, path)[1]


def _require_plane(graph: Graph, plane: int) -> None:
    if plane >= graph.spec.planes:
        last = graph.spec.planes - 1
        raise UsageError(f"plane {plane} does not exist: use 0 to {last} ({graph.spec.name})")


def _host(graph: Graph, index: int) -> Host:
    if index >= len(graph.hosts):
        last = graph.hosts[-1].name
        name = host_name(index)
        raise UsageError(f"host {name} does not exist: use h0 to {last} ({graph.spec.name})")
    return graph.hosts[index]


def _switch(graph: Graph, name: str) -> Switch:
    try:
        return graph.switch(name)
    except KeyError:
        spec = graph.spec
        hint = did_you_mean(name, [switch.name for switch in graph.switches])
        raise UsageError(
            f"switch {name} does not exist{hint}: {spec.name} has planes p0 to "
            f"p{spec.planes - 1}, each with t0-0 to t0-{spec.t0_per_plane - 1} and t1-0 to "
            f"t1-{spec.t1_per_plane - 1}"
        ) from None


def _port(graph: Graph, node: str, peer: str) -> int:
    try:
        return graph.port_towards(node, peer).slot
    except KeyError:
        neighbours = _neighbours(graph, node)
        _neighbours(graph, peer)
        hint = did_you_mean(peer, neighbours)
        raise UsageError(
            f"there is no link from {node} to {peer}{hint}: {node} is linked to "
            f"{_shortened(neighbours)}"
        ) from None


def _neighbours(graph: Graph, node: str) -> list[str]:
    if node.startswith("h"):
        host = _host(graph, int(node[1:]))
        return [port.peer.node for port in host.nic_ports]
    return [port.peer.node for port in _switch(graph, node).ports]


def _shortened(words: list[str]) -> str:
    if len(words) <= 8:
        return ", ".join(words)
    return f"{', '.join(words[:6])}, ... {words[-1]}"
