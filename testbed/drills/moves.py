"""What one entry of a timeline does: a series of moves, each so long after its first.

    fail, down, crash, loss, ...   one move, or two where it says for how long
    flap         the same targets down and up again and again
    staircase    one target after the other down, then up in the same order
    glitch       several links at once, a few times in rapid succession
    reboot       a switch is gone for a while; whatever it suffered from is over then
    random       links flap at moments and places drawn from a seed
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from testbed.drills.moments import parse_span_ns
from testbed.drills.raw import Section
from testbed.errors import UsageError
from testbed.faults.actions import ACTION_KINDS, Action, fault_id, make_action
from testbed.faults.reach import reach
from testbed.faults.targets import LinkTarget, NicTarget, SwitchTarget, Target, parse_target
from testbed.units import parse_ratio
from topologies.graph import Graph
from topologies.names import parse_switch

MAX_COUNT = 1000


@dataclass(frozen=True, slots=True)
class Move:
    """Faults that begin and faults that end together, ``offset_ns`` after the first move.

    ``clears``: targets that are rid of whatever is in force on them.
    """

    offset_ns: int
    injects: tuple[Action, ...] = ()
    heals: tuple[str, ...] = ()
    clears: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a drill happens: its graph, and how long a base RTT is there."""

    graph: Graph
    rtt_ns: int

    def span_ns(self, text: str) -> int:
        """A length of time above 0. Raises ValueError."""
        found = parse_span_ns(text, self.rtt_ns)
        if found <= 0:
            raise ValueError(f"'{text}' is no time at all: write one like 10rtt")
        return found


def read_moves(verb: str, section: Section, place: Place) -> list[Move]:
    """The moves of an entry with this verb, earliest first; [] where it has faults."""
    had = len(section.faults)
    moves = list(VERBS[verb](section, place, verb))
    return moves if len(section.faults) == had else []


# --- plain faults ---------------------------------------------------------------------------


def _plain(section: Section, place: Place, verb: str) -> Iterator[Move]:
    ratio = section.read("ratio", parse_ratio, 0.0) if "ratio" in section else None
    length_ns = section.read("for", place.span_ns, 0)
    actions = _actions(section, place, verb, None if verb == "fail" else verb, ratio)
    yield Move(0, actions)
    if length_ns:
        yield Move(length_ns, heals=tuple(map(fault_id, reversed(actions))))


def _actions(section: Section, place: Place, key: str, kind: str | None,
             ratio: float | None = None) -> tuple[Action, ...]:
    """One action per target named under a key."""
    found: list[Action] = []
    for text in section.texts(key):
        try:
            target = parse_target(text)
            reach(place.graph, target)
            found.append(make_action(target, kind, ratio))
        except UsageError as error:
            section.fault(key, str(error))
    names = [fault_id(action) for action in found]
    for name in sorted({name for name in names if names.count(name) > 1}):
        section.fault(key, f"{name} is there twice: name each target once")
    return tuple(found)


# --- series ---------------------------------------------------------------------------------


def _flap(section: Section, place: Place, verb: str) -> Iterator[Move]:
    actions = _links(section, place, verb)
    period_ns = _required_span(section, place, "period", "10rtt")
    duty = section.read("duty", parse_ratio, 0.5)
    count = section.read("count", _count, 0)
    if not 0 < duty < 1:
        section.fault("duty", "the share of a period a link is down is above 0% and below 100%")
    if not count:
        section.require("count", "5")
    yield from _down_and_up(actions, count, period_ns, round(duty * period_ns))


def _glitch(section: Section, place: Place, verb: str) -> Iterator[Move]:
    actions = _links(section, place, verb)
    down_ns = _required_span(section, place, "down", "1rtt")
    up_ns = _required_span(section, place, "up", "2rtt")
    count = section.read("flaps", _count, 0)
    if not count:
        section.require("flaps", "4")
    yield from _down_and_up(actions, count, down_ns + up_ns, down_ns)


def _down_and_up(actions: tuple[Action, ...], count: int, period_ns: int,
                 down_ns: int) -> Iterator[Move]:
    names = tuple(map(fault_id, reversed(actions)))
    for number in range(count):
        yield Move(number * period_ns, actions)
        yield Move(number * period_ns + down_ns, heals=names)


