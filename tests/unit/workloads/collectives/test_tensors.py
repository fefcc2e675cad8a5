"""Contents in memory: exact sums, and everything found that can be wrong with one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from unit.workloads.collectives.collectives_rig import ALGORITHMS, Run, schedules_of

from workloads.collectives.catalogue import OPERATIONS
from workloads.collectives.layout import layouts, memory_bytes
from workloads.collectives.schedule import Area, Expected, Receive, Shape, Span
from workloads.collectives.tensors import DTYPES, STRIDE_BYTES, Compared, Tensors, pattern

SEED, NUMBER = 3, 6
DTYPE = ["float", "bfloat16"]


class Memory(Tensors):
    """Tensors in memory of their own; read and written byte by byte, as a device does."""

    busy: tuple[()] = ()

    def __init__(self, rank: int, count: int, dtype: str = "float") -> None:
        size = count * DTYPES[dtype].itemsize
        self.bytes = bytearray(b"\xff" * memory_bytes([size]))  # each element is no number
        super().__init__(memoryview(self.bytes), layouts([size], dtype)[0], SEED, rank)
        self.fill_input()
        self.stamp_input(NUMBER)

    def _where(self, area: Area, start: int, count: int) -> slice:
        return slice(self.layout.at(area, start), self.layout.at(area, start + count))

    def read(self, area: Area, start: int, count: int) -> list[int]:
        return list(self.bytes[self._where(area, start, count)])

    def write(self, area: Area, start: int, content: Sequence[int]) -> None:
        at = self.layout.at(area, start)
        self.bytes[at : at + len(content)] = bytes(content)

    def array(self, area: Area) -> np.ndarray[Any, Any]:
        dtype = DTYPES[self.layout.dtype]
        return np.frombuffer(self.bytes, dtype, self.layout.count, self.layout.at(area, 0))

    def claim(self, area: Area, start: int, count: int) -> None:
        """A rig's question that symbols answer."""

    def release(self, area: Area, start: int, count: int) -> None:
        """As above."""


def summed(ranks: Sequence[int], count: int, dtype: str, number: int = NUMBER) -> Memory:
    """Rank 0 with the sum of these ranks' inputs in OUTPUT, the first of them its own."""
    memory = Memory(0, count, dtype)
    memory.stamp_input(number)
    memory.copy(Span(0, count))
    for rank in ranks[1:]:
        other = Memory(rank, count, dtype)
        other.stamp_input(number)
        memory.write(Area.STAGING, 0, other.read(Area.INPUT, 0, count))
        memory.add(Receive(rank, 0, 0, count, Area.OUTPUT, 0))
    return memory


def whole(ranks: int, count: int) -> list[Expected]:
    return [Expected(0, count, range(ranks), 0)]


