"""Names, MAC addresses and IPv6 addresses of everything, by arithmetic.

Interface names stay within the 15 characters Linux gives them:
``p7-t0-511-e2304`` is the longest. MACs are locally administered (02:...).
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address

MAX_INTERFACE_CHARACTERS = 15

_HOST = re.compile(r"h(0|[1-9][0-9]{0,6})")
_SWITCH = re.compile(r"p([0-7])-t([01])-(0|[1-9][0-9]{0,3})")
_INNER_PREFIX = int(IPv6Address("2001:db8::"))  # documentation prefix, RFC 3849


def host_name(index: int) -> str:
    """``h3``."""
    return f"h{index}"


def switch_name(plane: int, tier: int, index: int) -> str:
    """``p1-t0-3``: plane, tier (0 or 1), index within the tier of the plane."""
    return f"p{plane}-t{tier}-{index}"


def nic_interface(host: int, plane: int) -> str:
    """``h3-eth2``: the host's port on plane 2, which the OCP API counts as port 3."""
    return f"{host_name(host)}-eth{plane}"


def switch_interface(switch: str, number: int) -> str:
    """``p1-t0-3-e5``: OpenFlow port 5 (they count from 1) of a switch."""
    return f"{switch}-e{number}"


def downlink_port(downlink: int) -> int:
    """Port number of this downlink on its T0."""
    return downlink + 1


def uplink_port(hosts_per_t0: int, uplink: int) -> int:
    """Port number of this uplink on a T0: uplinks follow the downlinks."""
    return hosts_per_t0 + 1 + uplink


def t1_port(t0: int) -> int:
    """Port number on a T1 of the link to this T0."""
    return t0 + 1


def parse_host(text: str) -> int | None:
    """Index of a host name, None where it is not one."""
    match = _HOST.fullmatch(text)
    return int(match[1]) if match else None


def parse_switch(text: str) -> tuple[int, int, int] | None:
    """(plane, tier, index) of a switch name, None where it is not one."""
    match = _SWITCH.fullmatch(text)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def host_address(t0: int, downlink: int) -> IPv6Address:
    """Address of a host, the same on every plane: ``2001:db8:0:<t0>::<downlink+1>``."""
    return IPv6Address(_INNER_PREFIX | t0 << 64 | downlink + 1)


def nic_mac(host: int, plane: int) -> str:
    """MAC of a NIC port: 02:01, plane, 24 bits of host index."""
    return _mac(0x0201 << 32 | plane << 24 | host)


def switch_mac(usid: int, number: int) -> str:
    """MAC of a switch port: 02:02, the switch's uSID, 16 bits of port number."""
    return _mac(0x0202 << 32 | usid << 16 | number)


def _mac(value: int) -> str:
    return value.to_bytes(6, "big").hex(":")
