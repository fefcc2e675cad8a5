"""What a fault points at, as typed: ``nic:h3:p2``, ``switch:p0-t1-2``, ...

Parsing knows the grammar only; whether the thing exists is asked of a graph by
:mod:`testbed.faults.reach`. ``str()`` of a target is its canonical text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from testbed.errors import UsageError, did_you_mean
from topologies.ev import format_ev, parse_ev
from topologies.names import host_name, parse_host, parse_switch

GRAMMAR = {
    "nic": "nic:h3:p2",
    "link": "link:p1-t0-0:p1-t1-3",
    "switch": "switch:p0-t1-2",
    "port": "port:p0-t1-2:p0-t0-1",
    "ev": "ev:h0:h5:0x0003",
    "host": "host:h3",
    "plane": "plane:2",
}
_PLANE = re.compile(r"p?([0-9]{1,3})")


@dataclass(frozen=True, slots=True)
class NicTarget:
    """A host's NIC port on one plane, with its link."""

    host: int
    plane: int

    def __str__(self) -> str:
        return f"nic:{host_name(self.host)}:p{self.plane}"


@dataclass(frozen=True, slots=True)
class LinkTarget:
    """A T0-T1 link, both directions."""

    t0: str
    t1: str

    def __str__(self) -> str:
        return f"link:{self.t0}:{self.t1}"


@dataclass(frozen=True, slots=True)
class SwitchTarget:
    """A switch with all its ports."""

    switch: str

    def __str__(self) -> str:
        return f"switch:{self.switch}"


@dataclass(frozen=True, slots=True)
class PortTarget:
    """One direction of a link: what ``node`` sends towards ``peer``."""

    node: str
    peer: str

    def __str__(self) -> str:
        return f"port:{self.node}:{self.peer}"


@dataclass(frozen=True, slots=True)
class EvTarget:
    """One EV from one host to another, in that direction; ``ev`` has 32 bits."""

    src: int
    dst: int
    ev: int

    def __str__(self) -> str:
        return f"ev:{host_name(self.src)}:{host_name(self.dst)}:{format_ev(self.ev)}"


@dataclass(frozen=True, slots=True)
class HostTarget:
    """A host, that is its agent."""

    host: int

    def __str__(self) -> str:
        return f"host:{host_name(self.host)}"


@dataclass(frozen=True, slots=True)
class PlaneTarget:
    """Every link of a plane, NIC links included."""

    plane: int

    def __str__(self) -> str:
        return f"plane:{self.plane}"


Target = (
    NicTarget | LinkTarget | SwitchTarget | PortTarget | EvTarget | HostTarget | PlaneTarget
)


def parse_target(text: str) -> Target:
    """Read a target as typed. Raises UsageError that shows the form expected."""
    kind, *parts = text.strip().split(":")
    if kind not in GRAMMAR:
        hint = did_you_mean(kind, GRAMMAR)
        forms = ", ".join(GRAMMAR.values())
        raise UsageError(f"'{text}' is not a fault target{hint}: write one like {forms}")
    target = _PARSERS[kind](parts)
    if target is None:
        form = "an EV" if kind == "ev" else f"a {kind}"
        raise UsageError(f"'{text}' is not {form} target: write one like {GRAMMAR[kind]}")
    return target


def _nic(parts: list[str]) -> Target | None:
    if len(parts) != 2:
        return None
    host, plane = parse_host(parts[0]), _parse_plane(parts[1])
    return None if host is None or plane is None else NicTarget(host, plane)


def _link(parts: list[str]) -> Target | None:
    if len(parts) != 2:
        return None
    places = [parse_switch(part) for part in parts]
    tiers = [place[1] for place in places if place]
    if sorted(tiers) != [0, 1]:
        return None
    return LinkTarget(*parts) if tiers == [0, 1] else LinkTarget(*reversed(parts))


def _switch(parts: list[str]) -> Target | None:
    return SwitchTarget(parts[0]) if len(parts) == 1 and parse_switch(parts[0]) else None


def _port(parts: list[str]) -> Target | None:
    if len(parts) != 2 or not all(_is_node(part) for part in parts):
        return None
    return PortTarget(*parts)


def _ev(parts: list[str]) -> Target | None:
    if len(parts) != 3:
        return None
    src, dst = parse_host(parts[0]), parse_host(parts[1])
    try:
        ev = parse_ev(parts[2])
    except ValueError:
        return None
    return None if src is None or dst is None else EvTarget(src, dst, ev)


def _host(parts: list[str]) -> Target | None:
    host = parse_host(parts[0]) if len(parts) == 1 else None
    return None if host is None else HostTarget(host)


def _plane(parts: list[str]) -> Target | None:
    plane = _parse_plane(parts[0]) if len(parts) == 1 else None
    return None if plane is None else PlaneTarget(plane)


def _parse_plane(text: str) -> int | None:
    match = _PLANE.fullmatch(text)
    return int(match[1]) if match else None


def _is_node(text: str) -> bool:
    return parse_host(text) is not None or parse_switch(text) is not None


_PARSERS: dict[str, Callable[[list[str]], Target | None]] = {
    "nic": _nic,
    "link": _link,
    "switch": _switch,
    "port": _port,
    "ev": _ev,
    "host": _host,
    "plane": _plane,
}
