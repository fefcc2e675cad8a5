"""A spec written out: every host, switch, port and link with its name, MAC and slot.

A *slot* is the number of one end of a data link: the interface index its veth end is
given and its key in the port program's maps. Slots count up from 1000, two per link,
NIC links first, so every one can be computed and none repeats across namespaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from itertools import product
from typing import Literal

from topologies import names, usid
from topologies.spec import ClosSpec, validate

FIRST_SLOT = 1000
# Twelve times `wide`, and far beyond what one machine forwards; also bounds the slots.
MAX_LINKS = 5000


@dataclass(frozen=True, slots=True)
class End:
    """One end of a link: the node it is on, its interface, MAC and slot."""

    node: str
    interface: str
    mac: str
    slot: int


@dataclass(frozen=True, slots=True)
class NicPort:
    """A host's port on one plane; ``peer`` is the T0 end of its link."""

    host: str
    plane: int
    interface: str
    mac: str
    slot: int
    peer: End

    @property
    def node(self) -> str:
        """The host's name."""
        return self.host


@dataclass(frozen=True, slots=True)
class SwitchPort:
    """A switch's port; ``number`` is its OpenFlow port, from 1."""

    switch: str
    number: int
    interface: str
    mac: str
    slot: int
    peer: End
    faces_host: bool

    @property
    def node(self) -> str:
        """The switch's name."""
        return self.switch


Port = NicPort | SwitchPort


@dataclass(frozen=True, slots=True)
class Host:
    """A host; ``nic_ports[p]`` is its port on plane p, ``address`` its inner IPv6 address."""

    index: int
    name: str
    t0: int
    downlink: int
    address: IPv6Address
    nic_ports: tuple[NicPort, ...]


