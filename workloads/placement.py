"""Which hosts take part, and which is which rank: neighbours in one T0 group or in different.

Rings and permutations pair hosts by their place in a list, so its order decides how much of
the traffic climbs to a T1: little of a ring's where neighbours share a T0, all of it where
they never do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest

from topologies.names import host_name, parse_host
from topologies.spec import ClosSpec

PLACEMENTS = ("local", "striped", "given")

_COUNT = re.compile(r"[0-9]{1,19}")
_SPAN = re.compile(r"(h[0-9]{1,7})(?:-(h[0-9]{1,7}))?")


def place(spec: ClosSpec, hosts: Sequence[int], how: str) -> tuple[int, ...]:
    """The hosts in the order of their ranks.

    ``local``: by T0 group, as in the list within one. ``striped``: one host of each T0 group
    in turn, while there are any. ``given``: as they are. Placing again the same way changes
    nothing. Raises ValueError where a host does not exist or ``how`` is none of these.
    """
    if how not in PLACEMENTS:
        raise ValueError(f"there is no placement '{how}': use {', '.join(PLACEMENTS)}")
    groups: dict[int, list[int]] = {}
    for host in hosts:
        groups.setdefault(spec.t0_of(host), []).append(host)
    if how == "given":
        return tuple(hosts)
    ordered = [groups[t0] for t0 in sorted(groups)]
    return tuple(chain.from_iterable(ordered if how == "local" else _rounds(ordered)))


def _rounds(groups: Sequence[Sequence[int]]) -> Iterable[list[int]]:
    """The first of every group, then the second of every group that has one, ..."""
    for together in zip_longest(*groups):
        yield [host for host in together if host is not None]


@dataclass(frozen=True, slots=True)
class HostChoice:
    """The first so many hosts; or, where ``count`` is None, ``spans`` from first to last."""

    count: int | None
    spans: tuple[tuple[int, int], ...] = ()

    def expand(self, spec: ClosSpec, left_out: Sequence[int] = ()) -> tuple[int, ...]:
        """The hosts, in order; a count takes none of those ``left_out``. Raises ValueError."""
        if self.count is not None:
            there = len(set(range(spec.host_count)) - set(left_out))
            if self.count > there:
                raise ValueError(f"{self.count} hosts are too many: {spec.name} has {there}"
                                 + (" others" if left_out else ""))
            every = (host for host in range(spec.host_count) if host not in left_out)
            return tuple(islice(every, self.count))
        for _, last in self.spans:
            spec.t0_of(last)
        hosts = [host for first, last in self.spans for host in range(first, last + 1)]
        if len(set(hosts)) < len(hosts):
            twice = host_name(min(host for host, times in Counter(hosts).items() if times > 1))
            raise ValueError(f"{twice} is named twice: name every host once")
        return tuple(hosts)


def parse_hosts(text: str) -> HostChoice:
    """Read ``8`` or ``h0,h3,h4-h7``. Raises ValueError."""
    if _COUNT.fullmatch(text):
        return HostChoice(int(text))
    return HostChoice(None, tuple(_span(part.strip()) for part in text.split(",")))


def _span(text: str) -> tuple[int, int]:
    match = _SPAN.fullmatch(text)
    first = parse_host(match[1]) if match else None
    last = parse_host(match[2]) if match and match[2] else first
    if first is None or last is None:
        raise ValueError(f"'{text}' is not a host: write hosts like h0,h3,h4-h7, or how many")
    if last < first:
        raise ValueError(f"'{text}' runs backwards: write h{last}-h{first}, or name each host")
    return first, last
