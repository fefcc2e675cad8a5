"""What one rank sends and receives in a collective: arithmetic, no time, no network.

Every rank has three areas of ``count`` elements each: INPUT, which nobody writes to, OUTPUT,
where the result comes to be, and STAGING, where parts that are still to be added arrive. A
message takes elements of INPUT or OUTPUT of one rank to OUTPUT or STAGING of another.

Synchronisation is in the messages themselves: each is a write with immediate, so its
receiver learns that it is there, and what may follow names what it waits for (`after`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple


class Area(IntEnum):
    """The three areas of a rank."""

    INPUT = 0
    OUTPUT = 1
    STAGING = 2


class Send(NamedTuple):
    """A message to rank ``peer``: ``count`` elements (0 or more) of ``source`` from ``start`` on.

    It goes to ``target`` of the peer, from ``target_start`` on, as soon as the receives
    ``after`` (indices into :attr:`Schedule.receives`) are complete. ``tag`` tells apart the
    messages from this rank to this peer; ``lane`` chooses among their connections.
    """

    peer: int
    tag: int
    lane: int
    source: Area
    start: int
    count: int  # type: ignore[assignment]  # hides tuple.count
    target: Area
    target_start: int
    after: tuple[int, ...] = ()


class Receive(NamedTuple):
    """A message from rank ``peer``, which calls it ``tag``, about OUTPUT from ``start`` on.

    Where ``own`` is an area, OUTPUT becomes the sum of that area, at the same elements, and
    STAGING from ``staged`` on; otherwise the write itself has put it in place. It is complete
    when this is done, not before the receives ``after`` are.
    """

    peer: int
    tag: int
    start: int
    count: int  # type: ignore[assignment]  # hides tuple.count
    own: Area | None = None
    staged: int = 0
    after: tuple[int, ...] = ()


class Span(NamedTuple):
    """``count`` elements from ``start`` on."""

    start: int
    count: int  # type: ignore[assignment]  # hides tuple.count


class Schedule(NamedTuple):
    """One rank's part. ``copies`` are taken from INPUT to OUTPUT, same place, at the start."""

    sends: tuple[Send, ...] = ()
    receives: tuple[Receive, ...] = ()
    copies: tuple[Span, ...] = ()


class Expected(NamedTuple):
    """OUTPUT of a rank from ``start`` on: the sum of INPUT of ``ranks`` from ``source`` on."""

    start: int
    count: int  # type: ignore[assignment]  # hides tuple.count
    ranks: Sequence[int]
    source: int


class Shape(NamedTuple):
    """How a collective is cut up: ``ranks`` and ``count`` elements in all, in messages of at
    most ``segment`` elements, in ``channels`` parts that go their way independently.
    """

    ranks: int
    count: int  # type: ignore[assignment]  # hides tuple.count
    segment: int
    channels: int = 1


def part(span: Span, index: int, parts: int) -> Span:
    """One of ``parts`` parts of nearly equal length; the parts make up the whole."""
    first = span.start + span.count * index // parts
    return Span(first, span.start + span.count * (index + 1) // parts - first)


def segments(span: Span, segment: int) -> Iterator[Span]:
    """Its elements in order, at most ``segment`` at a time; none where there are none."""
    end = span.start + span.count
    for start in range(span.start, end, segment):
        yield Span(start, min(segment, end - start))
