"""Push a symbolic packet through a plan and see where it comes out.

A walk follows the rules and the wiring only, never :mod:`testbed.forwarding.paths`, so
that comparing the two proves something.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address

from testbed.forwarding.plan import Plan, Rule
from topologies.graph import Graph, NicPort, SwitchPort
from topologies.numbers import HOP_LIMIT
from topologies.usid import first_usid, shift


@dataclass(frozen=True, slots=True)
class Hop:
    """One switch crossed: the port out, and address and hop limit as they leave it."""

    switch: str
    port: int
    address: IPv6Address
    hop_limit: int


@dataclass(frozen=True, slots=True)
class Walk:
    """Where a packet went: it ended at a NIC port, or was dropped for a reason."""

    hops: tuple[Hop, ...]
    arrived_at: NicPort | None
    drop_reason: str = ""

    @property
    def switches(self) -> tuple[str, ...]:
        """Names of the switches that sent it on, in order."""
        return tuple(hop.switch for hop in self.hops)


@dataclass(frozen=True, slots=True)
class _Table:
    usid: int
    rules: Mapping[int, Rule]


@dataclass(frozen=True, slots=True)
class Walker:
    """A graph with its plan, ready to be walked; made by :func:`make_walker`."""

    graph: Graph
    tables: Mapping[str, _Table]

    def walk(
        self, host: int, plane: int, address: IPv6Address, hop_limit: int = HOP_LIMIT
    ) -> Walk:
        """Send a packet out of a host's NIC port (by index) and follow it to its end."""
        port: NicPort | SwitchPort = self.graph.hosts[host].nic_ports[plane]
        port = self.graph.port(port.peer.slot)
        hops: list[Hop] = []
        while isinstance(port, SwitchPort):
            outcome = self._forward(port.switch, address, hop_limit)
            if isinstance(outcome, str):
                return Walk(tuple(hops), None, f"{port.switch}: {outcome}")
            address, hop_limit = shift(address), hop_limit - 1
            hops.append(Hop(port.switch, outcome.port, address, hop_limit))
            port = self.graph.port(self._port_out(port.switch, outcome).peer.slot)
            if outcome.eth_dst != port.mac:
                return Walk(tuple(hops), None, f"{port.node}: frame is for {outcome.eth_dst}")
        return Walk(tuple(hops), port)

    def _forward(self, switch: str, address: IPv6Address, hop_limit: int) -> Rule | str:
        """The rule that applies at this switch, or why the packet is dropped."""
        table = self.tables[switch]
        if first_usid(address) != table.usid:
            return f"{address} does not begin with its own uSID {table.usid:#06x}"
        if hop_limit <= 1:
            return "hop limit exceeded"
        next_usid = first_usid(shift(address))
        rule = table.rules.get(next_usid)
        return rule or f"no rule for next uSID {next_usid:#06x}"

    def _port_out(self, switch: str, rule: Rule) -> SwitchPort:
        return self.graph.switch(switch).ports[rule.port - 1]


def make_walker(graph: Graph, plan: Plan) -> Walker:
    """Index a plan for walking."""
    tables = {
        switch.name: _Table(switch.usid, {rule.usid: rule for rule in switch.rules})
        for switch in plan.switches
    }
    return Walker(graph, tables)
