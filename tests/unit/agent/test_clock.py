"""testbed/agent/clock.py."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from testbed.agent.clock import EmulatedClock


def test_time_is_slower_by_the_dilation() -> None:
    clock = EmulatedClock(zero_ns=1_000, tdf=2000)
    assert clock.emulated_ns(1_000) == 0
    assert clock.emulated_ns(1_000 + 9_404 * 2000) == 9_404
    assert clock.emulated_ns(999) == -1


@given(st.integers(0, 2**62), st.integers(1, 10**7), st.integers(-(10**6), 10**12))
def test_the_wall_time_of_an_emulated_one_is_the_first_that_is_it(
    zero_ns: int, tdf: int, emulated_ns: int
) -> None:
    clock = EmulatedClock(zero_ns, tdf)
    wall_ns = clock.wall_ns(emulated_ns)
    assert clock.emulated_ns(wall_ns) == emulated_ns
    assert clock.emulated_ns(wall_ns - 1) == emulated_ns - 1
