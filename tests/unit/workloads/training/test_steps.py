"""When something is sent: every exchange in its half, computing times from a seed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.training.steps import MILLION, Due, Traffic, compute_time_ns, timetable

G, P, E = Traffic.GRADIENTS, Traffic.PIPELINE, Traffic.EXPERTS


def test_gradients_are_ready_evenly_over_backward() -> None:
    assert timetable(900, 3, 0, 0) == [Due(500, G, 0), Due(700, G, 1), Due(900, G, 2)]


def test_microbatches_and_layers_are_in_both_halves() -> None:
    assert timetable(900, 1, 2, 0) == [
        Due(150, P, 0), Due(300, P, 1), Due(600, P, 2), Due(900, G, 0), Due(900, P, 3)]
    layers = [due for due in timetable(1200, 1, 0, 1) if due.traffic is E]
    assert layers == [Due(200, E, 0), Due(400, E, 1), Due(800, E, 2), Due(1200, E, 3)]


@given(st.integers(0, 10**10), st.integers(1, 64), st.integers(0, 20), st.integers(0, 20))
def test_nothing_is_lost_and_nothing_comes_late(
    compute_ns: int, buckets: int, microbatches: int, layers: int
) -> None:
    dues = timetable(compute_ns, buckets, microbatches, layers)
    assert [due.at_ns for due in dues] == sorted(due.at_ns for due in dues)
    assert dues[-1].at_ns == compute_ns
    for traffic, number in ((G, buckets), (P, 2 * microbatches), (E, 4 * layers)):
        assert [due.number for due in dues if due.traffic is traffic] == list(range(number))


def test_without_jitter_every_rank_computes_alike() -> None:
    assert {compute_time_ns(12345, 0, 1, rank, step) for rank in range(8) for step in range(8)} == {
        12345}


@given(st.integers(1, 10**10), st.integers(0, MILLION), st.integers(0, 100))
def test_jitter_stays_within_its_bounds(compute_ns: int, jitter_ppm: int, seed: int) -> None:
    found = compute_time_ns(compute_ns, jitter_ppm, seed, 3, 4)
    assert found == compute_time_ns(compute_ns, jitter_ppm, seed, 3, 4)
    assert type(found) is int
    assert abs(found - compute_ns) <= compute_ns * jitter_ppm / MILLION + 1
    assert found >= 0


def test_jitter_differs_by_seed_rank_and_step_and_is_even() -> None:
    def draw(seed: int, rank: int, step: int) -> int:
        return compute_time_ns(MILLION, MILLION, seed, rank, step)

    assert len({draw(1, 0, 0), draw(2, 0, 0), draw(1, 1, 0), draw(1, 0, 1)}) == 4
    drawn = [draw(1, rank, step) for rank in range(50) for step in range(50)]
    assert sum(drawn) / len(drawn) == pytest.approx(MILLION, rel=0.03)
    assert min(drawn) < 0.01 * MILLION
    assert max(drawn) > 1.99 * MILLION
