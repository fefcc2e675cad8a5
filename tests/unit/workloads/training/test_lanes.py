"""One exchange at a time, and why gradients need no barrier between theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.workloads.collectives.collectives_rig import Broken
from unit.workloads.training.training_rig import Rounds

from workloads.collectives.layout import layouts, memory_bytes
from workloads.collectives.schedule import Expected, Schedule, Shape
from workloads.collectives.tensors import Tensors
from workloads.training.lanes import Lane, Work

BARRIER = Schedule()


class FakeGroup:
    """Remembers what was begun, and ends it when told to."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, Any, int]] = []
        self._ends: dict[int, Callable[[int], None]] = {}

    def begin(self, lane: int, schedule: Schedule, tensors: Any, now_ns: int,
              on_complete: Callable[[int], None]) -> None:  # fmt: skip
        assert lane not in self._ends
        self.begun.append((lane, tensors, now_ns))
        self._ends[lane] = on_complete

    def end(self, lane: int, now_ns: int) -> None:
        self._ends.pop(lane)(now_ns)


def work(memory: bytearray | None = None, times: int = 2, is_thorough: bool = False) -> Work:
    size = 8192
    view = memoryview(memory if memory is not None else bytearray(memory_bytes([size])))
    tensors = Tensors(view, layouts([size], "float")[0], 1, 0)
    return Work(Schedule(), tensors, [Expected(0, size // 4, (0,), 0)], times,
                is_thorough)


def make_lane(total: int, guard: bool) -> tuple[FakeGroup, Lane, list[tuple[int, int]]]:
    group, ended = FakeGroup(), []
    lane = Lane(group, 1, total, lambda wrong, now: ended.append((wrong, now)),  # type: ignore[arg-type]
                (2, BARRIER) if guard else None)
    return group, lane, ended


def begun(group: FakeGroup) -> list[tuple[int, int]]:
    return [(lane, now) for lane, _, now in group.begun]


def test_what_is_asked_for_meanwhile_waits_its_turn() -> None:
    group, lane, ended = make_lane(3, guard=False)
    first, second = work(), work()
    assert lane.is_idle
    lane.ask(first, 10)
    lane.ask(second, 20)
    assert begun(group) == [(1, 10)]
    group.end(1, 30)
    assert begun(group) == [(1, 10), (1, 30)]
    assert not lane.is_idle
    group.end(1, 40)
    assert lane.is_idle
    assert (lane.ended_ns, [now for _, now in ended]) == (40, [30, 40])
    assert first.is_checkable
    lane.ask(first, 50)
    assert not first.is_checkable


def test_a_guarded_lane_goes_on_after_a_barrier_and_ends_without() -> None:
    group, lane, _ = make_lane(2, guard=True)
    lane.ask(work(), 10)
    group.end(1, 20)
    assert lane.is_idle  # the step may end
    lane.ask(work(), 30)
    assert not lane.is_idle
    assert begun(group) == [(1, 10), (2, 20)]
    group.end(2, 40)
    assert begun(group) == [(1, 10), (2, 20), (1, 40)]
    group.end(1, 50)
    assert begun(group)[3:] == []


def test_results_of_an_earlier_time_are_found() -> None:
    size = 8192
    memory = bytearray(memory_bytes([size]))
    again = work(memory)
    again.fill_source()
    wrong = []
    for number in range(2):
        again.begin()
        assert again.number == number
        if number == 0:  # what the exchange would do
            memory[2 * size : 3 * size] = memory[:size]
        wrong.append(again.end())
    assert wrong == [0, 2]
    assert again.check().wrong == 2


def exchange(again: Work, memory: bytearray, left_out: slice = slice(0)) -> int:
    """What an exchange with oneself would do, but for some bytes; how many elements are wrong."""
    size = 8192
    again.poison()
    again.begin()
    kept = memory[2 * size : 3 * size][left_out]
    memory[2 * size : 3 * size] = memory[:size]
    view = memoryview(memory)[2 * size : 3 * size]
    view[left_out] = kept
    return again.end()


@pytest.mark.parametrize("is_thorough", [False, True])
def test_an_element_that_is_left_of_the_time_before_is_found(is_thorough: bool) -> None:
    """At least in the last, and everywhere where that holds up nobody; a packet always."""
    memory = bytearray(memory_bytes([8192]))
    again = work(memory, 6, is_thorough)
    again.fill_source()
    second_element, packet = slice(4, 8), slice(4096, 8192)
    assert exchange(again, memory) == 0
    assert exchange(again, memory, second_element) == is_thorough
    assert exchange(again, memory) == 0
    assert exchange(again, memory, packet) == (1024 if is_thorough else 1)
    assert exchange(again, memory) == 0
    assert exchange(again, memory, second_element) == is_thorough
    assert again.check().wrong == 1


def test_a_guarded_lane_poisons_before_its_barrier_and_keeps_the_last_result() -> None:
    group, lane, _ = make_lane(2, guard=True)
    again = work()
    for end_ns in (20, 50):
        lane.ask(again, end_ns - 10)
        group.end(1, end_ns)
        assert again.is_checkable == (end_ns == 50)
        if end_ns == 20:
            group.end(2, 30)


@given(ranks=st.integers(2, 9), count=st.integers(1, 40), segment=st.integers(1, 20),
       channels=st.integers(1, 3), seed=st.integers(0, 1000))
@settings(max_examples=60)
@pytest.mark.parametrize("algorithm", ["ring", "tree"])
def test_gradients_need_no_barrier(
    algorithm: str, ranks: int, count: int, segment: int, channels: int, seed: int
) -> None:
    # Empty parts exchange nothing and hence wait for nobody; a plan has none.
    shape = Shape(ranks, max(count, ranks), segment, channels)
    assert Rounds("allreduce", algorithm, shape, 3, seed).run().furthest_apart <= 1


@pytest.mark.parametrize("operation", ["sendrecv", "alltoall"])
def test_others_do(operation: str) -> None:
    broken = 0
    for seed in range(50):
        try:
            Rounds(operation, "direct", Shape(4, 12, 3), 3, seed).run()
        except Broken:
            broken += 1
    assert broken > 25
