"""Interfaces in bulk over netlink: data links, the management network, carrier.

A `Wiring` holds one netlink socket per namespace that it talks to. Every data
interface gets its slot as interface index (`topologies.graph`), which is what
the port program keys its maps by.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from testbed.errors import TestbedError
from testbed.fabric.namespaces import loopback_up, network_of, quiet_ipv6, set_sysctl
from testbed.fabric.netlink import NetlinkThread
from topologies.graph import End, Graph, Link

IFF_UP = 1
MANAGEMENT = "mgmt"
MANAGEMENT_NETWORK = ipaddress.ip_network("198.18.0.0/16")  # RFC 2544: never routed
INSTANCE_ADDRESS = MANAGEMENT_NETWORK[1]
_FIRST_HOST_OFFSET = 256
_CARRIER_PATIENCE_S = 5.0

_Result = TypeVar("_Result")


def management_address(host_index: int) -> ipaddress.IPv4Address:
    """Management address of a host: 198.18.1.0 upwards."""
    address = MANAGEMENT_NETWORK[_FIRST_HOST_OFFSET + host_index]
    assert isinstance(address, ipaddress.IPv4Address)
    return address


class Wiring:
    """Links between nodes, where ``pids`` names the process that holds each namespace.

    Nodes missing from ``pids`` live in the instance's own namespace.
    """

    def __init__(self, graph: Graph, pids: Mapping[str, int]) -> None:
        self._graph, self._pids = graph, pids
        self.netlink = NetlinkThread()

    def prepare_namespaces(self, forwarding_nodes: frozenset[str] = frozenset()) -> None:
        """Set what interfaces inherit at birth, before the first one is made."""
        self.netlink.open("")
        for node, pid in self._pids.items():
            with network_of(pid):
                prepare_forwarding() if node in forwarding_nodes else quiet_ipv6()
                loopback_up()
            self.netlink.open(node, pid)

    def make_links(self) -> None:
        """Create every data link of the graph, both ends up. Raises TestbedError."""
        self.netlink.run(self._make_all)

    def _make_all(self) -> None:
        for link in self._graph.links:
            self._make(link)

    def _make(self, link: Link) -> None:
        mtu = self._graph.spec.mtu_bytes
        peer = _attributes(link.b, mtu, self._pids.get(link.b.node))
        data = {"attrs": [["VETH_INFO_PEER", {"index": link.b.slot, "attrs": peer}]]}
        info = {"attrs": [["IFLA_INFO_KIND", "veth"], ["IFLA_INFO_DATA", data]]}
        own = dict(_attributes(link.a, mtu, self._pids.get(link.a.node)))
        try:
            self.netlink.socket("").link("add", index=link.a.slot, flags=IFF_UP, change=IFF_UP,
                                         IFLA_LINKINFO=info, **own)
            # A veth peer cannot be born up (ENOTCONN): it is not tied to its pair yet.
            self._set_state(link.b, True)
        except NetlinkError as error:
            raise TestbedError(f"cannot make {link.name}: {error.args[1]}") from error

    def make_management(self) -> None:
        """One bridge here, one interface called ``mgmt`` on every host."""
        self.netlink.run(self._make_management)

    def _make_management(self) -> None:
        home = self.netlink.socket("")
        home.link("add", ifname=MANAGEMENT, kind="bridge", state="up")
        bridge = home.link_lookup(ifname=MANAGEMENT)[0]
        home.addr("add", index=bridge, address=str(INSTANCE_ADDRESS),
                  prefixlen=MANAGEMENT_NETWORK.prefixlen)
        for host in self._graph.hosts:
            peer = {"ifname": MANAGEMENT, "net_ns_pid": self._pids[host.name]}
            home.link("add", ifname=f"{MANAGEMENT}{host.index}", kind="veth", state="up",
                      peer=peer, master=bridge)
            there = self.netlink.socket(host.name)
            index = there.link_lookup(ifname=MANAGEMENT)[0]
            there.addr("add", index=index, address=str(management_address(host.index)),
                       prefixlen=MANAGEMENT_NETWORK.prefixlen)
            there.link("set", index=index, state="up")

    def set_states(self, ends: Iterable[End], is_up: bool) -> None:
        """Take ends administratively up or down; returns when their peers have followed.

        The kernel tells the other end of a veth pair a moment later, from a work
        queue; a frame sent in between would be lost uncounted. Raises TestbedError
        where one does not follow.
        """
        for end in ends:
            self.netlink.run(partial(self._set_state, end, is_up))
        for end in ends:
            self._wait_for_peer(end, is_up)

    def _set_state(self, end: End, is_up: bool) -> None:
        state = "up" if is_up else "down"
        self.netlink.socket(end.node).link("set", index=end.slot, state=state)

    def _wait_for_peer(self, end: End, is_up: bool) -> None:
        peer = self._graph.port(end.slot).peer
        deadline_s = time.monotonic() + _CARRIER_PATIENCE_S
        while (self._state(peer) == "UP") != is_up:
            if time.monotonic() > deadline_s:
                raise TestbedError(f"{peer.interface} does not notice its link going "
                                   f"{'up' if is_up else 'down'}; see `ip link` on {peer.node}")
            time.sleep(0.001)

    def _state(self, end: End) -> str:
        def ask() -> str:
            (message,) = self.netlink.socket(end.node).link("get", index=end.slot)
            return str(message.get_attr("IFLA_OPERSTATE"))

        return self.netlink.run(ask)

    def states(self) -> dict[int, str]:
        """Slot -> operational state of every data interface: UP, DOWN or LOWERLAYERDOWN.

        ABSENT where the interface is gone.
        """
        found = {
            message["index"]: message.get_attr("IFLA_OPERSTATE")
            for messages in self.in_each_namespace(lambda ipr: list(ipr.get_links()))
            for message in messages
        }
        return {slot: found.get(slot, "ABSENT") for slot in self._graph.slots}

    def in_each_namespace(self, ask: Callable[[IPRoute], _Result]) -> list[_Result]:
        """What ``ask`` returns for the socket of every namespace, on the netlink thread."""
        netlink = self.netlink
        return netlink.run(lambda: [ask(netlink.socket(node)) for node in netlink.nodes()])


def _attributes(end: End, mtu_bytes: int, pid: int | None) -> list[list[Any]]:
    found: list[list[Any]] = [
        ["IFLA_IFNAME", end.interface], ["IFLA_ADDRESS", end.mac], ["IFLA_MTU", mtu_bytes],
    ]
    return found if pid is None else [*found, ["IFLA_NET_NS_PID", pid]]


def prepare_forwarding() -> None:
    """Make the calling thread's namespace an SRv6 node, silent otherwise.

    ``default`` is what interfaces inherit at birth; seg6_enabled is checked on
    the interface and on ``all``.
    """
    for scope in ("default", "all"):
        set_sysctl(f"net.ipv6.conf.{scope}.forwarding", 1)
        set_sysctl(f"net.ipv6.conf.{scope}.seg6_enabled", 1)
        set_sysctl(f"net.ipv6.conf.{scope}.accept_dad", 0)
    set_sysctl("net.ipv6.conf.default.addr_gen_mode", 1)
