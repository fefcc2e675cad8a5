"""Algorithms on a ring: who is spoken to, how much every link carries, how long it takes."""

from __future__ import annotations

import pytest
from unit.workloads.collectives.collectives_rig import (
    loads,
    longest_chain,
    run,
    schedules_of,
)

from workloads.collectives import ring
from workloads.collectives.schedule import Area, Expected, Receive, Send, Shape, Span

RANKS = [2, 3, 4, 5, 8, 9, 16]


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize(
    ("operation", "rounds"), [("allreduce", 2), ("reducescatter", 1), ("allgather", 1)])
def test_every_link_carries_the_least_that_is_possible(
    operation: str, rounds: int, ranks: int
) -> None:
    schedules = schedules_of(operation, "ring", Shape(ranks, ranks * 12, 5, 2))
    # 2 (n - 1)/n of the data for all-reduce, half of it for its halves.
    assert loads(schedules) == {
        (rank, (rank + 1) % ranks): rounds * (ranks - 1) * 12 for rank in range(ranks)}
    assert longest_chain(schedules) == rounds * (ranks - 1)


@pytest.mark.parametrize("ranks", RANKS)
def test_broadcast_passes_everything_along_once(ranks: int) -> None:
    schedules = schedules_of("broadcast", "ring", Shape(ranks, 60, 7, 2))
    assert loads(schedules) == {(rank, rank + 1): 60 for rank in range(ranks - 1)}
    assert longest_chain(schedules) == ranks - 1


def test_segments_are_forwarded_before_the_chunk_is_there() -> None:
    # Every segment goes its own way: none waits for another of its chunk.
    schedule = ring.all_reduce(0, Shape(4, 80, 5))
    assert all(len(send.after) <= 1 for send in schedule.sends)
    assert len(schedule.sends) == 2 * 3 * 4
    for send in schedule.sends:
        for index in send.after:
            receive = schedule.receives[index]
            assert (receive.start, receive.count) == (send.start, send.count)


def test_all_reduce_of_two_ranks_in_full() -> None:
    assert ring.all_reduce(0, Shape(2, 2, 9)) == (
        (Send(1, 0, 0, Area.INPUT, 1, 1, Area.STAGING, 1),
         Send(1, 1, 1, Area.OUTPUT, 0, 1, Area.OUTPUT, 0, (0,))),
        (Receive(1, 0, 0, 1, Area.INPUT, 0), Receive(1, 1, 1, 1, None, 1)),
        (),
    )


def test_reduce_scatter_leaves_each_rank_its_chunk_cut_for_the_channels() -> None:
    shape = Shape(2, 8, 9, 2)
    assert ring.chunks(1, shape) == [Span(4, 2), Span(6, 2)]
    assert ring.expect_own_sum(1, shape) == [
        Expected(4, 2, range(2), 4), Expected(6, 2, range(2), 6)]
    run("reducescatter", "ring", shape)


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_the_share_of_a_rank_is_in_one_place_however_many_channels(channels: int) -> None:
    one = [ring.chunks(owner, Shape(3, 18, 9))[0] for owner in range(3)]
    for owner, (start, count) in enumerate(one):
        elements = [e for span in ring.chunks(owner, Shape(3, 18, 9, channels))
                    for e in range(span.start, span.start + span.count)]
        assert elements == list(range(start, start + count))
        assert count == 6


def test_all_gather_copies_its_own_chunk_only() -> None:
    assert ring.all_gather(1, Shape(3, 9, 9)).copies == (Span(3, 3),)
    assert ring.all_gather(2, Shape(3, 1, 9)).copies == (Span(0, 1),)
    assert ring.all_gather(0, Shape(3, 1, 9)).copies == ()


def test_the_root_of_a_broadcast_copies_the_others_do_not() -> None:
    assert [ring.broadcast(rank, Shape(3, 4, 9)).copies for rank in range(3)] == [
        (Span(0, 4),), (), ()]
