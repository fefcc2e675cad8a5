"""Algorithms on a ring: every rank sends to the next and receives from the one before.

Reduce-scatter: in n - 1 steps every chunk travels once around, each rank adding its own part,
and ends where it belongs. All-gather: in n - 1 steps every rank's chunk travels once around.
All-reduce is the one after the other. Each step moves 1/n of the data on every link, so for
S bytes, n ranks, latency a of a message and bandwidth B

    all-reduce                    2 (n - 1) a + 2 (n - 1)/n S/B
    reduce-scatter, all-gather      (n - 1) a +   (n - 1)/n S/B

which is the least any algorithm can take for large S (Patarasuk and Yuan, "Bandwidth optimal
all-reduce algorithms for clusters of workstations", J. Parallel Distrib. Comput. 69, 2009).
Chunks are cut in segments, each forwarded as soon as it is there, so all but the first pay no
latency. Broadcast passes segments along from the root: (n - 1) a + S/B for many segments
(Patarasuk, Faraj and Yuan, "Pipelined broadcast on Ethernet switched clusters", J. Parallel
Distrib. Comput. 68, 2008).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from workloads.collectives.schedule import (
    Area,
    Expected,
    Receive,
    Schedule,
    Send,
    Shape,
    Span,
    part,
    segments,
)


def all_reduce(rank: int, shape: Shape) -> Schedule:
    """Every rank gets the sum of all inputs."""
    ring = _Ring(rank, shape)
    ring.reduce_scatter()
    ring.all_gather()
    return ring.schedule()


def reduce_scatter(rank: int, shape: Shape) -> Schedule:
    """Rank r gets the sum of chunk r of all inputs; other chunks of OUTPUT are scratch."""
    ring = _Ring(rank, shape)
    ring.reduce_scatter()
    return ring.schedule()


def all_gather(rank: int, shape: Shape) -> Schedule:
    """Every rank gets chunk r of rank r's input, for all r."""
    ring = _Ring(rank, shape)
    ring.all_gather()
    return ring.schedule([chunk for chunk in ring.chunks(rank) if chunk.count])


def broadcast(rank: int, shape: Shape) -> Schedule:
    """Every rank gets the input of rank 0."""
    ring = _Ring(rank, shape)
    ring.pass_along()
    return ring.schedule([Span(0, shape.count)] if rank == 0 and shape.count else [])


def expect_sum(rank: int, shape: Shape) -> list[Expected]:
    """After `all_reduce`."""
    return [Expected(0, shape.count, range(shape.ranks), 0)]


def expect_own_sum(rank: int, shape: Shape) -> list[Expected]:
    """After `reduce_scatter`."""
    return [Expected(chunk.start, chunk.count, range(shape.ranks), chunk.start)
            for chunk in chunks(rank, shape)]


def expect_chunks(rank: int, shape: Shape) -> list[Expected]:
    """After `all_gather`."""
    return [Expected(chunk.start, chunk.count, (owner,), chunk.start)
            for owner in range(shape.ranks) for chunk in chunks(owner, shape)]


def expect_root(rank: int, shape: Shape) -> list[Expected]:
    """After `broadcast`."""
    return [Expected(0, shape.count, (0,), 0)]


def chunks(owner: int, shape: Shape) -> list[Span]:
    """The chunk of a rank, all in one place, cut for the channels."""
    chunk = part(Span(0, shape.count), owner, shape.ranks)
    return [part(chunk, channel, shape.channels) for channel in range(shape.channels)]


class _Ring:
    """Collects what one rank does, step by step; both neighbours count messages alike."""

    def __init__(self, rank: int, shape: Shape) -> None:
        self._rank, self._shape = rank, shape
        self._sends: list[Send] = []
        self._receives: list[Receive] = []
        self._there: dict[Span, int] = {}  # segments that were received: by which receive

    def chunks(self, owner: int) -> list[Span]:
        return chunks(owner % self._shape.ranks, self._shape)

    def schedule(self, copies: Sequence[Span] = ()) -> Schedule:
        return Schedule(tuple(self._sends), tuple(self._receives), tuple(copies))

    def reduce_scatter(self) -> None:
        """Chunk c begins at rank c + 1 and ends, complete, at rank c."""
        for step in range(self._shape.ranks - 1):
            source = Area.OUTPUT if step else Area.INPUT
            self._send(self._rank - step - 1, source, Area.STAGING)
            self._receive(self._rank - step - 2, Area.INPUT)

    def all_gather(self) -> None:
        """Chunk c begins at rank c; it is taken from OUTPUT where it came to be there."""
        for step in range(self._shape.ranks - 1):
            source = Area.OUTPUT if step or self._there else Area.INPUT
            self._send(self._rank - step, source, Area.OUTPUT)
            self._receive(self._rank - step - 1, None)

    def pass_along(self) -> None:
        """All of it from rank 0 to 1, 2, ..."""
        whole, rank = Span(0, self._shape.count), self._rank
        for channel in range(self._shape.channels):
            span = part(whole, channel, self._shape.channels)
            if rank:
                self._receive_span(span, None)
            if rank < self._shape.ranks - 1:
                self._send_span(span, Area.OUTPUT if rank else Area.INPUT, Area.OUTPUT)

    def _send(self, owner: int, source: Area, target: Area) -> None:
        for span in self.chunks(owner):
            self._send_span(span, source, target)

    def _send_span(self, span: Span, source: Area, target: Area) -> None:
        peer = (self._rank + 1) % self._shape.ranks
        for piece in self._pieces(span):
            tag = len(self._sends)
            after = (self._there[piece],) if piece in self._there else ()
            self._sends.append(Send(peer, tag, tag, source, piece.start, piece.count,
                                    target, piece.start, after))

    def _receive(self, owner: int, own: Area | None) -> None:
        for span in self.chunks(owner):
            self._receive_span(span, own)

    def _receive_span(self, span: Span, own: Area | None) -> None:
        peer = (self._rank - 1) % self._shape.ranks
        for piece in self._pieces(span):
            tag = self._there[piece] = len(self._receives)
            self._receives.append(Receive(peer, tag, piece.start, piece.count, own, piece.start))

    def _pieces(self, span: Span) -> Iterator[Span]:
        return segments(span, self._shape.segment)
