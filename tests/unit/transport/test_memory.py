"""Registered memory: keys, rights, bounds to the byte, and nothing written on refusal."""

from __future__ import annotations

import random
from itertools import pairwise
from mmap import mmap

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from testbed.transport.mrc.memory import Access, MemoryRegion, MemoryTable

TOP = 1 << 64


def table(seed: int = 1) -> MemoryTable:
    return MemoryTable(random.Random(seed))


class ScriptedRng(random.Random):
    """Gives these keys in turn."""

    def __init__(self, keys: list[int]) -> None:
        super().__init__(0)
        self.keys = keys

    def getrandbits(self, k: int) -> int:
        assert k == 32
        return self.keys.pop(0)


def test_a_write_lands_where_it_says() -> None:
    memory, buffer = table(), bytearray(16)
    region = memory.register(buffer, va=0x1000)
    assert (region.va, region.length, region.end) == (0x1000, 16, 0x1010)
    assert memory.write(region.rkey, 0x1004, b"abcd")
    assert memory.write(region.rkey, 0x100C, memoryview(b"wxyz"))
    assert buffer == bytes(4) + b"abcd" + bytes(4) + b"wxyz"


@settings(deadline=None)
@given(st.integers(-20, 40), st.integers(0, 40))
@example(0, 16)
@example(0, 17)
@example(1, 16)
@example(-1, 16)
@example(15, 1)
@example(16, 1)
def test_one_byte_outside_and_nothing_is_written(start: int, length: int) -> None:
    memory, buffer = table(), bytearray(16)
    region = memory.register(buffer, va=0x1000)
    inside = length == 0 or (start >= 0 and start + length <= 16)
    assert memory.write(region.rkey, 0x1000 + start, b"x" * length) == inside
    place = memory.locate(region.rkey, 0x1000 + start, length)
    assert (place is not None) == inside
    assert memory.covers(region.rkey, 0x1000 + start, length) == inside
    expected = bytearray(16)
    if inside and length:
        expected[start : start + length] = b"x" * length
        assert place is not None
        assert place == b"x" * length
    assert buffer == expected


def test_the_last_byte_of_64_bits_can_be_registered_and_no_further() -> None:
    memory, buffer = table(), bytearray(16)
    region = memory.register(buffer, va=TOP - 16)
    assert memory.write(region.rkey, TOP - 1, b"!")
    assert buffer[15] == ord("!")
    assert not memory.write(region.rkey, TOP - 1, b"!?")
    assert not memory.write(region.rkey, 0, b"?")
    with pytest.raises(ValueError, match="leave 64 bits"):
        memory.register(buffer, va=TOP - 15)
    with pytest.raises(ValueError, match="leave 64 bits"):
        memory.register(buffer, va=-1)


def test_an_unknown_key_an_lkey_or_a_missing_right_writes_nothing() -> None:
    memory, buffer = table(), bytearray(8)
    region = memory.register(buffer, va=0, access=Access.LOCAL_WRITE)
    for key in (region.rkey, region.lkey, 0):
        assert not memory.write(key, 0, b"x")
        assert memory.locate(key, 0, 1) is None
        assert not memory.covers(key, 0, 8)
    assert buffer == bytes(8)


def test_no_bytes_need_no_key() -> None:
    memory = table()
    assert memory.write(0xDEAD, 0, b"")
    assert memory.locate(0xDEAD, 0, 0) == b""
    assert memory.read(0xDEAD, 99, 0) == b""


def test_a_located_place_is_the_memory_itself() -> None:
    memory, buffer = table(), bytearray(8)
    region = memory.register(buffer, va=100)
    place = memory.locate(region.rkey, 104, 2)
    assert place is not None
    place[:] = b"hi"
    assert buffer == b"\0\0\0\0hi\0\0"
    assert memory.locate(region.rkey, 104, -1) is None


def test_the_sender_reads_without_a_copy() -> None:
    memory, buffer = table(), bytearray(b"0123456789")
    region = memory.register(buffer)
    part = memory.read(region.lkey, 2, 3)
    buffer[2] = ord("x")
    assert part == b"x34"
    for offset, length in [(-1, 2), (9, 2), (10, 1), (0, -1), (0, 11)]:
        with pytest.raises(ValueError, match="leave the region of 10"):
            memory.read(region.lkey, offset, length)
    with pytest.raises(ValueError, match="is not registered"):
        memory.read(region.rkey, 0, 1)


def test_shared_memory_can_be_registered_and_closed_after() -> None:
    shared = mmap(-1, 8192)
    memory = table()
    region = memory.register(memoryview(shared))
    assert memory.write(region.rkey, region.va + 8191, b"z")
    assert shared[8191] == ord("z")
    memory.deregister(region)
    shared.close()


def test_addresses_given_out_do_not_touch() -> None:
    memory = table()
    regions = [memory.register(bytearray(size)) for size in (1, 4096, 4097, 100_000)]
    for low, high in pairwise(regions):
        assert low.end < high.va
        assert high.va % 4096 == 0
        assert not memory.write(low.rkey, high.va, b"x")


def test_two_regions_may_have_the_same_addresses() -> None:
    memory, one, other = table(), bytearray(4), bytearray(4)
    first, second = memory.register(one, va=0), memory.register(other, va=0)
    assert memory.write(second.rkey, 0, b"x")
    assert (one, other) == (bytes(4), b"x\0\0\0")
    assert memory.write(first.rkey, 3, b"y")
    assert one == b"\0\0\0y"


def test_after_deregistering_the_keys_are_dead_and_the_buffer_is_free() -> None:
    memory, buffer = table(), bytearray(4)
    region = memory.register(buffer, va=0)
    memory.deregister(region)
    assert not memory.write(region.rkey, 0, b"x")
    assert memory.locate(region.rkey, 0, 1) is None
    with pytest.raises(ValueError, match="is not registered"):
        memory.read(region.lkey, 0, 1)
    with pytest.raises(ValueError, match="is not registered"):
        memory.deregister(region)
    buffer.append(1)  # a bytearray somebody views refuses to grow


def test_a_region_of_another_table_is_not_registered_here() -> None:
    memory = table()
    region = memory.register(bytearray(4))
    strange = MemoryRegion(region.view, region.va, region.lkey, region.rkey, region.access)
    with pytest.raises(ValueError, match="is not registered"):
        memory.deregister(strange)
    assert memory.write(region.rkey, region.va, b"x")


def test_keys_are_drawn_never_zero_and_never_one_in_use() -> None:
    memory = MemoryTable(ScriptedRng([0, 11, 0, 12, 11, 21, 12, 22]))
    first = memory.register(bytearray(1))
    second = memory.register(bytearray(1))
    assert (first.lkey, first.rkey, second.lkey, second.rkey) == (11, 12, 21, 22)


def test_a_key_may_return_once_its_region_is_gone() -> None:
    memory = MemoryTable(ScriptedRng([11, 12, 11, 12]))
    memory.deregister(memory.register(bytearray(1)))
    assert memory.register(bytearray(1)).rkey == 12


def test_keys_differ_by_seed_and_repeat_with_it() -> None:
    keys = [table(seed).register(bytearray(1)).rkey for seed in (1, 1, 2)]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("buffer", [bytearray(), memoryview(b"const")])
def test_memory_that_cannot_be_written_is_refused(buffer: bytearray | memoryview) -> None:
    with pytest.raises(ValueError, match="empty or read-only"):
        table().register(buffer)


def test_remote_write_without_local_write_is_refused() -> None:
    with pytest.raises(ValueError, match="needs LOCAL_WRITE"):
        table().register(bytearray(1), access=Access.REMOTE_WRITE)