@pytest.mark.parametrize("dtype", DTYPE)
def test_the_sum_of_64_ranks_is_exact(dtype: str) -> None:
    count = 5000
    memory = summed(range(64), count, dtype)
    due = sum(pattern(SEED, rank, 0, count).astype(int) for rank in range(64))
    stride = STRIDE_BYTES // DTYPES[dtype].itemsize
    due[::stride] = [64 * (1 + (place + NUMBER) % 3) for place in range(-(-count // stride))]
    assert memory.array(Area.OUTPUT).astype(int).tolist() == due.tolist()
    assert memory.check(whole(64, count), NUMBER) == Compared(count, 0, None)
    assert memory.check_stamps(whole(64, count), NUMBER) == 0


def test_the_largest_sum_of_85_ranks_is_exact_in_bfloat16() -> None:
    total = DTYPES["bfloat16"].type(0)
    for added in range(1, 86):
        total = total + DTYPES["bfloat16"].type(3)
        assert float(total) == 3 * added


@pytest.mark.parametrize("dtype", DTYPE)
@pytest.mark.parametrize("at", [0, 1, 2047, 2048, 4999])
def test_a_wrong_element_is_found_wherever_it_is(dtype: str, at: int) -> None:
    memory = summed(range(3), 5000, dtype)
    memory.array(Area.OUTPUT)[at] += 1
    assert memory.check(whole(3, 5000), NUMBER) == Compared(5000, 1, at)


@pytest.mark.parametrize("dtype", DTYPE)
@pytest.mark.parametrize("ranks", [2, 3, 4, 64])
def test_a_missing_or_a_second_contribution_is_found(dtype: str, ranks: int) -> None:
    due = whole(ranks, 3000)
    missing = summed(range(ranks - 1), 3000, dtype)
    twice = summed([*range(ranks), 1], 3000, dtype)
    instead = summed([*range(ranks - 1), 0], 3000, dtype)
    for memory in (missing, twice, instead):
        # Three of four elements are not 0, and three of four pairs of them differ.
        assert 0.7 < memory.check(due, NUMBER).wrong / 3000 < 0.8
    for memory in (missing, twice):
        assert memory.check_stamps(due, NUMBER) == -(-3000 * DTYPES[dtype].itemsize // STRIDE_BYTES)


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 5, 8, 16])
@pytest.mark.parametrize("ago", [1, 2])
def test_what_is_left_of_an_earlier_collective_is_found_by_its_stamps(
    ranks: int, ago: int
) -> None:
    for number in range(NUMBER, NUMBER + 3):
        memory = summed(range(ranks), 3 * 1024, "float", number - ago)
        assert memory.check_stamps(whole(ranks, 3 * 1024), number) == 3
        assert memory.check(whole(ranks, 3 * 1024), number) == Compared(3 * 1024, 3, 0)


def test_one_stale_packet_or_one_stale_contribution_is_found() -> None:
    memory, old = (summed(range(4), 4096, "float", number) for number in (NUMBER, NUMBER - 1))
    memory.write(Area.OUTPUT, 1500, old.read(Area.OUTPUT, 1500, 1024))
    assert memory.check_stamps(whole(4, 4096), NUMBER) == 1
    assert memory.check(whole(4, 4096), NUMBER) == Compared(4096, 1, 2048)
    memory, one = summed(range(3), 4096, "float"), Memory(3, 4096)
    one.stamp_input(NUMBER - 1)
    memory.write(Area.STAGING, 0, one.read(Area.INPUT, 0, 4096))
    memory.add(Receive(3, 0, 0, 4096, Area.OUTPUT, 0))
    assert memory.check_stamps(whole(4, 4096), NUMBER) == 4


@pytest.mark.parametrize(
    ("start", "source", "count", "stamps"),
    [(0, 0, 1024, 1), (0, 0, 1025, 2), (7, 1, 1023, 0), (7, 1, 1024, 1), (100, 2048, 1, 1),
     (0, 1000, 2100, 3), (3000, 5, 900, 0), (11, 1024, 2048, 2), (5, 0, 0, 0)],
)  # fmt: skip
def test_stamps_are_looked_for_where_their_source_had_them(
    start: int, source: int, count: int, stamps: int
) -> None:
    memory, other = Memory(0, 4096), Memory(1, 4096)
    memory.write(Area.OUTPUT, start, other.read(Area.INPUT, source, count))
    due = [Expected(start, count, (1,), source)]
    assert memory.check_stamps(due, NUMBER) == 0
    assert memory.check(due, NUMBER) == Compared(count, 0, None)
    assert memory.check_stamps(due, NUMBER + 1) == stamps
    assert memory.check(due, NUMBER + 1).wrong == stamps


def test_only_what_has_a_meaning_is_compared_and_wrong_ones_add_up() -> None:
    memory = summed(range(2), 4096, "float")
    output = memory.array(Area.OUTPUT)
    output[[10, 2000, 4095]] = 99
    spans = [Expected(100, 100, range(2), 100), Expected(1999, 3, range(2), 1999),
             Expected(4000, 96, range(2), 4000)]
    assert memory.check(spans, NUMBER) == Compared(199, 2, 2000)


def test_elements_that_were_never_written_are_wrong() -> None:
    memory = Memory(0, 2000)
    assert memory.check(whole(2, 2000), NUMBER) == Compared(2000, 2000, 0)
    assert memory.check_stamps(whole(2, 2000), NUMBER) == 2


def test_adding_takes_the_staged_elements_from_their_place_and_leaves_the_rest() -> None:
    memory = Memory(0, 100)
    memory.array(Area.INPUT)[:] = range(100)
    memory.array(Area.OUTPUT)[:] = 1000
    memory.array(Area.STAGING)[:] = np.arange(100) * 10_000
    memory.add(Receive(1, 0, 20, 3, Area.INPUT, 50))
    memory.add(Receive(1, 0, 22, 2, Area.OUTPUT, 1))
    expected = [1000.0] * 100
    expected[20:24] = [500_020, 510_021, 520_022 + 10_000, 1000 + 20_000]
    assert memory.array(Area.OUTPUT).tolist() == expected
    assert memory.array(Area.INPUT).tolist() == list(range(100))


def test_contents_follow_from_seed_rank_and_place() -> None:
    first = pattern(1, 0, 0, 4000)
    assert set(first.tolist()) == {0, 1, 2, 3}
    assert pattern(1, 0, 100, 50).tolist() == first[100:150].tolist()
    assert not np.array_equal(first, pattern(2, 0, 0, 4000))
    assert not np.array_equal(first, pattern(1, 1, 0, 4000))
    assert pattern(1, 0, 5, 0).tolist() == []
    million = 1 << 20
    across = pattern(1, 0, million - 10, 20).tolist()
    assert across[:10] == pattern(1, 0, 0, million)[-10:].tolist()
    assert across[10:] == pattern(1, 0, million, 10).tolist()


def test_more_than_a_million_elements_are_compared_in_parts() -> None:
    count = (1 << 20) + 3000
    memory = Memory(0, count)
    memory.copy(Span(0, count))
    due = [Expected(5, count - 5, (0,), 5)]
    assert memory.check(due, NUMBER) == Compared(count - 5, 0, None)
    memory.array(Area.OUTPUT)[[count - 2000, count - 1]] += 1
    assert memory.check(due, NUMBER) == Compared(count - 5, 2, count - 2000)


@pytest.mark.parametrize(("operation", "algorithm"), ALGORITHMS)
@pytest.mark.parametrize("dtype", DTYPE)
def test_every_collective_on_real_memory(operation: str, algorithm: str, dtype: str) -> None:
    shape = Shape(5, 4999, 300, 2)
    memories = [Memory(rank, shape.count, dtype) for rank in range(shape.ranks)]
    run = Run(schedules_of(operation, algorithm, shape), shape.count, 1, memories=memories)
    assert all(exchange.is_complete for exchange in run.exchanges)
    stale = 0
    for rank, memory in enumerate(memories):
        due = OPERATIONS[operation].expect(rank, shape)
        assert memory.check_stamps(due, NUMBER) == 0
        compared = memory.check(due, NUMBER)
        assert compared == Compared(sum(span.count for span in due), 0, None)
        stale += memory.check_stamps(due, NUMBER + 1)
    assert stale  # not on every rank: its chunk may be shorter than a packet