def _staircase(section: Section, place: Place, verb: str) -> Iterator[Move]:
    actions = _links(section, place, verb)
    step_ns = _required_span(section, place, "step", "10rtt")
    for number, action in enumerate(actions):
        yield Move(number * step_ns, (action,))
    if section.flag("up"):
        for number, action in enumerate(actions, start=len(actions)):
            yield Move(number * step_ns, heals=(fault_id(action),))


def _reboot(section: Section, place: Place, verb: str) -> Iterator[Move]:
    actions = _actions(section, place, verb, "crash")
    down_ns = _required_span(section, place, "down", "10rtt")
    switches = tuple(action.target for action in actions)
    if any(not isinstance(target, SwitchTarget) for target in switches):
        section.fault(verb, "only switches reboot: write one like switch:p0-t1-2")
    yield Move(0, actions, clears=switches)
    yield Move(down_ns, heals=tuple(map(fault_id, reversed(actions))))


def _random(section: Section, place: Place, verb: str) -> Iterator[Move]:
    """Each flap begins an exponential time after the one before, on a link that is up."""
    links = _drawn_from(section, place, verb)
    every_ns = _required_span(section, place, "every", "8rtt")
    down_ns = _required_span(section, place, "for", "4rtt")
    count = section.read("count", _count, 0)
    seed = section.read("seed", int, 1)
    if not count:
        section.require("count", "10")
    rng, at_ns = random.Random(f"flaps {seed}"), 0.0
    up_at_ns: dict[str, int] = {}
    moves: list[Move] = []
    for _ in range(count if links else 0):
        now_ns = round(at_ns)
        is_up = [link for link in links if up_at_ns.get(fault_id(link), -1) < now_ns]
        if is_up:
            action = rng.choice(is_up)
            up_at_ns[fault_id(action)] = now_ns + down_ns
            moves += [Move(now_ns, (action,)), Move(now_ns + down_ns, heals=(fault_id(action),))]
        at_ns += rng.expovariate(1 / max(1, every_ns))
    yield from sorted(moves, key=lambda move: move.offset_ns)


def _drawn_from(section: Section, place: Place, verb: str) -> tuple[Action, ...]:
    """``uplinks`` and ``nics`` are all there are; otherwise what is listed."""
    words = section.texts(verb)
    if words == ("uplinks",):
        return tuple(make_action(LinkTarget(switch.name, port.peer.node))
                     for switch in place.graph.switches for port in switch.ports
                     if _is_uplink(switch.name, port.peer.node))
    if words == ("nics",):
        return tuple(make_action(NicTarget(host.index, plane))
                     for host in place.graph.hosts for plane in range(place.graph.spec.planes))
    return _links(section, place, verb)


def _is_uplink(switch: str, peer: str) -> bool:
    here, there = parse_switch(switch), parse_switch(peer)
    return here is not None and there is not None and here[1] == 0 and there[1] == 1


def _links(section: Section, place: Place, verb: str) -> tuple[Action, ...]:
    actions = _actions(section, place, verb, None)
    for action in actions:
        if action.kind != "down":
            section.fault(verb, f"{action.target} has no link to take down: name links, NIC "
                                "ports, ports or planes")
    return actions


def _required_span(section: Section, place: Place, key: str, example: str) -> int:
    if key not in section:
        section.require(key, example)
        return 1
    return section.read(key, place.span_ns, 1)


def _count(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_COUNT:
        return int(text)
    raise ValueError(f"'{text}' is not allowed: use 1 to {MAX_COUNT}")


_Read = Callable[[Section, Place, str], Iterator[Move]]
_SERIES: Mapping[str, _Read] = {
    "flap": _flap, "staircase": _staircase, "glitch": _glitch, "reboot": _reboot,
    "random": _random,
}
VERBS: Mapping[str, _Read] = {
    "fail": _plain, **dict.fromkeys(ACTION_KINDS, _plain), **_SERIES}
SERIES: Sequence[str] = tuple(_SERIES)
"""Verbs whose links must be up when they take them down."""
