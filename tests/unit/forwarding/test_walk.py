"""Walks: every path leads where its name says, and what is no path is dropped."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.forwarding.egress import egress_slots
from testbed.forwarding.paths import paths, self_paths
from testbed.forwarding.plan import Plan, build_plan
from testbed.forwarding.walk import Walker, make_walker
from topologies.graph import Graph, build_graph
from topologies.spec import ClosSpec
from topologies.usid import BLOCK

SPECS = st.builds(
    ClosSpec,
    name=st.just("any"),
    planes=st.integers(1, 3),
    t0_per_plane=st.integers(1, 4),
    t1_per_plane=st.integers(1, 4),
    hosts_per_t0=st.integers(1, 3),
    port_rate_bps=st.just(100 * 10**9),
    link_delay_ns=st.just(1000),
)
QUAD = ClosSpec("quad", 4, 2, 4, 4, 100 * 10**9, 1000)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return build_graph(QUAD)


@pytest.fixture(scope="module")
def walker(graph: Graph) -> Walker:
    return make_walker(graph, build_plan(graph))


@settings(max_examples=25, deadline=None)
@given(SPECS, st.data())
def test_every_path_arrives_through_the_switches_it_names(
    spec: ClosSpec, data: st.DataObject
) -> None:
    graph = build_graph(spec)
    walker = make_walker(graph, build_plan(graph))
    src = data.draw(st.integers(0, spec.host_count - 1))
    others = [dst for dst in range(spec.host_count) if dst != src]
    to_others = [path for dst in others for path in paths(spec, src, dst)]
    for path in [*to_others, *self_paths(spec, src)]:
        walk = walker.walk(src, path.plane, path.address)
        assert walk.drop_reason == ""
        assert walk.arrived_at is graph.hosts[path.dst].nic_ports[path.plane]
        assert walk.switches == path.switches
        egress = [graph.switch(hop.switch).ports[hop.port - 1].slot for hop in walk.hops]
        nic = graph.hosts[src].nic_ports[path.plane]
        assert egress_slots(graph, path) == (nic.slot, *egress)


def test_each_hop_shifts_the_address_and_counts_down(walker: Walker) -> None:
    (path,) = [p for p in paths(QUAD, 0, 5) if (p.plane, p.t1) == (2, 3)]
    hops = walker.walk(0, 2, path.address).hops
    assert [(hop.switch, hop.port, str(hop.address), hop.hop_limit) for hop in hops] == [
        ("p2-t0-0", 8, "fcbb:bbbb:5003:4801:5801::", 63),
        ("p2-t1-3", 2, "fcbb:bbbb:4801:5801::", 62),
        ("p2-t0-1", 2, "fcbb:bbbb:5801::", 61),
    ]


@pytest.mark.parametrize(
    ("address", "hops", "reason"),
    [
        ("fcbb:bbbb:4801:5800::", 0, "p2-t0-0: .* does not begin with its own uSID 0x4800"),
        ("fcbb:bbbb:0800:1800::", 0, "does not begin with its own uSID"),
        ("fcbb:bbbb:4800:5804::", 0, "no rule for next uSID 0x5804"),
        ("fcbb:bbbb:4800:1000::", 0, "no rule for next uSID 0x1000"),
        ("fcbb:bbbb:4800:5000:4802::", 1, "p2-t1-0: no rule for next uSID 0x4802"),
        ("fcbb:bbbb:4800:5000::", 1, "p2-t1-0: no rule for next uSID 0x0000"),
        ("fcbb:bbbb:4800::", 0, "no rule for next uSID 0x0000"),
        ("2001:db8::1", 0, "does not begin"),
    ],
)
def test_what_leads_nowhere_is_dropped_there(
    walker: Walker, address: str, hops: int, reason: str
) -> None:
    walk = walker.walk(0, 2, IPv6Address(address))
    assert walk.arrived_at is None
    assert len(walk.hops) == hops
    assert re.search(reason, walk.drop_reason)


def test_the_bare_block_goes_nowhere(walker: Walker) -> None:
    assert walker.walk(0, 0, BLOCK.network_address).arrived_at is None


def test_the_hop_limit_is_the_second_guard(walker: Walker) -> None:
    path = paths(QUAD, 0, 5)[0]
    assert walker.walk(0, 0, path.address, hop_limit=4).arrived_at is not None
    walk = walker.walk(0, 0, path.address, hop_limit=3)
    assert walk.drop_reason == "p0-t0-1: hop limit exceeded"


def test_a_frame_for_another_mac_is_not_taken(graph: Graph) -> None:
    plan = build_plan(graph)
    first = plan.switches[0]
    wrong = replace(first, rules=(replace(first.rules[0], eth_dst="02:00:00:00:00:01"),))
    walker = make_walker(graph, Plan((wrong, *plan.switches[1:])))
    walk = walker.walk(1, 0, IPv6Address("fcbb:bbbb:0800:1800::"))
    assert walk.drop_reason == "h0: frame is for 02:00:00:00:00:01"
