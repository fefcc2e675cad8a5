"""Every port of a graph, joined by what the forwarding plan says."""

from __future__ import annotations

from dataclasses import dataclass

from testbed.forwarding.plan import build_plan
from testbed.metrics.ports import Tally
from testbed.sim.counters import SimPortCounters
from testbed.sim.engine import Engine
from testbed.sim.hazard import HazardPort
from testbed.sim.nic import SimNicPort
from testbed.sim.port import EgressPort
from testbed.sim.routes import Router
from testbed.sim.trace import Captured, Trace
from topologies.graph import Graph, SwitchPort
from topologies.numbers import (
    PortThresholds,
    drain_rate_bps,
    fabric_thresholds,
    last_hop_thresholds,
)
from topologies.spec import ClosSpec


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of ports towards switches and towards hosts; those of numbers.py, or
    others for a run with a mechanism off.
    """

    fabric: PortThresholds
    last_hop: PortThresholds

    def of(self, port: SwitchPort) -> PortThresholds:
        """The thresholds of this port."""
        return self.last_hop if port.faces_host else self.fabric


def default_limits(spec: ClosSpec) -> Limits:
    """The thresholds the fabric is configured with."""
    return Limits(fabric_thresholds(spec), last_hop_thresholds(spec))


def check_thresholds(thresholds: PortThresholds) -> None:
    """Raise ValueError for thresholds under which a port could not work."""
    if not (thresholds.drop_bytes and thresholds.control_bytes):
        raise ValueError("drop_bytes and control_bytes must be above 0: a port drops all otherwise")
    if thresholds.ecn_min_bytes > thresholds.ecn_max_bytes:
        raise ValueError(
            f"ecn_min_bytes {thresholds.ecn_min_bytes} is above ecn_max_bytes "
            f"{thresholds.ecn_max_bytes}: swap them, or write 0 for both to never mark"
        )


class Network:
    """The ports of a fabric by slot, and the routes between them."""

    def __init__(self, graph: Graph, engine: Engine, seed: int, limits: Limits) -> None:
        self.graph = graph
        self.switch_ports = _switch_ports(graph, engine, seed, limits)
        self.nic_ports = _nic_ports(graph, engine, seed)
        self.router = Router(
            graph,
            build_plan(graph),
            {slot: port.offer_callback for slot, port in self.switch_ports.items()},
            {slot: port.arrive_callback for slot, port in self.nic_ports.items()},
        )

    def port(self, slot: int) -> HazardPort:
        """The port in this slot. Raises KeyError where there is none."""
        return self.nic_ports.get(slot) or self.switch_ports[slot]

    def read(self, slot: int) -> SimPortCounters:
        """The counters of a port. Raises KeyError where there is none."""
        return self.port(slot).read()

    def read_all(self) -> dict[int, SimPortCounters]:
        """The counters of every port."""
        return {slot: self.read(slot) for slot in self.graph.slots}

    def refused(self) -> dict[str, Tally]:
        """What each switch dropped for want of a rule, without those that dropped none."""
        refusals = self.router.refusals.items()
        return {name: refusal.counted for name, refusal in refusals if refusal.counted.frames}

    def watch(self, trace: Trace) -> None:
        """Have every port report to this trace."""
        for slot in self.graph.slots:
            self.port(slot).trace = trace

    def capture(self, slot: int, trace: Trace) -> list[Captured]:
        """The list that what passes a port is put into from now on, as it leaves it."""
        self.port(slot).trace = trace
        return trace.captures.setdefault(slot, [])


def _switch_ports(
    graph: Graph, engine: Engine, seed: int, limits: Limits
) -> dict[int, EgressPort]:
    check_thresholds(limits.fabric)
    check_thresholds(limits.last_hop)
    drain_bps = drain_rate_bps(graph.spec.port_rate_bps, 1)
    return {
        port.slot: EgressPort(
            port.slot,
            seed,
            engine.schedule,
            drain_bps,
            graph.link_at(port.slot).delay_ns,
            limits.of(port),
            port.faces_host,
        )
        for switch in graph.switches
        for port in switch.ports
    }


def _nic_ports(graph: Graph, engine: Engine, seed: int) -> dict[int, SimNicPort]:
    mtu_bytes = graph.spec.mtu_bytes
    return {
        port.slot: SimNicPort(
            port, host.index, graph.link_at(port.slot), seed, engine.schedule, mtu_bytes
        )
        for host in graph.hosts
        for port in host.nic_ports
    }
