"""Random numbers by position, against the independent writing of the fabric's tests."""

from __future__ import annotations

import port_rig
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.sim import draws

U64 = st.integers(0, 2**64 - 1)


@given(U64, st.integers(0, 2**64 - 1))
def test_the_sequence_is_that_of_the_port_program(seed: int, index: int) -> None:
    assert draws.random_at(seed, index) == port_rig.random_at(seed, index)


@given(U64, st.integers(1000, 11_000), st.integers(0, 10**9))
def test_the_four_values_of_a_frame(seed: int, slot: int, frame: int) -> None:
    stream = draws.port_stream(seed, slot)
    first, second = draws.random_at(stream, 2 * frame), draws.random_at(stream, 2 * frame + 1)
    mine = (draws.upper(first), draws.lower(first), draws.upper(second), draws.lower(second))
    assert mine == port_rig.port_random(seed, slot, frame)


def test_run_0_has_the_seeds_of_the_fabric() -> None:
    assert draws.port_seed(0, 1003) == 1003
    assert len({draws.port_seed(run, slot) for run in range(50) for slot in range(50)}) == 2500


def test_probabilities() -> None:
    assert draws.probability_of(1.0) == 2**32
    assert draws.probability_of(0.25) == 2**30
    with pytest.raises(ValueError, match="out of range"):
        draws.probability_of(1.5)
