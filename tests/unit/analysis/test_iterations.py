"""Step times and collective times, as the result of a run counts them."""

from __future__ import annotations

from typing import Any

import pytest
from unit.analysis.made import collective, made_run, step

from workloads.collectives.summary import size_rows
from workloads.training.summary import summarise

STEPS = [step(0, 0, 100, 1000), step(0, 1, 150, 1100), step(1, 0, 1000, 2000),
         step(1, 1, 1100, 2500), step(2, 0, 2000, 2900)]


def test_a_step_takes_until_its_last_rank_after_the_one_before() -> None:
    frame = made_run(steps=STEPS).step_times()
    assert list(frame["step"]) == [0, 1]  # rank 1 never ended step 2
    assert list(frame["t_start_ns"]) == [100, 1100]
    assert list(frame["time_ns"]) == [1000, 1400]


def test_steps_are_those_of_the_result() -> None:
    def row(found: dict[str, Any]) -> dict[str, Any]:
        return {"step": found["step"], "begun_ns": found["t_start_ns"],
                "ended_ns": found["t_end_ns"], "compute_ns": 1, "reduce_ns": 1, "exposed_ns": 1,
                "wrong": 0}

    rows = {rank: [row(found) for found in STEPS if found["rank"] == rank] for rank in (0, 1)}
    due = [found["time_ns"] for found in summarise(rows)["steps"]]
    assert list(made_run(steps=STEPS).step_times()["time_ns"]) == due


def test_each_rank_has_its_own_times() -> None:
    frame = made_run(steps=STEPS).rank_step_times()
    assert list(frame["time_ns"]) == [900, 950, 1000, 1400, 900]


ITERATIONS = [collective(iteration, rank, 1000 * iteration, 1000 * iteration + 400 + 200 * rank)
              for iteration in (-1, 0, 1) for rank in (0, 1)]


def test_an_iteration_takes_the_mean_of_its_ranks() -> None:
    frame = made_run(collectives=ITERATIONS).collective_times()
    assert list(frame["iteration"]) == [-1, 0, 1]
    assert list(frame["time_ns"]) == [500, 500, 500]
    assert list(frame["t_end_ns"]) == [-400, 600, 1600]
    assert frame["algbw_bytes_per_s"].iloc[0] == pytest.approx((1 << 20) * 1e9 / 500)


def test_bandwidths_are_those_of_the_result() -> None:
    parameters = {"operation": "allreduce", "dtype": "float", "hosts": [0, 1], "sizes": [1 << 20]}
    rows = [{"rank": row["rank"], "size_bytes": row["bytes"], "iteration": row["iteration"],
             "number": row["iteration"] + 1, "begun_ns": row["t_start_ns"],
             "ended_ns": row["t_end_ns"], "wrong": 0} for row in ITERATIONS]
    (due,) = size_rows(parameters, rows)
    frame = made_run(collectives=ITERATIONS).collective_times()
    assert frame["busbw_bytes_per_s"].iloc[1] == pytest.approx(due["busbw_bytes_per_s"])


def test_an_iteration_a_rank_did_not_end_is_left_out() -> None:
    frame = made_run(collectives=[*ITERATIONS, collective(2, 0, 3000, 3100)]).collective_times()
    assert list(frame["iteration"]) == [-1, 0, 1]
