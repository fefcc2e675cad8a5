"""Expansion by fields (facts sheet 7.4): the example, the checks, and properties."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.transport.mrc.ctl.ev_fields import (
    FABRIC_FORMAT,
    EvField,
    check_against,
    check_fields,
    combinations,
    expand,
    fabric_fields,
    generate,
    variable_bits,
)
from testbed.transport.mrc.ctl.values import api_ev
from testbed.transport.mrc.errors import Errno, MrcError
from topologies.ev import make_ev


def padded(text: str) -> bytes:
    return bytes.fromhex(text).ljust(32, b"\0")


@st.composite
def fields_of(draw: st.DrawFn) -> EvField:
    width = draw(st.integers(1, 32))
    mask = draw(st.integers(0, (1 << width) - 1))
    top = draw(st.integers(0, (1 << mask.bit_count()) - 1))
    low = draw(st.integers(0, top))
    return EvField(width, draw(st.integers(0, (1 << width) - 1)), low, top, mask)


FIELDS = st.lists(fields_of(), min_size=1, max_size=8)


def split(widths: list[int], expanded: bytes) -> list[int]:
    bits = bin(int.from_bytes(expanded, "big"))[2:].rjust(256, "0")
    found = []
    for width in widths:
        found.append(int(bits[:width], 2))
        bits = bits[width:]
    assert "1" not in bits
    return found


def test_the_example_of_the_rules() -> None:
    fields = (EvField(32, 0xFCBBBBBB), EvField(16, 0x2200, mask=0x00FF, max_val=0xFF))
    check_fields(fields)
    check_against((32, 16), fields)
    assert expand((32, 16), fields, padded("03")) == padded("fcbbbbbb2203")


def test_bits_go_to_the_highest_place_first() -> None:
    # EV bits 101 fall on mask bits 7, 3 and 0, whatever init_val has there.
    field = EvField(8, 0b1111_0110, mask=0b1000_1001)
    assert expand((8,), (field,), padded("a0")) == padded("f7")
    assert expand((8,), (field,), padded("40")) == padded("7e")


def test_a_field_is_right_aligned_in_its_format_field() -> None:
    assert expand((16, 8), (EvField(4, mask=0xF), EvField(8, 0x55)), padded("70")) == padded(
        "000755"
    )


def test_format_fields_without_one_of_the_profile_stay_zero() -> None:
    assert expand((8, 8, 16), (EvField(8, 0xAB),), bytes(32)) == padded("ab")


@settings(deadline=None)
@given(FIELDS, st.data())
def test_every_bit_arrives_in_order_and_constants_stay(
    fields: list[EvField], data: st.DataObject
) -> None:
    check_fields(fields)
    widths = [field.width + data.draw(st.integers(0, 32 - field.width)) for field in fields]
    check_against(widths, fields)
    taken = variable_bits(fields)
    bits = data.draw(st.integers(0, (1 << taken) - 1))
    expanded = expand(widths, fields, (bits << 256 - taken).to_bytes(32, "big"))
    back = ""
    for field, value in zip(fields, split(widths, expanded), strict=True):
        assert value & ~field.mask == field.init_val & ~field.mask
        places = [place for place in range(31, -1, -1) if field.mask >> place & 1]
        back += "".join(str(value >> place & 1) for place in places)
    assert int(back or "0", 2) == bits


@settings(deadline=None)
@given(FIELDS, st.data())
def test_bits_nobody_takes_are_refused(fields: list[EvField], data: st.DataObject) -> None:
    free = 256 - variable_bits(fields)
    if not free:
        return
    stray = 1 << data.draw(st.integers(0, free - 1))
    with pytest.raises(MrcError, match="bits set beyond") as caught:
        expand([32] * 8, fields, stray.to_bytes(32, "big"))
    assert caught.value.errno == Errno.EINVAL


@settings(deadline=None)
@given(st.binary(max_size=40).filter(lambda value: len(value) != 32))
def test_a_value_has_32_bytes(value: bytes) -> None:
    with pytest.raises(MrcError, match="is none"):
        expand((8,), (EvField(8, mask=0xFF),), value)


@pytest.mark.parametrize(
    "field",
    [
        EvField(0),
        EvField(33),
        EvField(8, 0x100),
        EvField(8, -1),
        EvField(8, mask=0x100),
        EvField(8, mask=-1),
        EvField(8, mask=0b101, max_val=4),
        EvField(8, max_val=1),
        EvField(8, mask=0xFF, min_val=2, max_val=1),
        EvField(8, mask=0xFF, min_val=-1, max_val=1),
    ],
)
def test_fields_that_contradict_themselves(field: EvField, refused: Callable[..., Any]) -> None:
    assert "field 1" in str(refused(Errno.EINVAL, check_fields, (EvField(8), field)))


@pytest.mark.parametrize(
    ("widths", "fields", "errno"),
    [
        ((8,), (EvField(4), EvField(4)), Errno.E2BIG),
        ((8, 8), (EvField(8), EvField(9)), Errno.E2BIG),
        ((8, 16), (EvField(16, 0x100), EvField(8)), Errno.EINVAL),
        ((8, 16), (EvField(16, mask=0x100), EvField(8)), Errno.EINVAL),
    ],
)
def test_fields_that_do_not_fit_the_format(
    widths: tuple[int, ...],
    fields: tuple[EvField, ...],
    errno: Errno,
    refused: Callable[..., Any],
) -> None:
    refused(errno, check_against, widths, fields)


@settings(deadline=None, max_examples=50)
@given(st.lists(fields_of(), min_size=1, max_size=4), st.integers(1, 5), st.data())
def test_generated_evs_are_distinct_and_within_min_and_max(
    fields: list[EvField], ports: int, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, min(64, combinations(fields))))
    made = generate(fields, count, tuple(range(1, ports + 1)))
    assert len({ev.value for ev in made}) == count
    loads = [sum(ev.port == port for ev in made) for port in range(1, ports + 1)]
    assert max(loads) - min(loads) <= 1
    for ev in made:
        bits = bin(int.from_bytes(ev.value, "big"))[2:].rjust(256, "0")
        for field in fields:
            taken, bits = bits[: field.variable_bits], bits[field.variable_bits :]
            assert field.min_val <= int(taken or "0", 2) <= field.max_val


def test_too_few_combinations(refused: Callable[..., Any]) -> None:
    refused(Errno.EINVAL, generate, (EvField(8, mask=0xFF, min_val=3, max_val=5),), 4, (1,))


def test_fabric_fields_put_every_path_on_its_plane() -> None:
    fields = fabric_fields(4, 3)
    check_fields(fields)
    check_against(FABRIC_FORMAT, fields)
    made = generate(fields, 12, (1, 2, 3, 4))
    assert made == [api_ev(make_ev(p, u), p) for u, p in product(range(3), range(4))]
    assert [expand(FABRIC_FORMAT, fields, ev.value) for ev in made] == [ev.value for ev in made]
