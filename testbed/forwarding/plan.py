"""What every switch must do, as one versioned file.

A T0 has a rule for each of its downlinks and each T1 of its plane, a T1 one for each
T0; there is none for ``block::``, so a list that ran out is dropped. Controller and
Linux data plane read the same plan and forward identically, MAC addresses included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from topologies.graph import Graph, Switch, SwitchPort
from topologies.usid import BLOCK, Kind, encode

PLAN_VERSION = 1


@dataclass(frozen=True, slots=True)
class Rule:
    """Where a packet whose next uSID is ``usid`` leaves, and its new MAC addresses."""

    usid: int
    port: int
    interface: str
    eth_src: str
    eth_dst: str


@dataclass(frozen=True, slots=True)
class SwitchPlan:
    """One switch: its OpenFlow datapath id, its own uSID, its rules by port."""

    name: str
    dpid: int
    usid: int
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Every switch of a fabric."""

    switches: tuple[SwitchPlan, ...]
    block: str = str(BLOCK)
    version: int = PLAN_VERSION

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain JSON types."""
        return {
            "version": self.version,
            "block": self.block,
            "switches": [asdict(switch) for switch in self.switches],
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Plan:
        """Read what :meth:`to_dict` wrote. Raises ValueError for anything else."""
        version = document.get("version")
        if version != PLAN_VERSION:
            raise ValueError(f"plan version {version} is unknown: {PLAN_VERSION} is read here")
        try:
            switches = tuple(_read_switch(entry) for entry in document["switches"])
            return cls(switches, str(document["block"]), PLAN_VERSION)
        except (KeyError, TypeError) as error:
            raise ValueError(f"the plan is damaged ({error!r}): write it again") from error


def build_plan(graph: Graph) -> Plan:
    """The plan of every switch of this graph."""
    return Plan(tuple(_plan_switch(graph, switch) for switch in graph.switches))


def _plan_switch(graph: Graph, switch: Switch) -> SwitchPlan:
    rules = tuple(
        Rule(
            _next_usid(graph, switch, port),
            port.number,
            port.interface,
            port.mac,
            port.peer.mac,
        )
        for port in switch.ports
    )
    return SwitchPlan(switch.name, switch.dpid, switch.usid, rules)


def _next_usid(graph: Graph, switch: Switch, port: SwitchPort) -> int:
    """The uSID that leads out of this port: its downlink's, or the peer switch's own."""
    if port.faces_host:
        return encode(switch.plane, Kind.DOWNLINK, port.number - 1)
    return graph.switch(port.peer.node).usid


def _read_switch(entry: Mapping[str, Any]) -> SwitchPlan:
    rules = tuple(Rule(**rule) for rule in entry["rules"])
    return SwitchPlan(str(entry["name"]), int(entry["dpid"]), int(entry["usid"]), rules)