@dataclass(frozen=True, slots=True)
class Switch:
    """A switch of tier 0 or 1; ``ports[n - 1]`` is port n, ``dpid`` its OpenFlow id."""

    name: str
    plane: int
    tier: int
    index: int
    usid: int
    dpid: int
    ports: tuple[SwitchPort, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """A link, named by the fault target that means it; ``a`` is the end nearer the host."""

    name: str
    a: End
    b: End
    rate_bps: int
    delay_ns: int
    kind: Literal["nic", "fabric"]


@dataclass(frozen=True, slots=True)
class _Index:
    nodes: Mapping[str, Host | Switch]
    ports_by_slot: Mapping[int, Port]
    ports_by_pair: Mapping[tuple[str, str], Port]
    links_by_slot: Mapping[int, Link]


@dataclass(frozen=True, slots=True)
class Graph:
    """Every node, port and link of a fabric, with the lookups others need."""

    spec: ClosSpec
    hosts: tuple[Host, ...]
    switches: tuple[Switch, ...]
    links: tuple[Link, ...]
    _index: _Index = field(repr=False, compare=False)

    def host(self, name: str) -> Host:
        """The host of this name. Raises KeyError where there is none."""
        node = self._index.nodes[name]
        if not isinstance(node, Host):
            raise KeyError(name)
        return node

    def switch(self, name: str) -> Switch:
        """The switch of this name. Raises KeyError where there is none."""
        node = self._index.nodes[name]
        if not isinstance(node, Switch):
            raise KeyError(name)
        return node

    def port(self, slot: int) -> Port:
        """The NIC or switch port in this slot. Raises KeyError where there is none."""
        return self._index.ports_by_slot[slot]

    def port_towards(self, node: str, peer: str) -> Port:
        """The port of ``node`` whose link leads to ``peer``. Raises KeyError if none does."""
        return self._index.ports_by_pair[node, peer]

    def link(self, a: str, b: str) -> Link:
        """The link between two nodes, in either order. Raises KeyError where there is none."""
        return self.link_at(self.port_towards(a, b).slot)

    def link_at(self, slot: int) -> Link:
        """The link one of whose ends has this slot. Raises KeyError where there is none."""
        return self._index.links_by_slot[slot]

    @property
    def slots(self) -> range:
        """Every slot in use, ascending and without gaps."""
        return range(FIRST_SLOT, FIRST_SLOT + 2 * len(self.links))


def build_refusal(spec: ClosSpec) -> str:
    """Why this valid spec can only be described, not built; "" where it can be built."""
    if not spec.is_description_only and spec.link_count <= MAX_LINKS:
        return ""
    return (
        f"topology {spec.name} can only be described ({spec.link_count:,} links, one machine "
        f"builds at most {MAX_LINKS:,}): look at it with `topology {spec.name}`, build a "
        "smaller one"
    )


def build_graph(spec: ClosSpec) -> Graph:
    """Write a spec out. Raises ValueError where it is invalid or too large to build."""
    validate(spec)
    if refusal := build_refusal(spec):
        raise ValueError(refusal)
    hosts = tuple(_host(spec, index) for index in range(spec.host_count))
    switches = tuple(
        _t0(spec, plane, index) if tier == 0 else _t1(spec, plane, index)
        for plane in range(spec.planes)
        for tier, count in ((0, spec.t0_per_plane), (1, spec.t1_per_plane))
        for index in range(count)
    )
    links = (*_nic_links(spec), *_fabric_links(spec))
    return Graph(spec, hosts, switches, links, _build_index(hosts, switches, links))


def _host(spec: ClosSpec, index: int) -> Host:
    t0, downlink = spec.t0_of(index), spec.downlink_of(index)
    nic_ports = []
    for plane in range(spec.planes):
        end, peer = _nic_link_ends(spec, index, plane)
        nic_ports.append(NicPort(end.node, plane, end.interface, end.mac, end.slot, peer))
    address = names.host_address(t0, downlink)
    return Host(index, names.host_name(index), t0, downlink, address, tuple(nic_ports))


def _t0(spec: ClosSpec, plane: int, index: int) -> Switch:
    first_host = index * spec.hosts_per_t0
    ends = []
    for downlink in range(spec.hosts_per_t0):
        peer, end = _nic_link_ends(spec, first_host + downlink, plane)
        ends.append((end, peer, True))
    for t1 in range(spec.t1_per_plane):
        end, peer = _fabric_link_ends(spec, plane, index, t1)
        ends.append((end, peer, False))
    return _switch(plane, 0, index, ends)


def _t1(spec: ClosSpec, plane: int, index: int) -> Switch:
    ends = []
    for t0 in range(spec.t0_per_plane):
        peer, end = _fabric_link_ends(spec, plane, t0, index)
        ends.append((end, peer, False))
    return _switch(plane, 1, index, ends)


def _switch(plane: int, tier: int, index: int, ends: list[tuple[End, End, bool]]) -> Switch:
    name, own_usid = names.switch_name(plane, tier, index), _switch_usid(plane, tier, index)
    ports = tuple(
        SwitchPort(name, number, end.interface, end.mac, end.slot, peer, faces_host)
        for number, (end, peer, faces_host) in enumerate(ends, start=1)
    )
    # The uSID is unique over the whole fabric and never 0: it serves as datapath id too.
    return Switch(name, plane, tier, index, own_usid, own_usid, ports)


def _switch_usid(plane: int, tier: int, index: int) -> int:
    return usid.encode(plane, usid.Kind.T0 if tier == 0 else usid.Kind.T1, index)


def _switch_end(plane: int, tier: int, index: int, number: int, slot: int) -> End:
    name = names.switch_name(plane, tier, index)
    mac = names.switch_mac(_switch_usid(plane, tier, index), number)
    return End(name, names.switch_interface(name, number), mac, slot)


def _nic_link_ends(spec: ClosSpec, host: int, plane: int) -> tuple[End, End]:
    slot = FIRST_SLOT + 2 * (host * spec.planes + plane)
    number = names.downlink_port(spec.downlink_of(host))
    interface, mac = names.nic_interface(host, plane), names.nic_mac(host, plane)
    return (
        End(names.host_name(host), interface, mac, slot),
        _switch_end(plane, 0, spec.t0_of(host), number, slot + 1),
    )


def _fabric_link_ends(spec: ClosSpec, plane: int, t0: int, t1: int) -> tuple[End, End]:
    order = (plane * spec.t0_per_plane + t0) * spec.t1_per_plane + t1
    slot = FIRST_SLOT + 2 * (spec.nic_port_count + order)
    uplink = names.uplink_port(spec.hosts_per_t0, t1)
    return (
        _switch_end(plane, 0, t0, uplink, slot),
        _switch_end(plane, 1, t1, names.t1_port(t0), slot + 1),
    )


def _nic_links(spec: ClosSpec) -> list[Link]:
    found = []
    for host, plane in product(range(spec.host_count), range(spec.planes)):
        a, b = _nic_link_ends(spec, host, plane)
        name = f"nic:{a.node}:p{plane}"
        found.append(Link(name, a, b, spec.port_rate_bps, spec.link_delay_ns, "nic"))
    return found


def _fabric_links(spec: ClosSpec) -> list[Link]:
    found = []
    for plane, t0, t1 in product(
        range(spec.planes), range(spec.t0_per_plane), range(spec.t1_per_plane)
    ):
        a, b = _fabric_link_ends(spec, plane, t0, t1)
        name = f"link:{a.node}:{b.node}"
        found.append(Link(name, a, b, spec.port_rate_bps, spec.link_delay_ns, "fabric"))
    return found


def _build_index(
    hosts: tuple[Host, ...], switches: tuple[Switch, ...], links: tuple[Link, ...]
) -> _Index:
    ports: list[Port] = [port for host in hosts for port in host.nic_ports]
    ports += [port for switch in switches for port in switch.ports]
    nodes: list[Host | Switch] = [*hosts, *switches]
    return _Index(
        nodes={node.name: node for node in nodes},
        ports_by_slot={port.slot: port for port in ports},
        ports_by_pair={(port.node, port.peer.node): port for port in ports},
        links_by_slot={end.slot: link for link in links for end in (link.a, link.b)},
    )
