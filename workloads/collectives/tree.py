"""All-reduce on two binary trees: short messages in logarithmic time, long ones at full rate.

Half of the data is reduced up and broadcast down tree A, the other half tree B, segment by
segment. Inner nodes of one tree are leaves of the other, so every rank sends and receives
about as much as any other (Sanders, Speck, Traeff, "Two-tree algorithms for full bandwidth
broadcast, reduction and scan", Parallel Computing 35, 2009; NCCL has it since 2.4):

    about 4 log2(n) a + 2 S/B

for S bytes, n ranks, latency a of a message and bandwidth B, where a rank takes one message
at a time. Two children may send at once here, so a single segment needs 2 ceil(log2 n) a.

Tree A has rank 0 on top, and below it ranks 1 to n - 1 in order: odd ones are leaves, and the
lowest bit that is set is the height of the others. In tree B rank r is where n - 1 - r is in
A, or r - 1 if n is odd; rank 0 is then an inner node of both, with one child in each.

A node with two children stages what they send at two places: the first child's part where
it belongs, the second's in the partner, the equally long part of the other tree. There the
node is a leaf and stages nothing. An odd element at the end has no partner: its second child
waits until the node, done with the first, tells it to go on (a message without elements).

What comes down overwrites in OUTPUT the partial sum that went up from there. It contains that
sum, so that message has arrived long before, and need not be waited for.
"""

from __future__ import annotations

from typing import NamedTuple

from workloads.collectives.schedule import (
    Area,
    Receive,
    Schedule,
    Send,
    Shape,
    Span,
    part,
    segments,
)

_Receives = tuple[int, ...]


def all_reduce(rank: int, shape: Shape) -> Schedule:
    """Every rank gets the sum of all inputs. Channels 2 i and 2 i + 1 are a pair of trees."""
    trees = [node(rank, tree, shape.ranks) for tree in (0, 1)]
    building = _Building(shape.segment)
    pairs = -(-shape.channels // 2)
    for pair in range(pairs):
        start, count = part(Span(0, shape.count // 2), pair, pairs)
        halves = Span(2 * start, count), Span(2 * start + count, count)
        for tree in (0, 1):
            building.add(trees[tree], halves[tree], halves[1 - tree].start)
    if shape.count % 2:
        building.add(trees[0], Span(shape.count - 1, 1), shape.count - 1)
    return building.schedule()


class Node(NamedTuple):
    """A rank's place in a tree; ``is_second`` of the two children of its parent."""

    parent: int | None
    children: tuple[int, ...]
    is_second: bool


def node(rank: int, tree: int, ranks: int) -> Node:
    """Where a rank is in tree 0 (A) or 1 (B)."""
    parents = {_at(place, tree, ranks): _at(_above(place, ranks), tree, ranks)
               for place in range(1, ranks)}
    children = tuple(child for child, parent in parents.items() if parent == rank)
    parent = parents.get(rank)
    siblings = [child for child in parents if parents[child] == parent]
    return Node(parent, children, rank in siblings[1:])


def _above(place: int, ranks: int) -> int:
    """The place in tree A that a place other than the top hangs from."""
    lowest = place & -place
    above = place - lowest | 2 * lowest
    return above if above < ranks else place - lowest


def _at(place: int, tree: int, ranks: int) -> int:
    """The rank at a place of a tree."""
    if tree == 0:
        return place
    return (place + 1) % ranks if ranks % 2 else ranks - 1 - place


class _Building:
    """Collects what one rank does. Every rank numbers the segments alike: these are the tags."""

    def __init__(self, segment: int) -> None:
        self._segment, self._tag = segment, 0
        self._sends: list[Send] = []
        self._receives: list[Receive] = []

    def schedule(self) -> Schedule:
        return Schedule(tuple(self._sends), tuple(self._receives))

    def add(self, place: Node, span: Span, second: int) -> None:
        """Reduce and broadcast; second children's elements are staged from ``second`` on."""
        for piece in segments(span, self._segment):
            staged = piece.start, second + piece.start - span.start
            self._broadcast(place, piece, self._reduce(place, piece, staged))
            self._tag += 1

    def _reduce(self, place: Node, piece: Span, staged: tuple[int, int]) -> _Receives:
        """Returns what has to be there before this rank may send the piece down."""
        is_shared = staged[0] == staged[1]
        there: _Receives = ()
        for child, start in zip(place.children, staged, strict=False):
            if there and is_shared:
                self._sends.append(Send(child, self._tag + 1, self._tag, Area.INPUT, 0, 0,
                                        Area.OUTPUT, 0, there))
            own = Area.OUTPUT if there else Area.INPUT
            there = self._receive(Receive(child, self._tag, *piece, own, start, there))
        if place.parent is None:
            return there
        source = Area.OUTPUT if there else Area.INPUT
        if is_shared and place.is_second:
            there += self._receive(Receive(place.parent, self._tag + 1, 0, 0))
        self._sends.append(Send(place.parent, self._tag, self._tag, source, *piece, Area.STAGING,
                                staged[place.is_second], there))
        return self._receive(Receive(place.parent, self._tag, *piece))

    def _broadcast(self, place: Node, piece: Span, there: _Receives) -> None:
        self._sends += [Send(child, self._tag, self._tag, Area.OUTPUT, *piece, Area.OUTPUT,
                             piece.start, there) for child in place.children]

    def _receive(self, receive: Receive) -> _Receives:
        self._receives.append(receive)
        return (len(self._receives) - 1,)
