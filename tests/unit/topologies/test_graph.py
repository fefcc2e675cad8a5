"""The written-out graph: nothing twice, everything linked as the contract says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topologies.graph import (
    FIRST_SLOT,
    Graph,
    Host,
    NicPort,
    Switch,
    SwitchPort,
    build_graph,
    build_refusal,
)
from topologies.spec import ClosSpec
from topologies.usid import Kind, decode

SPECS = st.builds(
    ClosSpec,
    name=st.just("any"),
    planes=st.integers(1, 4),
    t0_per_plane=st.integers(1, 4),
    t1_per_plane=st.integers(1, 4),
    hosts_per_t0=st.integers(1, 4),
    port_rate_bps=st.just(100 * 10**9),
    link_delay_ns=st.just(1000),
)
QUAD = ClosSpec("quad", 4, 2, 4, 4, 100 * 10**9, 1000)


@pytest.fixture(scope="module")
def quad() -> Graph:
    return build_graph(QUAD)


def every_port(graph: Graph) -> list[NicPort | SwitchPort]:
    ports: list[NicPort | SwitchPort] = [p for host in graph.hosts for p in host.nic_ports]
    return ports + [port for switch in graph.switches for port in switch.ports]


@settings(max_examples=40, deadline=None)
@given(SPECS)
def test_counts_are_those_of_the_spec(spec: ClosSpec) -> None:
    graph = build_graph(spec)
    assert len(graph.hosts) == spec.host_count
    assert len(graph.switches) == spec.switch_count
    assert len(graph.links) == spec.link_count
    assert len(every_port(graph)) == spec.nic_port_count + spec.switch_port_count


@settings(max_examples=40, deadline=None)
@given(SPECS)
def test_nothing_is_used_twice(spec: ClosSpec) -> None:
    graph = build_graph(spec)
    ports = every_port(graph)
    for key in ("slot", "interface", "mac"):
        assert len({getattr(port, key) for port in ports}) == len(ports), key
    assert sorted(port.slot for port in ports) == list(graph.slots)
    assert graph.slots.start == FIRST_SLOT == 1000
    assert len({switch.dpid for switch in graph.switches}) == spec.switch_count
    assert all(0 < switch.dpid < 1 << 48 for switch in graph.switches)
    assert len({host.address for host in graph.hosts}) == spec.host_count
    assert len({link.name for link in graph.links}) == spec.link_count


@settings(max_examples=40, deadline=None)
@given(SPECS)
def test_both_ends_of_every_link_know_each_other(spec: ClosSpec) -> None:
    graph = build_graph(spec)
    for link in graph.links:
        a, b = graph.port(link.a.slot), graph.port(link.b.slot)
        assert (a.peer, b.peer) == (link.b, link.a)
        assert (a.node, a.interface, a.mac) == (link.a.node, link.a.interface, link.a.mac)
        assert graph.port_towards(a.node, b.node) is a
        assert graph.link(b.node, a.node) is graph.link(a.node, b.node) is link
        assert graph.link_at(b.slot) is link
        assert (link.kind == "nic") == isinstance(a, NicPort)
        assert isinstance(b, SwitchPort)
        assert b.faces_host == (link.kind == "nic")


@settings(max_examples=40, deadline=None)
@given(SPECS)
def test_planes_are_disjoint(spec: ClosSpec) -> None:
    graph = build_graph(spec)
    for link in graph.links:
        planes = {
            port.plane if isinstance(port, NicPort) else graph.switch(port.switch).plane
            for port in (graph.port(link.a.slot), graph.port(link.b.slot))
        }
        assert len(planes) == 1


def test_ports_of_a_t0_are_downlinks_then_uplinks(quad: Graph) -> None:
    t0 = quad.switch("p2-t0-1")
    assert [port.number for port in t0.ports] == list(range(1, 9))
    assert [port.peer.node for port in t0.ports] == [
        "h4", "h5", "h6", "h7", "p2-t1-0", "p2-t1-1", "p2-t1-2", "p2-t1-3",
    ]  # fmt: skip
    assert [port.faces_host for port in t0.ports] == [True] * 4 + [False] * 4
    assert t0.ports[4].interface == "p2-t0-1-e5"


def test_ports_of_a_t1_are_its_t0s(quad: Graph) -> None:
    t1 = quad.switch("p3-t1-2")
    assert [(port.number, port.peer.node) for port in t1.ports] == [
        (1, "p3-t0-0"), (2, "p3-t0-1"),
    ]  # fmt: skip


def test_a_host_has_one_port_per_plane(quad: Graph) -> None:
    host = quad.host("h5")
    assert (host.index, host.t0, host.downlink) == (5, 1, 1)
    assert [port.interface for port in host.nic_ports] == [f"h5-eth{p}" for p in range(4)]
    assert [port.peer.interface for port in host.nic_ports] == [
        f"p{p}-t0-1-e2" for p in range(4)
    ]
    assert str(host.address) == "2001:db8:0:1::2"


def test_switches_carry_their_usid(quad: Graph) -> None:
    for switch in quad.switches:
        fields = decode(switch.usid)
        kind = Kind.T0 if switch.tier == 0 else Kind.T1
        assert (fields.plane, fields.kind, fields.index) == (switch.plane, kind, switch.index)


def test_links_are_named_by_the_target_that_means_them(quad: Graph) -> None:
    assert quad.link("h3", "p2-t0-0").name == "nic:h3:p2"
    assert quad.link("p1-t1-3", "p1-t0-0").name == "link:p1-t0-0:p1-t1-3"


def test_lookups_of_what_does_not_exist_raise(quad: Graph) -> None:
    for look in (
        lambda: quad.host("p0-t0-0"),
        lambda: quad.switch("h0"),
        lambda: quad.switch("p9-t0-0"),
        lambda: quad.port(999),
        lambda: quad.link("h0", "h1"),
        lambda: quad.port_towards("p0-t0-0", "p1-t1-0"),
    ):
        with pytest.raises(KeyError):
            look()


def test_lookups_find_the_very_objects(quad: Graph) -> None:
    nodes: list[Host | Switch] = [*quad.hosts, *quad.switches]
    found = [quad.host(n.name) if isinstance(n, Host) else quad.switch(n.name) for n in nodes]
    assert all(a is b for a, b in zip(nodes, found, strict=True))


def test_the_same_spec_gives_the_same_graph() -> None:
    assert build_graph(QUAD) == build_graph(QUAD)


def test_what_can_be_built_is_told_beforehand() -> None:
    assert build_refusal(QUAD) == ""
    assert "can only be described (64 links" in build_refusal(
        replace(QUAD, is_description_only=True)
    )
    assert "at most 5,000" in build_refusal(replace(QUAD, hosts_per_t0=2048))


def test_descriptions_and_giants_are_not_built() -> None:
    with pytest.raises(ValueError, match="can only be described"):
        build_graph(replace(QUAD, is_description_only=True))
    with pytest.raises(ValueError, match="at most 5,000"):
        build_graph(replace(QUAD, hosts_per_t0=2048))
    with pytest.raises(ValueError, match="planes = 9"):
        build_graph(replace(QUAD, planes=9))
