"""The double binary tree: its shape, its places in STAGING, its load and latency."""

from __future__ import annotations

import pytest
from unit.workloads.collectives.collectives_rig import (
    into,
    loads,
    longest_chain,
    out_of,
    run,
    schedules_of,
)

from workloads.collectives import tree
from workloads.collectives.schedule import Area, Receive, Send, Shape
from workloads.collectives.tree import Node, node

RANKS = [*range(2, 21), 31, 32, 33, 64]


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("which", [0, 1])
def test_it_is_a_binary_tree_of_logarithmic_depth(which: int, ranks: int) -> None:
    nodes = [node(rank, which, ranks) for rank in range(ranks)]
    (root,) = [rank for rank in range(ranks) if nodes[rank].parent is None]
    depths, level = {root: 0}, [root]
    while level:
        below = [(rank, child) for rank in level for child in nodes[rank].children]
        for rank, child in below:
            assert child not in depths
            assert nodes[child].parent == rank
            assert nodes[child].is_second == (nodes[rank].children.index(child) == 1)
            depths[child] = depths[rank] + 1
        level = [child for _, child in below]
    assert len(depths) == ranks
    assert max(depths.values()) <= (ranks - 1).bit_length()
    assert all(len(one.children) <= 2 for one in nodes)


@pytest.mark.parametrize("ranks", RANKS)
def test_inner_nodes_of_one_tree_are_leaves_of_the_other(ranks: int) -> None:
    for rank in range(ranks):
        children = [len(node(rank, which, ranks).children) for which in (0, 1)]
        if rank == 0 and ranks % 2:
            assert children == [1, 1]  # the only one that is in the middle of both
        else:
            assert min(children) == 0


def test_trees_of_four_in_full() -> None:
    assert [node(rank, 0, 4) for rank in range(4)] == [
        Node(None, (2,), False), Node(2, (), False), Node(0, (1, 3), False), Node(2, (), True)]
    assert [node(rank, 1, 4).parent for rank in range(4)] == [1, 3, 1, None]


def test_a_node_with_two_children_in_full() -> None:
    # Rank 2 of four: elements 0 and 1 by tree A, where 1 and 3 are below it; in B a leaf.
    sends, receives, copies = tree.all_reduce(2, Shape(4, 4, 2))
    assert receives == (
        Receive(1, 0, 0, 2, Area.INPUT, 0),
        Receive(3, 0, 0, 2, Area.OUTPUT, 2, (0,)),
        Receive(0, 0, 0, 2),
        Receive(1, 1, 2, 2),
    )
    assert sends == (
        Send(0, 0, 0, Area.OUTPUT, 0, 2, Area.STAGING, 0, (1,)),
        Send(1, 0, 0, Area.OUTPUT, 0, 2, Area.OUTPUT, 0, (2,)),
        Send(3, 0, 0, Area.OUTPUT, 0, 2, Area.OUTPUT, 0, (2,)),
        Send(1, 1, 1, Area.INPUT, 2, 2, Area.STAGING, 2),
    )
    assert copies == ()


@pytest.mark.parametrize("ranks", RANKS)
def test_latency_of_one_segment_is_twice_the_depth(ranks: int) -> None:
    depth = (ranks - 1).bit_length()
    schedules = schedules_of("allreduce", "tree", Shape(ranks, 60, 60))
    assert longest_chain(schedules) <= 2 * depth
    # An odd element waits for permission at every level: still within 4 log2(n).
    assert longest_chain(schedules_of("allreduce", "tree", Shape(ranks, 1, 60))) <= 4 * depth


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_no_rank_carries_more_than_twice_the_data(ranks: int, channels: int) -> None:
    count = 240
    schedules = schedules_of("allreduce", "tree", Shape(ranks, count, 7, channels))
    assert max(out_of(schedules) + into(schedules)) <= 2 * count
    # All together what a ring carries: 2 (n - 1) times the data.
    assert sum(out_of(schedules)) == 2 * (ranks - 1) * count
    assert max(loads(schedules).values()) <= count


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_both_trees_are_used_however_many_channels(channels: int) -> None:
    schedules = schedules_of("allreduce", "tree", Shape(6, 96, 1, channels))
    # On top of tree A, a leaf of tree B: what rank 0 sends up is tree B's half.
    up = [send for send in schedules[0].sends if send.target is Area.STAGING]
    assert sum(send.count for send in up) == 48
    assert {send.peer for send in up} == {node(0, 1, 6).parent}


def test_only_an_odd_element_needs_permission() -> None:
    def empty(count: int) -> int:
        schedules = schedules_of("allreduce", "tree", Shape(7, count, 4, 3))
        return sum(not send.count for schedule in schedules for send in schedule.sends)

    # Seven ranks: 2 and 4 have two children in tree A.
    assert [empty(count) for count in range(1, 7)] == [2, 0, 2, 0, 2, 0]
    for seed in range(30):
        run("allreduce", "tree", Shape(7, 5, 4, 3), seed)
