"""Every collective operation: its algorithms, what comes out, and how bandwidth is counted.

Figures follow nccl-tests: ``size`` is the whole array of S bytes, algbw = S/t, and busbw =
algbw x factor is what the slowest link carries, comparable with its rate whatever the number
of ranks (nccl-tests, doc/PERFORMANCE.md):

    all-reduce 2 (n - 1)/n      reduce-scatter, all-gather, all-to-all (n - 1)/n
    broadcast, send/recv 1
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from workloads.collectives import direct, ring, tree
from workloads.collectives.schedule import Expected, Schedule, Shape

Algorithm = Callable[[int, Shape], Schedule]
"""What a rank does."""


@dataclass(frozen=True, slots=True)
class Operation:
    """``algorithms``: the first is the default. ``expect``: OUTPUT of a rank afterwards.

    ``is_counted_per_rank``: nccl-tests counts the elements of one rank, not of the array.
    ``has_channels``: the array can be cut in parts that go their way independently.
    """

    algorithms: Mapping[str, Algorithm]
    expect: Callable[[int, Shape], list[Expected]]
    bus_factor: Callable[[int], Fraction]
    is_reduction: bool = False
    is_counted_per_rank: bool = False
    has_channels: bool = True


def channels_fault(operation: str, channels: int) -> str | None:
    """What is wrong with so many channels, None where it can have them."""
    if channels == 1 or OPERATIONS[operation].has_channels:
        return None
    return (f"{operation} has no channels, its messages do not depend on each other: leave them "
            "out")


def _share_of_others(ranks: int) -> Fraction:
    return Fraction(ranks - 1, ranks)


def _one(ranks: int) -> Fraction:
    return Fraction(1)


OPERATIONS: Mapping[str, Operation] = {
    "allreduce": Operation(
        {"ring": ring.all_reduce, "tree": tree.all_reduce}, ring.expect_sum,
        lambda ranks: 2 * _share_of_others(ranks), is_reduction=True),
    "allgather": Operation(
        {"ring": ring.all_gather}, ring.expect_chunks, _share_of_others,
        is_counted_per_rank=True),
    "reducescatter": Operation(
        {"ring": ring.reduce_scatter}, ring.expect_own_sum, _share_of_others,
        is_reduction=True, is_counted_per_rank=True),
    "alltoall": Operation(
        {"direct": direct.all_to_all}, direct.expect_blocks, _share_of_others,
        is_counted_per_rank=True, has_channels=False),
    "broadcast": Operation({"ring": ring.broadcast}, ring.expect_root, _one),
    "sendrecv": Operation(
        {"direct": direct.send_recv}, direct.expect_previous, _one, has_channels=False),
}
