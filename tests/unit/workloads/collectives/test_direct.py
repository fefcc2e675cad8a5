"""All-to-all, send/recv and the barrier."""

from __future__ import annotations

import pytest
from unit.workloads.collectives.collectives_rig import (
    Run,
    loads,
    longest_chain,
    out_of,
    run,
    schedules_of,
)

from workloads.collectives import direct
from workloads.collectives.schedule import Area, Expected, Schedule, Send, Shape, Span

RANKS = [2, 3, 4, 5, 8, 9, 16]


@pytest.mark.parametrize("ranks", RANKS)
def test_all_to_all_sends_a_block_to_everybody_else(ranks: int) -> None:
    schedules = schedules_of("alltoall", "direct", Shape(ranks, ranks * 12, 5))
    assert loads(schedules) == {
        (one, other): 12 for one in range(ranks) for other in range(ranks) if one != other}
    assert out_of(schedules) == [(ranks - 1) * 12] * ranks
    assert longest_chain(schedules) == 1


def test_no_two_ranks_begin_with_the_same_peer() -> None:
    schedules = schedules_of("alltoall", "direct", Shape(6, 60, 100))
    for step in range(5):
        assert len({schedule.sends[step].peer for schedule in schedules}) == 6


def test_blocks_that_differ_by_an_element_are_sent_as_far_as_both_have_room() -> None:
    shape = Shape(3, 8, 9)
    assert [direct.block(rank, shape) for rank in range(3)] == [(0, 2), (2, 3), (5, 3)]
    assert direct.expect_blocks(1, shape) == [
        Expected(0, 2, (0,), 2), Expected(2, 3, (1,), 2), Expected(5, 3, (2,), 2)]
    assert direct.expect_blocks(0, shape)[2] == Expected(5, 2, (2,), 0)
    run("alltoall", "direct", shape)


@pytest.mark.parametrize("ranks", RANKS)
def test_send_recv_moves_everything_one_on(ranks: int) -> None:
    schedules = schedules_of("sendrecv", "direct", Shape(ranks, 50, 8))
    assert loads(schedules) == {(rank, (rank + 1) % ranks): 50 for rank in range(ranks)}
    assert longest_chain(schedules) == 1
    assert direct.expect_previous(0, Shape(ranks, 50, 8)) == [Expected(0, 50, (ranks - 1,), 0)]


def barriers(ranks: int) -> list[Schedule]:
    return [direct.barrier(rank, ranks) for rank in range(ranks)]


@pytest.mark.parametrize("ranks", range(2, 21))
def test_nobody_leaves_a_barrier_before_all_have_come(ranks: int) -> None:
    for late in range(ranks):
        done = Run(barriers(ranks), 0, seed=late, held=[late])
        assert done.complete_without == []
        done.check(lambda rank: [])


@pytest.mark.parametrize("ranks", range(2, 21))
def test_a_barrier_takes_log2_n_rounds_of_empty_messages(ranks: int) -> None:
    assert longest_chain(barriers(ranks)) == (ranks - 1).bit_length()
    assert set(out_of(barriers(ranks))) == {0}


def test_a_barrier_with_a_round_too_few_lets_somebody_through() -> None:
    # What the test above looks for can be found: the last round of five ranks left out.
    short = [Schedule(schedule.sends[:-1], schedule.receives[:-1]) for schedule in barriers(5)]
    assert Run(short, 0, held=[0]).complete_without


def test_a_barrier_of_three_in_full() -> None:
    sends = direct.barrier(1, 3).sends
    assert sends == (Send(2, 0, 0, Area.INPUT, 0, 0, Area.OUTPUT, 0),
                     Send(0, 1, 0, Area.INPUT, 0, 0, Area.OUTPUT, 0, (0,)))
    assert direct.all_to_all(1, Shape(3, 9, 9)).copies == (Span(3, 3),)
