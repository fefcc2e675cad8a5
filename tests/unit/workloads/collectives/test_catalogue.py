"""Every operation by every algorithm: right in any order of messages, whatever the shape."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from unit.workloads.collectives.collectives_rig import (
    ALGORITHMS,
    into,
    loads,
    out_of,
    run,
    schedules_of,
)

from workloads.collectives.catalogue import OPERATIONS
from workloads.collectives.group import MAX_TAG
from workloads.collectives.schedule import Shape

shapes = st.builds(Shape, st.sampled_from([*range(2, 10), 16]), st.integers(0, 60),
                   st.integers(1, 20), st.integers(1, 4))


@pytest.mark.parametrize(("operation", "algorithm"), ALGORITHMS)
@given(shape=shapes, seed=st.integers(0, 1000))
@example(shape=Shape(16, 60, 1, 4), seed=1)
@example(shape=Shape(9, 59, 3, 3), seed=2)
@settings(deadline=None, max_examples=150)
def test_it_comes_out_right(operation: str, algorithm: str, shape: Shape, seed: int) -> None:
    run(operation, algorithm, shape, seed)


@pytest.mark.parametrize(("operation", "algorithm"), ALGORITHMS)
@pytest.mark.parametrize("ranks", [2, 3, 4, 7])
def test_the_smallest_are_right(operation: str, algorithm: str, ranks: int) -> None:
    for count in range(12):
        for channels in range(1, 4):
            for segment in (1, 2, 20):
                run(operation, algorithm, Shape(ranks, count, segment, channels), count)


@pytest.mark.parametrize(("operation", "algorithm"), ALGORITHMS)
def test_of_no_elements_there_are_no_messages(operation: str, algorithm: str) -> None:
    for schedule in schedules_of(operation, algorithm, Shape(5, 0, 4, 2)):
        assert schedule == ((), (), ())


@pytest.mark.parametrize(("operation", "algorithm"), ALGORITHMS)
def test_empty_parts_make_no_messages(operation: str, algorithm: str) -> None:
    # Fewer elements than ranks and channels: of an even number there are only full messages.
    for count in (2, 4, 6):
        for schedule in schedules_of(operation, algorithm, Shape(9, count, 4, 4)):
            assert all(send.count for send in schedule.sends)
            assert all(span.count for span in schedule.copies)


@pytest.mark.parametrize(("operation", "algorithm"), ALGORITHMS)
def test_tags_are_as_many_as_messages_between_two(operation: str, algorithm: str) -> None:
    for schedule in schedules_of(operation, algorithm, Shape(8, 8 * 64, 4, 2)):
        per_peer = {peer: [send.tag for send in schedule.sends if send.peer == peer]
                    for peer in {send.peer for send in schedule.sends}}
        for tags in per_peer.values():
            assert len(set(tags)) == len(tags)
            assert max(tags) <= max(len(schedule.sends), 8 * 64 // 4) <= MAX_TAG


@pytest.mark.parametrize(("operation", "algorithm"), ALGORITHMS)
def test_tags_fit_where_a_plan_cuts_the_finest(operation: str, algorithm: str) -> None:
    # Segments of a 4096th of the whole, the least a plan allows.
    make = OPERATIONS[operation].algorithms[algorithm]
    for ranks, count, channels in ((2, 4096, 1), (64, 4096, 8), (85, 100_000, 16)):
        schedule = make(0, Shape(ranks, count, -(-count // 4096), channels))
        assert max(send.tag for send in schedule.sends) <= MAX_TAG


@pytest.mark.parametrize(("operation", "algorithm"), ALGORITHMS)
@pytest.mark.parametrize("ranks", [2, 3, 4, 5, 8, 9, 16])
def test_the_bus_factor_is_what_a_rank_sends_on_average(
    operation: str, algorithm: str, ranks: int
) -> None:
    count = ranks * 12
    schedules = schedules_of(operation, algorithm, Shape(ranks, count, 5, 2))
    sent = sum(out_of(schedules))
    assert sent == sum(into(schedules)) == sum(loads(schedules).values())
    factor = OPERATIONS[operation].bus_factor(ranks)
    # The last rank of a broadcast has nobody to pass it on to; n - 1 links carry all of it.
    senders = ranks - 1 if operation == "broadcast" else ranks
    assert Fraction(sent, count * senders) == factor


def test_the_default_is_what_nccl_tests_is_compared_with() -> None:
    assert {name: next(iter(about.algorithms)) for name, about in OPERATIONS.items()} == {
        "allreduce": "ring", "allgather": "ring", "reducescatter": "ring",
        "alltoall": "direct", "broadcast": "ring", "sendrecv": "direct"}
    assert OPERATIONS["allreduce"].bus_factor(4) == Fraction(3, 2)
    assert OPERATIONS["alltoall"].bus_factor(4) == Fraction(3, 4)
    assert [name for name, about in OPERATIONS.items() if about.is_reduction] == [
        "allreduce", "reducescatter"]
