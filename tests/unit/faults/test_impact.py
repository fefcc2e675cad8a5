"""Exactly the paths through a failed thing must fail, against an independent count."""

from __future__ import annotations

from itertools import pairwise

import pytest

from testbed.faults.actions import make_action
from testbed.faults.desired import DesiredState, desired_state
from testbed.faults.impact import faulted_paths, is_path_faulted
from testbed.faults.targets import parse_target
from testbed.forwarding.paths import Path, paths, self_paths
from topologies.ev import make_ev
from topologies.graph import Graph, build_graph
from topologies.spec import ClosSpec

QUAD = ClosSpec("quad", 4, 2, 4, 4, 100 * 10**9, 1000)
ALL = [
    path for src in range(8) for dst in range(8) if src != dst for path in paths(QUAD, src, dst)
]


@pytest.fixture(scope="module")
def graph() -> Graph:
    return build_graph(QUAD)


def state_of(graph: Graph, *faults: tuple[str, str | None, float | None]) -> DesiredState:
    return desired_state(graph, [make_action(parse_target(t), k, r) for t, k, r in faults])


def touches(path: Path, *nodes: str) -> bool:
    way = (f"h{path.src}", *path.switches, f"h{path.dst}")
    pairs = [set(pair) for pair in pairwise(way)]
    return set(nodes) <= set(way) if len(nodes) == 1 else set(nodes) in pairs


def test_nothing_fails_without_faults(graph: Graph) -> None:
    assert faulted_paths(graph, state_of(graph)) == frozenset()


@pytest.mark.parametrize(
    ("target", "kind", "nodes"),
    [
        ("link:p1-t0-0:p1-t1-3", "down", ("p1-t0-0", "p1-t1-3")),
        ("nic:h5:p2", "down", ("h5", "p2-t0-1")),
        ("switch:p0-t1-2", "crash", ("p0-t1-2",)),
        ("switch:p0-t1-2", "blackhole", ("p0-t1-2",)),
        ("switch:p3-t0-1", "crash", ("p3-t0-1",)),
        ("switch:p3-t0-1", "blackhole", ("p3-t0-1",)),
        ("host:h3", "pause", ("h3",)),
        ("host:h3", "kill", ("h3",)),
    ],
)
def test_exactly_the_paths_through_it_fail(
    graph: Graph, target: str, kind: str, nodes: tuple[str, ...]
) -> None:
    expected = {path for path in ALL if touches(path, *nodes)}
    assert expected
    assert faulted_paths(graph, state_of(graph, (target, kind, None))) == expected


def test_a_plane_down_fails_its_paths(graph: Graph) -> None:
    found = faulted_paths(graph, state_of(graph, ("plane:1", None, None)))
    assert found == {path for path in ALL if path.plane == 1}


def test_one_direction_fails_one_way_but_both_round_trips(graph: Graph) -> None:
    state = state_of(graph, ("port:p1-t0-0:p1-t1-3", None, None))
    through = {path for path in ALL if touches(path, "p1-t0-0", "p1-t1-3")}
    assert faulted_paths(graph, state) == through
    assert faulted_paths(graph, state, round_trip=False) == {p for p in through if p.src < 4}


def test_a_dead_ev_fails_its_pair_only(graph: Graph) -> None:
    state = state_of(graph, ("ev:h0:h5:0x0203", None, None))
    one_way = faulted_paths(graph, state, round_trip=False)
    assert {(p.src, p.dst, p.ev) for p in one_way} == {(0, 5, make_ev(2, 3))}
    both = faulted_paths(graph, state)
    assert {(p.src, p.dst, p.ev) for p in both} == {
        (0, 5, make_ev(2, 3)), (5, 0, make_ev(2, 3)),
    }  # fmt: skip


def test_a_disabled_port_answers_no_probe_and_stops_no_frame(graph: Graph) -> None:
    state = state_of(graph, ("nic:h5:p2", "disable", None))
    assert faulted_paths(graph, state) == {
        path for path in ALL if path.plane == 2 and 5 in (path.src, path.dst)}
    assert faulted_paths(graph, state, round_trip=False) == frozenset()
    assert not any(is_path_faulted(graph, state, path) for path in self_paths(QUAD, 5))


def test_a_denied_ev_fails_no_path(graph: Graph) -> None:
    assert not faulted_paths(graph, state_of(graph, ("ev:h0:h5:0x0203", "deny", None)))


def test_lossy_is_not_dead_until_everything_is_lost(graph: Graph) -> None:
    half = ("nic:h5:p2", "loss", 0.5)
    assert faulted_paths(graph, state_of(graph, half)) == frozenset()
    full = state_of(graph, ("nic:h5:p2", "loss", 1.0))
    assert faulted_paths(graph, full) == {p for p in ALL if touches(p, "h5", "p2-t0-1")}
    assert not faulted_paths(graph, state_of(graph, ("nic:h5:p2", "corrupt", 1.0)))


def test_overlapping_faults_fail_the_union(graph: Graph) -> None:
    nic, crash = ("nic:h5:p2", None, None), ("switch:p0-t1-2", "crash", None)
    apart = [faulted_paths(graph, state_of(graph, fault)) for fault in (nic, crash)]
    assert faulted_paths(graph, state_of(graph, nic, crash)) == apart[0] | apart[1]


def test_pairs_narrow_the_question(graph: Graph) -> None:
    state = state_of(graph, ("plane:1", None, None))
    found = faulted_paths(graph, state, pairs=[(0, 1), (0, 5)])
    assert {(path.src, path.dst) for path in found} == {(0, 1), (0, 5)}
    assert len(found) == 1 + 4


def test_self_probes_locate_a_fault(graph: Graph) -> None:
    state = state_of(graph, ("link:p1-t0-0:p1-t1-3", None, None))
    failing = [path for path in self_paths(QUAD, 2) if is_path_faulted(graph, state, path)]
    assert [(path.plane, path.t1) for path in failing] == [(1, 3)]
    state = state_of(graph, ("nic:h2:p1", None, None))
    failing = [path for path in self_paths(QUAD, 2) if is_path_faulted(graph, state, path)]
    assert [(path.plane, path.t1) for path in failing] == [(1, t1) for t1 in (None, 0, 1, 2, 3)]
