"""Mininet's classes, fitted to a Clos of many links: no command per interface.

Mininet starts the hosts and switches and keeps the picture of who is wired to
whom; interfaces are made in bulk over netlink by `testbed.fabric.wiring`.
"""

from __future__ import annotations

import os
from typing import Any

import mininet.log
import mininet.net
from mininet.link import Intf, Link
from mininet.net import Mininet
from mininet.node import Host, Node, Switch

from topologies import graph as clos

# Outside a namespace of its own Mininet would rewrite the machine's sysctls.
mininet.net.fixLimits = lambda: None
mininet.log.setLogLevel("error")


class WiredIntf(Intf):
    """An interface that the wiring has made and configured already."""

    def __init__(self, name: str, node: Node, port: int, link: Link, mac: str) -> None:
        super().__init__(name, node=node, port=port, link=link, mac=mac,
                         moveIntfFn=lambda *_args: None)

    def config(self, **_params: Any) -> dict[str, Any]:
        """Nothing to do: MAC, MTU and state came with the creation."""
        return {}


class WiredLink(Link):
    """A data link whose veth pair exists already."""

    def __init__(self, node1: Node, node2: Node, port1: int, port2: int, wire: clos.Link,
                 **_ignored: Any) -> None:
        self.intf1 = WiredIntf(wire.a.interface, node1, port1, self, wire.a.mac)
        self.intf2 = WiredIntf(wire.b.interface, node2, port2, self, wire.b.mac)


class ClosHost(Host):
    """A host: a network and mount namespace with a shell that keeps them alive."""

    def config(self, **_params: Any) -> dict[str, Any]:
        """Nothing to do: the wiring configures interfaces."""
        return {}


class OvsNode(Switch):
    """A switch that is a bridge of the instance's Open vSwitch.

    It lives in the instance's own namespace and needs no shell.
    """

    def startShell(self, mnopts: str | None = None) -> None:
        self.pid = os.getpid()

    def start(self, controllers: list[Any]) -> None:
        """Nothing to do: `PrivateOvs` makes all bridges in one transaction."""


class LinuxNode(Switch):
    """A switch that is a network namespace with seg6local routes."""

    def __init__(self, name: str, **params: Any) -> None:
        super().__init__(name, **{**params, "inNamespace": True})

    def start(self, controllers: list[Any]) -> None:
        """Nothing to do: `LinuxPlane` programs the routes."""


def start_nodes(graph: clos.Graph, switch: type[Switch]) -> Mininet:
    """Start every host and switch; returns the network, still without links."""
    net = Mininet(switch=switch, host=ClosHost, controller=None, link=WiredLink, intf=None,
                  build=False)
    for host in graph.hosts:
        net.addHost(host.name, ip=None)
    for node in graph.switches:
        net.addSwitch(node.name, dpid=f"{node.dpid:016x}")
    return net


def record_links(net: Mininet, graph: clos.Graph) -> None:
    """Tell Mininet of the links the wiring has made, with their port numbers."""
    for link in graph.links:
        numbers = [_port_number(graph, end) for end in (link.a, link.b)]
        net.addLink(link.a.node, link.b.node, port1=numbers[0], port2=numbers[1], wire=link)
    net.built = True


def _port_number(graph: clos.Graph, end: clos.End) -> int:
    port = graph.port(end.slot)
    return port.plane if isinstance(port, clos.NicPort) else port.number
