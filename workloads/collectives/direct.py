"""Algorithms without anybody between: every message goes from where it is to where it belongs.

    all-to-all      a + (n - 1)/n S/B: each rank sends block d of its input to rank d, all of
                    them at once; the fabric, with a congestion window per queue pair, shares
                    out every host's bandwidth. Each begins with the next rank, then the one
                    after that, so that not all begin with the same (the posted sends and
                    receives of Thakur, Rabenseifner, Gropp, "Optimization of collective
                    communication operations in MPICH", 2005, for messages of medium size)
    send/recv       a + S/B: to the next rank, from the one before
    barrier         ceil(log2 n) a: in round k to the rank 2^k further (dissemination;
                    Hensgen, Finkel, Manber, "Two algorithms for barrier synchronization",
                    1988)
"""

from __future__ import annotations

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


def all_to_all(rank: int, shape: Shape) -> Schedule:
    """OUTPUT block s of rank r is INPUT block r of rank s."""
    ranks = shape.ranks
    sends: list[Send] = []
    receives: list[Receive] = []
    for step in range(1, ranks):
        to, source = (rank + step) % ranks, (rank - step) % ranks
        # Blocks may differ by an element: as many are sent as the receiver has room for.
        count = _message(rank, to, shape)
        for tag, piece in enumerate(segments(Span(0, count), shape.segment)):
            sends.append(Send(to, tag, tag, Area.INPUT, block(to, shape).start + piece.start,
                              piece.count, Area.OUTPUT, block(rank, shape).start + piece.start))
        count = _message(source, rank, shape)
        for tag, piece in enumerate(segments(Span(0, count), shape.segment)):
            receives.append(Receive(source, tag, block(source, shape).start + piece.start,
                                    piece.count))
    own = block(rank, shape)
    return Schedule(tuple(sends), tuple(receives), (own,) if own.count else ())


def expect_blocks(rank: int, shape: Shape) -> list[Expected]:
    """After `all_to_all`."""
    return [Expected(block(source, shape).start, _message(source, rank, shape), (source,),
                     block(rank, shape).start)
            for source in range(shape.ranks)]


def block(rank: int, shape: Shape) -> Span:
    """The part of an area that is to or from this rank."""
    return part(Span(0, shape.count), rank, shape.ranks)


def _message(source: int, to: int, shape: Shape) -> int:
    """Elements of the block from one rank to another: what both have room for."""
    return min(block(source, shape).count, block(to, shape).count)


def send_recv(rank: int, shape: Shape) -> Schedule:
    """Every rank gets the input of the one before."""
    ranks = shape.ranks
    pieces = list(enumerate(segments(Span(0, shape.count), shape.segment)))
    return Schedule(
        tuple(Send((rank + 1) % ranks, tag, tag, Area.INPUT, *piece, Area.OUTPUT, piece.start)
              for tag, piece in pieces),
        tuple(Receive((rank - 1) % ranks, tag, *piece) for tag, piece in pieces),
    )


def expect_previous(rank: int, shape: Shape) -> list[Expected]:
    """After `send_recv`."""
    return [Expected(0, shape.count, ((rank - 1) % shape.ranks,), 0)]


def barrier(rank: int, ranks: int) -> Schedule:
    """Complete on no rank before all have begun."""
    rounds = range((ranks - 1).bit_length())
    return Schedule(
        tuple(Send((rank + (1 << k)) % ranks, k, 0, Area.INPUT, 0, 0, Area.OUTPUT, 0,
                   (k - 1,) if k else ()) for k in rounds),
        tuple(Receive((rank - (1 << k)) % ranks, k, 0, 0, None, 0, (k - 1,) if k else ())
              for k in rounds),
    )
