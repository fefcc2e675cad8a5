"""Numbers that wrap: expansion near a known count, two's complement."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.transport.mrc.serial import expand, signed

BITS = st.sampled_from([16, 24])


@given(st.integers(0, 1 << 40), st.data(), BITS)
def test_expand_finds_every_number_within_half_the_space(near: int, data, bits: int) -> None:
    half = 1 << bits - 1
    number = near + data.draw(st.integers(-half, half - 1))
    assert expand(number % (1 << bits), near, bits) == number


@pytest.mark.parametrize(
    ("value", "near", "expected"),
    [
        (0, (1 << 24) - 1, 1 << 24),
        ((1 << 24) - 1, 1 << 24, (1 << 24) - 1),
        ((1 << 24) - 1, 0, -1),
        (1 << 23, 0, -(1 << 23)),
        ((1 << 23) - 1, 0, (1 << 23) - 1),
        (-1, 5, -1),  # one less than 0, not yet wrapped
    ],
)
def test_expand_across_the_wrap(value: int, near: int, expected: int) -> None:
    assert expand(value, near) == expected


@given(st.integers(-(1 << 15), (1 << 15) - 1))
def test_signed_reads_twos_complement(number: int) -> None:
    assert signed(number & 0xFFFF, 16) == number
    assert signed(number, 16) == number
