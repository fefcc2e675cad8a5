"""Faults that were put in force during a run, and which paths of data they cover.

A path is (host, peer, ev), names as in the tables. It is covered where its data leaves
through a port that the fault means; that only its answers come back through one is no reason,
as they find another way. A fault of one EV covers that path, one of a host every path to and
from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from testbed.errors import UsageError
from testbed.faults.chronicle import END
from testbed.faults.reach import reach
from testbed.faults.targets import EvTarget, HostTarget, Target, parse_target
from testbed.forwarding.egress import egress_slots
from testbed.forwarding.paths import paths
from topologies.graph import Graph, build_graph
from topologies.names import host_name, parse_host
from topologies.spec import ClosSpec

Path = tuple[str, str, int]
"""host, peer, ev."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault that an action put in force.

    ``fault_id`` like ``link:p1-t0-0:p1-t1-3#down``; ``heal_ns`` None where only the end of the
    run healed it; ``again_ns`` when the same was put in force the next time.
    """

    name: str
    fault_id: str
    inject_ns: int
    heal_ns: int | None
    again_ns: int | None


def faults_of(actions: pd.DataFrame) -> list[Fault]:
    """The faults of the rows of kind ``action``, in the order in which they began."""
    found: list[Fault] = []
    open_at: dict[str, int] = {}
    for row in actions.sort_values("t_ns", kind="stable").itertuples():
        place = open_at.pop(row.target, None)
        if row.what == "inject":
            _note_again(found, row.target, int(row.t_ns))
            open_at[row.target] = len(found)
            found.append(Fault(row.name, row.target, int(row.t_ns), None, None))
        elif place is not None and row.name != END:
            begun = found[place]
            found[place] = Fault(begun.name, begun.fault_id, begun.inject_ns, int(row.t_ns), None)
    return found


def _note_again(found: list[Fault], fault_id: str, at_ns: int) -> None:
    for place, fault in enumerate(found):
        if fault.fault_id == fault_id and fault.again_ns is None:
            found[place] = Fault(fault.name, fault_id, fault.inject_ns, fault.heal_ns, at_ns)


class Cover:
    """Which of the paths between these pairs of hosts (by name) a fault covers."""

    def __init__(self, topology: ClosSpec, pairs: Iterable[tuple[str, str]]) -> None:
        self._graph = build_graph(topology)
        self._slots = {
            (src, dst, path.ev): frozenset(egress_slots(self._graph, path))
            for src, dst in pairs
            for path in paths(topology, *_indices(src, dst))}

    def paths(self, fault_id: str) -> frozenset[Path]:
        """The paths of data that the fault covers; () for one this topology does not have."""
        try:
            target = parse_target(fault_id.partition("#")[0])
            slots = _slots_of(self._graph, target)
        except UsageError:
            return frozenset()
        if isinstance(target, HostTarget):
            name = host_name(target.host)
            return frozenset(path for path in self._slots if name in path[:2])
        if isinstance(target, EvTarget):
            key = host_name(target.src), host_name(target.dst), target.ev
            return frozenset({key} & self._slots.keys())
        return frozenset(path for path, crossed in self._slots.items() if crossed & slots)


def _slots_of(graph: Graph, target: Target) -> frozenset[int]:
    return reach(graph, target).both_ends(graph)


def _indices(src: str, dst: str) -> tuple[int, int]:
    found = parse_host(src), parse_host(dst)
    assert found[0] is not None  # names of a table
    assert found[1] is not None
    return found[0], found[1]
