"""Every path of `quad` goes through exactly its switches, alike on both data planes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from testbed_process import Running

from testbed.forwarding.egress import egress_slots
from testbed.forwarding.paths import paths, reverse
from topologies.ev import format_ev

pytestmark = pytest.mark.root

_seen: dict[str, dict[str, list[str]]] = {}


@pytest.fixture(scope="module", params=["ovs", "linux"])
def quad(request: pytest.FixtureRequest, bring_up: Callable[..., Running]) -> Running:
    return bring_up("quad", "--dataplane", request.param)


def test_each_path_is_seen_by_exactly_its_ports(quad: Running) -> None:
    """One probe and its answer per path; every port's counter must fit, moved or not."""
    graph = quad.graph()
    observed: dict[str, list[str]] = {}
    before = quad.call("ports", account="offered")
    for src in range(graph.spec.host_count):
        for dst in range(graph.spec.host_count):
            if src == dst:
                continue
            for path in paths(graph.spec, src, dst):
                (row,) = quad.call("probe", src=src, dst=dst, ev=format_ev(path.ev), count=1)
                assert (row["sent"], row["received"]) == (1, 1), str(path)
                after = quad.call("ports", account="offered")
                moved = {port: after[port] - before[port] for port in after
                         if after[port] != before[port]}
                ways = (path, reverse(graph.spec, path))
                expected = {graph.port(slot).interface: 1
                            for way in ways for slot in egress_slots(graph, way)}
                assert moved == expected, str(path)
                observed[str(path)] = sorted(moved)
                before = after
    assert len(observed) == quad.summary["readiness"]["paths_total"]
    _seen[quad.summary["dataplane"]] = observed


def test_both_data_planes_forward_identically() -> None:
    assert set(_seen) == {"ovs", "linux"}, "the test above did not run on both"
    assert _seen["ovs"] == _seen["linux"]


def test_paths_answer_also_where_a_round_trip_takes_seconds(
    bring_up: Callable[..., Running]
) -> None:
    """Every time-out is beyond the round trip, which this dilation makes 2.8 s."""
    slow = bring_up("tiny", "--tdf", "300000")
    assert slow.summary["readiness"]["paths_ok"] == 40
    assert slow.call("status")["paths_ok"] == 40
    assert slow.command("probe", "h0", "h3").returncode == 0


@pytest.mark.parametrize("size", ["4238B", "9014B"])
def test_full_size_frames_fit_every_hop(quad: Running, size: str) -> None:
    """A data frame, and the largest the link MTU of 9000 takes, outer header included."""
    for dst in (1, 4):
        for row in quad.call("probe", src=0, dst=dst, count=1, size=size):
            assert row["received"] == 1, row


def test_self_probes_come_back_to_their_sender(quad: Running) -> None:
    """NIC-T0-NIC leaves by the port it came in on, which OpenFlow drops unless told."""
    for host in range(8):
        rows = quad.call("probe", src=host, dst=host, count=2)
        assert len(rows) == 4 * (1 + 4)
        assert all(row["received"] == 2 for row in rows)


def test_round_trips_grow_with_the_hops_and_contain_the_propagation(quad: Running) -> None:
    """Emulated us: 4 links of 1 us T0-local, 8 cross-T1, then the transit of this machine."""
    local = [row["rtt_us"] for row in quad.call("probe", src=0, dst=1, count=9)]
    cross = [row["rtt_us"] for row in quad.call("probe", src=0, dst=4, count=9)]
    assert min(local) > 4
    assert min(cross) > 8
    assert min(cross) > min(local)


def test_nothing_was_lost(quad: Running) -> None:
    status = quad.call("status")
    assert status["unexplained_frames"] == 0
    assert status["problems"] == []
    assert status["paths_ok"] == status["paths_total"] == 608
