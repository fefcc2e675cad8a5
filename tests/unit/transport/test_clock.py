"""The time stamp of TSETH (facts sheet 2.4)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from testbed.transport.mrc.clock import WRAP_NS, age_ns, timestamp


def test_a_tick_is_128_ns_and_16_bits_wrap_after_8_39_ms() -> None:
    assert [timestamp(t) for t in (0, 127, 128, 255, 256)] == [0, 0, 1, 1, 2]
    assert WRAP_NS == 8_388_608
    assert timestamp(WRAP_NS - 1) == 0xFFFF
    assert timestamp(WRAP_NS) == 0


@given(st.integers(0, 1 << 50), st.integers(0, WRAP_NS - 1))
def test_an_age_below_the_wrap_is_right_within_a_tick(sent_ns: int, age: int) -> None:
    found = age_ns(sent_ns + age, timestamp(sent_ns))
    assert found % 128 == 0
    assert abs(found - age) < 128 or abs(found - age) > WRAP_NS - 128


def test_an_older_one_looks_young() -> None:
    assert age_ns(WRAP_NS + 1280, timestamp(0)) == 1280
