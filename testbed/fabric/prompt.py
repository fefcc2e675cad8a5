"""The Mininet prompt on nodes that another process has started."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import mininet.log
from mininet.cli import CLI
from mininet.link import Intf
from mininet.net import Mininet
from mininet.node import Node

from testbed.fabric.nodes import ClosHost, OvsNode, WiredLink, record_links
from topologies.graph import Graph


class _Attached:
    """A node whose namespaces exist: its shell joins the process that holds them."""

    def __init__(self, name: str, joins: int, **params: Any) -> None:
        self._joins = joins
        super().__init__(name, **{**params, "inNamespace": False})  # type: ignore[call-arg]

    def startShell(self, mnopts: str | None = None) -> None:
        Node.startShell(self, f"-cda{self._joins}")


class ManagementIntf(Intf):
    """A host's management interface, whose address is known."""

    def config(self, **_params: Any) -> dict[str, Any]:
        """Nothing to do: it exists and has its address."""
        return {}

    def updateIP(self) -> str:
        """The address by which the prompt replaces the host's name."""
        return str(self.ip)


class AttachedHost(_Attached, ClosHost):
    """A running host; its name means its management address, as people expect of ping."""

    def defaultIntf(self) -> Intf:
        return self.management


class AttachedSwitch(_Attached, OvsNode):
    """A running switch, or the instance where the switch is a bridge."""

    def defaultIntf(self) -> Intf:
        # A data port has no address, so the prompt leaves the switch's name as typed.
        return self.intfs[min(port for port in self.intfs if port)]


class Prompt(CLI):
    """Mininet's prompt, which takes our hyphenated node names for words."""

    identchars = CLI.identchars + "-"


def run_prompt(graph: Graph, pids: Mapping[str, int], management: Mapping[str, str],
               environment: Mapping[str, str]) -> None:
    """Show the prompt until the user leaves it.

    ``pids``: node -> process that holds its namespace; ``management``: host -> IPv4
    address; ``environment``: what makes ovs-* commands find the instance's switch.
    """
    os.environ.update(environment)
    net = Mininet(controller=None, link=WiredLink, intf=None, build=False)
    for host in graph.hosts:
        node = net.addHost(host.name, cls=AttachedHost, ip=None, joins=pids[host.name])
        node.management = ManagementIntf("mgmt")
        node.management.node, node.management.ip = node, management[host.name]
    for switch in graph.switches:
        net.addSwitch(switch.name, cls=AttachedSwitch, joins=pids[switch.name],
                      dpid=f"{switch.dpid:016x}")
    record_links(net, graph)
    mininet.log.setLogLevel("info")
    try:
        Prompt(net)
    finally:
        for node in (*net.hosts, *net.switches):
            node.terminate()
