"""What the fabric should be like under a set of faults: a pure fold, applied as a whole.

Undo never runs inverse operations: with one fault gone the state is folded anew, so
healing one of two overlapping faults leaves the other in force.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from types import MappingProxyType

from testbed.faults.actions import (
    Action,
    Corrupt,
    EvDeny,
    EvLoss,
    HostKill,
    HostPause,
    LinkDown,
    Loss,
    PortDisable,
    SwitchBlackhole,
    SwitchCrash,
    fault_id,
)
from testbed.faults.reach import reach
from testbed.faults.targets import EvTarget
from testbed.transport.mrc.controls import Controls
from topologies.graph import Graph


@dataclass(frozen=True, slots=True)
class PortFault:
    """What the port program does to every frame leaving one port; ratios 0..1."""

    blackhole: bool = False
    loss_ratio: float = 0.0
    corrupt_ratio: float = 0.0


HEALTHY = PortFault()


@dataclass(frozen=True, slots=True)
class EvFaultKey:
    """One EV between two inner addresses, at the egress in ``slot``; ``ev`` has 32 bits."""

    slot: int
    src: IPv6Address
    dst: IPv6Address
    ev: int


@dataclass(frozen=True, slots=True)
class DesiredState:
    """Everything that deviates from health.

    ``ports``: fault by slot. ``carrier_down``: NIC links without carrier, each by its
    switch-side slot. ``ev``: loss ratio by EV. ``paused``, ``killed``: host indexes.
    What controllers have set: ``denied``, (host, peer, EV of 32 bits); ``disabled``,
    (host, plane).
    """

    ports: Mapping[int, PortFault]
    carrier_down: frozenset[int]
    ev: Mapping[EvFaultKey, float]
    paused: frozenset[int]
    killed: frozenset[int]
    denied: frozenset[tuple[int, int, int]] = frozenset()
    disabled: frozenset[tuple[int, int]] = frozenset()

    def port(self, slot: int) -> PortFault:
        """The fault of this port, HEALTHY where it has none."""
        return self.ports.get(slot, HEALTHY)

    @property
    def controlled(self) -> frozenset[int]:
        """The hosts whose controllers have something set."""
        return frozenset(item[0] for item in (*self.denied, *self.disabled))


@dataclass(frozen=True, slots=True)
class StateChange:
    """What to do to get from one desired state to another.

    Where carrier goes, write ``ports`` first; where it returns, write them last: the
    program is to count what a dying link would lose. A ratio of 0.0 in ``ev`` and a
    HEALTHY port mean "remove".
    """

    ports: Mapping[int, PortFault]
    ev: Mapping[EvFaultKey, float]
    carrier_lost: frozenset[int]
    carrier_back: frozenset[int]
    paused: frozenset[int]
    continued: frozenset[int]
    killed: frozenset[int]
    restarted: frozenset[int]
    denied: frozenset[tuple[int, int, int]]
    allowed: frozenset[tuple[int, int, int]]
    disabled: frozenset[tuple[int, int]]
    enabled: frozenset[tuple[int, int]]


def desired_state(graph: Graph, active: Iterable[Action]) -> DesiredState:
    """Fold the active faults into one state; their order does not matter.

    Raises UsageError where a target does not exist in this graph.
    """
    draft = _Draft()
    # Multiplying ratios in a fixed order keeps the result independent of the given one.
    for action in sorted(active, key=fault_id):
        _apply(draft, graph, action)
    return draft.freeze()


def change(before: DesiredState, after: DesiredState) -> StateChange:
    """The difference between two states: only what has to be touched."""
    return StateChange(
        ports={
            slot: after.port(slot)
            for slot in sorted(before.ports.keys() | after.ports.keys())
            if before.port(slot) != after.port(slot)
        },
        ev={
            key: after.ev.get(key, 0.0)
            for key in (*before.ev, *(key for key in after.ev if key not in before.ev))
            if before.ev.get(key, 0.0) != after.ev.get(key, 0.0)
        },
        carrier_lost=after.carrier_down - before.carrier_down,
        carrier_back=before.carrier_down - after.carrier_down,
        paused=after.paused - before.paused,
        continued=before.paused - after.paused,
        killed=after.killed - before.killed,
        restarted=before.killed - after.killed,
        denied=after.denied - before.denied,
        allowed=before.denied - after.denied,
        disabled=after.disabled - before.disabled,
        enabled=before.disabled - after.disabled,
    )


def controls_of(graph: Graph, state: DesiredState, host: int) -> Controls:
    """What this host's controller is to set under a state."""
    denied = frozenset((graph.hosts[peer].address.packed, ev)
                       for src, peer, ev in state.denied if src == host)
    return Controls(denied, sum(1 << plane for src, plane in state.disabled if src == host))


def either(first_ratio: float, second_ratio: float) -> float:
    """Probability that at least one of two independent events happens: 1-(1-a)(1-b)."""
    # In this form 0 and 1 compose without a rounding error.
    more, less = max(first_ratio, second_ratio), min(first_ratio, second_ratio)
    return more + less * (1 - more)


@dataclass(slots=True)
class _Draft:
    """A desired state while it is being folded."""

    ports: dict[int, PortFault] = field(default_factory=dict)
    carrier_down: set[int] = field(default_factory=set)
    ev: dict[EvFaultKey, float] = field(default_factory=dict)
    paused: set[int] = field(default_factory=set)
    killed: set[int] = field(default_factory=set)
    denied: set[tuple[int, int, int]] = field(default_factory=set)
    disabled: set[tuple[int, int]] = field(default_factory=set)

    def add(self, slots: Iterable[int], fault: PortFault) -> None:
        for slot in slots:
            old = self.ports.get(slot, HEALTHY)
            self.ports[slot] = PortFault(
                old.blackhole or fault.blackhole,
                either(old.loss_ratio, fault.loss_ratio),
                either(old.corrupt_ratio, fault.corrupt_ratio),
            )

    def freeze(self) -> DesiredState:
        return DesiredState(
            MappingProxyType(self.ports),
            frozenset(self.carrier_down),
            MappingProxyType(self.ev),
            frozenset(self.paused),
            frozenset(self.killed),
            frozenset(self.denied),
            frozenset(self.disabled),
        )


def _apply(draft: _Draft, graph: Graph, action: Action) -> None:
    covered = reach(graph, action.target)
    match action:
        case LinkDown() | SwitchCrash():
            draft.add(covered.both_ends(graph), PortFault(blackhole=True))
            draft.carrier_down |= covered.nic_links
        case SwitchBlackhole():
            draft.add(covered.ports, PortFault(blackhole=True))
        case Loss(_, ratio):
            draft.add(covered.ports, PortFault(loss_ratio=ratio))
        case Corrupt(_, ratio):
            draft.add(covered.ports, PortFault(corrupt_ratio=ratio))
        case EvLoss(target, ratio):
            (slot,) = covered.ports
            key = _ev_key(graph, target, slot)
            draft.ev[key] = either(draft.ev.get(key, 0.0), ratio)
        case EvDeny(target):
            draft.denied.add((target.src, target.dst, target.ev))
        case PortDisable(target):
            draft.disabled.add((target.host, target.plane))
        case HostPause(target):
            draft.paused.add(target.host)
        case HostKill(target):
            draft.killed.add(target.host)


def _ev_key(graph: Graph, target: EvTarget, slot: int) -> EvFaultKey:
    src, dst = graph.hosts[target.src].address, graph.hosts[target.dst].address
    return EvFaultKey(slot, src, dst, target.ev)
