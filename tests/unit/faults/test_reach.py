"""Which ports a target means, and what is said about targets that do not exist."""

from __future__ import annotations

import pytest

from testbed.errors import UsageError
from testbed.faults.reach import Reach, reach
from testbed.faults.targets import parse_target
from topologies.graph import Graph, build_graph
from topologies.spec import ClosSpec

QUAD = ClosSpec("quad", 4, 2, 4, 4, 100 * 10**9, 1000)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return build_graph(QUAD)


def interfaces(graph: Graph, slots: frozenset[int]) -> set[str]:
    return {graph.port(slot).interface for slot in slots}


def reached(graph: Graph, text: str) -> tuple[set[str], set[str]]:
    found = reach(graph, parse_target(text))
    return interfaces(graph, found.ports), interfaces(graph, found.nic_links)


def test_a_nic_is_both_ends_of_its_link(graph: Graph) -> None:
    assert reached(graph, "nic:h5:p2") == ({"h5-eth2", "p2-t0-1-e2"}, {"p2-t0-1-e2"})


def test_a_link_is_both_ends_without_carrier(graph: Graph) -> None:
    assert reached(graph, "link:p1-t0-0:p1-t1-3") == ({"p1-t0-0-e8", "p1-t1-3-e1"}, set())


def test_a_port_is_one_direction(graph: Graph) -> None:
    assert reached(graph, "port:p1-t1-3:p1-t0-0") == ({"p1-t1-3-e1"}, set())
    assert reached(graph, "port:p1-t0-1:h5") == ({"p1-t0-1-e2"}, set())
    assert reached(graph, "port:h5:p1-t0-1") == ({"h5-eth1"}, set())


def test_a_t0_is_all_its_ports_and_the_carrier_of_its_hosts(graph: Graph) -> None:
    downlinks = {f"p3-t0-1-e{n}" for n in (1, 2, 3, 4)}
    ports, nic_links = reached(graph, "switch:p3-t0-1")
    assert ports == downlinks | {f"p3-t0-1-e{n}" for n in (5, 6, 7, 8)}
    assert nic_links == downlinks


def test_a_t1_is_all_its_ports(graph: Graph) -> None:
    assert reached(graph, "switch:p3-t1-0") == ({"p3-t1-0-e1", "p3-t1-0-e2"}, set())


def test_a_plane_is_both_ends_of_every_link(graph: Graph) -> None:
    found = reach(graph, parse_target("plane:2"))
    of_plane = {end.slot for link in graph.links for end in (link.a, link.b)
                if link.b.node.startswith("p2-")}  # fmt: skip
    assert found.ports == of_plane
    assert len(found.nic_links) == 8


def test_an_ev_is_the_egress_of_its_first_switch(graph: Graph) -> None:
    assert reached(graph, "ev:h0:h5:0x0203") == ({"p2-t0-0-e8"}, set())
    assert reached(graph, "ev:h0:h1:0x0200") == ({"p2-t0-0-e2"}, set())


def test_a_host_is_no_port(graph: Graph) -> None:
    assert reach(graph, parse_target("host:h3")) == Reach(frozenset())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nic:h8:p0", "host h8 does not exist: use h0 to h7 (quad)"),
        ("nic:h0:p4", "plane 4 does not exist: use 0 to 3 (quad)"),
        ("plane:4", "plane 4 does not exist: use 0 to 3 (quad)"),
        ("host:h99", "host h99 does not exist: use h0 to h7 (quad)"),
        ("switch:p0-t1-4", "switch p0-t1-4 does not exist, did you mean 'p0-t1-"),
        ("switch:p5-t0-0", "quad has planes p0 to p3, each with t0-0 to t0-1 and t1-0 to t1-3"),
        ("link:p0-t0-0:p1-t1-0", "there is no link from p0-t0-0 to p1-t1-0, did you mean"),
        ("link:p0-t0-2:p0-t1-0", "switch p0-t0-2 does not exist"),
        ("link:p0-t0-0:p0-t1-9", "switch p0-t1-9 does not exist"),
        ("port:p0-t0-0:h4", "p0-t0-0 is linked to h0, h1, h2, h3, p0-t1-0, p0-t1-1, p0-t1-2"),
        ("port:h0:h1", "h0 is linked to p0-t0-0, p1-t0-0, p2-t0-0, p3-t0-0"),
        ("port:h9:p0-t0-0", "host h9 does not exist"),
        ("ev:h0:h5:0x0400", "ev:h0:h5:0x0400 does not exist: EV 0x0400 names no path from h0"),
        ("ev:h0:h1:0x0001", "planes 0 to 3 with uplinks 0 to 0 do"),
        ("ev:h0:h0:0x0000", "h0 has no path to itself"),
        ("ev:h0:h8:0x0000", "host h8 does not exist"),
    ],
)
def test_what_does_not_exist_is_named_with_what_does(
    graph: Graph, text: str, expected: str
) -> None:
    with pytest.raises(UsageError) as caught:
        reach(graph, parse_target(text))
    assert expected in str(caught.value)
