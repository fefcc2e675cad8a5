"""The steps of all ranks in one table."""

from __future__ import annotations

from typing import Any

import pytest

from workloads.training.summary import summarise, with_last_check


def row(step: int, begun_ns: int, ended_ns: int, **changes: int) -> dict[str, int]:
    return {"step": step, "begun_ns": begun_ns, "ended_ns": ended_ns, "compute_ns": 50,
            "reduce_ns": 20, "exposed_ns": ended_ns - begun_ns - 50, "wrong": 0, **changes}


ROWS: dict[int, list[dict[str, int]]] = {
    0: [row(0, 10, 110), row(1, 110, 200), row(2, 200, 400)],
    1: [row(0, 12, 105, compute_ns=61), row(1, 105, 210, wrong=3), row(2, 210, 390)],
}


def test_steps_are_from_the_last_end_to_the_last_end() -> None:
    steps = summarise(ROWS)["steps"]
    assert [step["time_ns"] for step in steps] == [100, 100, 190]
    assert sum(step["time_ns"] for step in steps) == 400 - 10
    assert steps[0] == {"step": 0, "time_ns": 100, "compute_ns": 55, "communicate_ns": 20,
                        "exposed_ns": 46, "wrong": 0}
    assert [step["wrong"] for step in steps] == [0, 3, 0]


def test_what_was_found_when_all_was_over_is_of_the_last_step() -> None:
    assert [row["wrong"] for row in with_last_check(ROWS[1], 2)] == [0, 3, 2]
    assert [row["wrong"] for row in with_last_check(ROWS[1][:2], 2)] == [0, 3]
    assert with_last_check([], 2) == []


@pytest.mark.parametrize(
    ("baseline_ns", "undisturbed", "loss", "name"),
    [(None, 10**7, 90 / 390, "median of this run"), (80, 12.5 * 10**6, 150 / 390, "run"),
     (200, 5 * 10**6, 0.0, "run")],
)  # fmt: skip
def test_loss_is_against_the_median_or_another_run(
    baseline_ns: int | None, undisturbed: float, loss: float, name: str
) -> None:
    training = summarise(ROWS, baseline_ns)["training"]
    assert training == {
        "steps_per_s": pytest.approx(3 * 10**9 / 390), "undisturbed_steps_per_s": undisturbed,
        "loss_share": pytest.approx(loss), "slowest_step": 2, "baseline": name}


def test_a_step_that_a_rank_did_not_end_does_not_count() -> None:
    assert len(summarise({**ROWS, 1: ROWS[1][:2]})["steps"]) == 2


@pytest.mark.parametrize("rows", [{}, {0: []}, {0: ROWS[0], 1: []}])
def test_of_no_steps_there_is_nothing_to_say(rows: Any) -> None:
    found = summarise(rows)
    assert found == {"steps": [], "training": {
        "steps_per_s": 0.0, "undisturbed_steps_per_s": None, "loss_share": None,
        "slowest_step": None, "baseline": "median of this run"}}
    assert summarise(rows, 100)["training"]["undisturbed_steps_per_s"] == 10**7
