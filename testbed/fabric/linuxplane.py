"""The Linux data plane: each switch a namespace with seg6local and static routes.

From the same forwarding plan as Open vSwitch, over netlink. A switch owns its
/48 by a seg6local End route with the next-csid flavor (RFC 9800), which shifts
the uSID list, decrements the hop limit and looks the result up again; one
static route per next uSID sends it on. Everything else meets a blackhole.
Needs Linux 6.1.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from functools import partial
from socket import AF_INET6
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink import nla
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from testbed.errors import MachineError, TestbedError
from testbed.fabric.netlink import NetlinkThread
from testbed.forwarding.plan import Plan, Rule, SwitchPlan
from topologies.graph import Graph
from topologies.usid import BLOCK, USID_BITS, address_of

# The route to the own uSID hangs on a device no fault ever takes down; `lo`
# would lose the action, and a port would take the whole switch with it.
ANCHOR = "usid"

_ENCAP_SEG6LOCAL = 7
_NEXT_CSID = 1 << 4  # SEG6_LOCAL_FLV_OP_NEXT_CSID in linux/seg6_local.h
_MAIN_TABLE = 254
_PREFIX_BITS = BLOCK.prefixlen + USID_BITS
_RTNH_F_ONLINK = 4


class _Seg6LocalWithFlavors(rtmsg.encaps[_ENCAP_SEG6LOCAL]):
    """pyroute2's seg6local attributes plus the two it does not know yet."""

    __slots__ = ()
    nla_map = (
        *rtmsg.encaps[_ENCAP_SEG6LOCAL].nla_map,
        ("SEG6_LOCAL_COUNTERS", "hex"),
        ("SEG6_LOCAL_FLAVORS", "flavors"),
    )

    class flavors(nla):  # named as pyroute2 looks it up
        __slots__ = ()
        nla_map = (
            ("SEG6_LOCAL_FLV_UNSPEC", "none"),
            ("SEG6_LOCAL_FLV_OPERATION", "uint32"),
            ("SEG6_LOCAL_FLV_LCBLOCK_BITS", "uint8"),
            ("SEG6_LOCAL_FLV_LCNODE_FN_BITS", "uint8"),
        )


rtmsg.encaps[_ENCAP_SEG6LOCAL] = _Seg6LocalWithFlavors

_SHIFT_BY_ONE_USID = [
    ["SEG6_LOCAL_FLV_OPERATION", _NEXT_CSID],
    ["SEG6_LOCAL_FLV_LCBLOCK_BITS", BLOCK.prefixlen],
    ["SEG6_LOCAL_FLV_LCNODE_FN_BITS", USID_BITS],
]
_UN_ACTION = {"attrs": [
    ["SEG6_LOCAL_ACTION", {"value": "End"}],
    ["SEG6_LOCAL_FLAVORS", {"attrs": _SHIFT_BY_ONE_USID}],
]}


class LinuxPlane:
    """Programs the switches of a plan, and single ports again."""

    def __init__(self, graph: Graph, plan: Plan, netlink: NetlinkThread) -> None:
        self._switches = {switch.name: switch for switch in plan.switches}
        self._slots = {port.interface: port.slot
                       for switch in graph.switches for port in switch.ports}
        self._netlink = netlink

    def install(self) -> None:
        """Program every switch and read it back. Raises MachineError or TestbedError."""
        for switch in self._switches.values():
            self._netlink.run(partial(self._install_switch, switch))
            self.verify(switch.name)

    def reinstall_port(self, switch: str, interface: str) -> None:
        """Put back what an admin-down of this port erased: its route and neighbour."""
        rules = [rule for rule in self._switches[switch].rules if rule.interface == interface]
        self._netlink.run(lambda: self._install_rules(switch, rules))

    def verify(self, switch: str) -> None:
        """Compare the kernel's routes with the plan. Raises TestbedError on a difference."""
        self._netlink.run(lambda: self._verify(self._switches[switch]))

    def _verify(self, plan: SwitchPlan) -> None:
        ipr = self._netlink.socket(plan.name)
        wanted = {_prefix(rule.usid): self._slots[rule.interface] for rule in plan.rules}
        found = {prefix: route.get_attr("RTA_OIF") for prefix, route in _routes(ipr)
                 if prefix != _prefix(plan.usid)}
        odd = sorted({prefix for prefix, _ in found.items() ^ wanted.items()})
        if not has_usid_route(ipr, plan.usid):
            odd.append(_prefix(plan.usid))
        if odd:
            raise TestbedError(f"{plan.name}: routes differ from the plan at {odd[0]}; "
                               "take the instance down and up again")

    def _install_switch(self, switch: SwitchPlan) -> None:
        ipr = self._netlink.socket(switch.name)
        ipr.link("add", ifname=ANCHOR, kind="bridge", state="up")
        ipr.route("add", family=AF_INET6, dst="::/0", type="blackhole")
        add_usid_route(ipr, switch.usid)
        self._install_rules(switch.name, switch.rules)

    def _install_rules(self, switch: str, rules: Iterable[Rule]) -> None:
        ipr = self._netlink.socket(switch)
        for rule in rules:
            index, gateway = self._slots[rule.interface], f"fe80::{rule.port:x}"
            ipr.neigh("replace", family=AF_INET6, dst=gateway, lladdr=rule.eth_dst,
                      ifindex=index, state="permanent")
            ipr.route("replace", family=AF_INET6, dst=_prefix(rule.usid), oif=index,
                      gateway=gateway, flags=_RTNH_F_ONLINK)


def add_usid_route(ipr: IPRoute, usid: int) -> None:
    """Own a uSID in the namespace of ``ipr``, where the anchor exists. Raises MachineError."""
    anchor = ipr.link_lookup(ifname=ANCHOR)[0]
    try:
        ipr.route("add", family=AF_INET6, dst=_prefix(usid), oif=anchor,
                  RTA_ENCAP_TYPE=_ENCAP_SEG6LOCAL, RTA_ENCAP=_UN_ACTION)
    except NetlinkError as error:
        raise MachineError(
            f"this kernel refuses seg6local with next-csid ({error.args[1]}); "
            "use --dataplane ovs, or Linux 6.1 with CONFIG_IPV6_SEG6_LWTUNNEL"
        ) from error


def has_usid_route(ipr: IPRoute, usid: int) -> bool:
    """True where the kernel holds the route with its action, flavor and lengths."""
    for prefix, route in _routes(ipr):
        encap = route.get_attr("RTA_ENCAP")
        if prefix == _prefix(usid) and encap:
            flavors = encap.get_attr("SEG6_LOCAL_FLAVORS")
            return bool(flavors) and all(flavors.get_attr(key) == value
                                         for key, value in _SHIFT_BY_ONE_USID)
    return False


def _routes(ipr: IPRoute) -> Iterator[tuple[str, Any]]:
    """(prefix, route) of every /48 in the main table."""
    for route in ipr.get_routes(family=AF_INET6, table=_MAIN_TABLE):
        destination = route.get_attr("RTA_DST")
        if destination and route["dst_len"] == _PREFIX_BITS:
            yield f"{ipaddress.IPv6Address(destination)}/{_PREFIX_BITS}", route


def _prefix(usid: int) -> str:
    return f"{address_of((usid,))}/{_PREFIX_BITS}"
