"""What a run says of itself; its questions are tested with the modules that answer them."""

from __future__ import annotations

import dataclasses

import pytest
from unit.analysis.made import (
    WORKLOAD,
    collective,
    flow,
    heal,
    inject,
    made_run,
    message,
    step,
)

from testbed.metrics.tables import event_row

ENDLESS = {**WORKLOAD, "iters": 5}
del ENDLESS["duration"]


def test_a_run_with_a_duration_ends_when_nothing_more_is_posted() -> None:
    run = made_run(messages=[message(0, 50_000), message(90_000, 130_000)])
    assert (run.end_ns, run.done_ns) == (100_000, 130_000)


def test_a_run_that_was_over_earlier_ends_there() -> None:
    run = made_run(flows=[flow(30_000)], messages=[message(0, 25_000), message(9, None)])
    assert run.end_ns == run.done_ns == 25_000


@pytest.mark.parametrize("tables", [
    {"messages": [message(0, 70_000), message(9, None)]},
    {"flows": [flow(70_000)]},
    {"collectives": [collective(0, 0, 0, 70_000)]},
    {"steps": [step(0, 0, 0, 70_000)], "flows": [flow(99_000)]},
])
def test_without_one_it_ends_with_the_last_completion(tables: dict[str, object]) -> None:
    assert made_run(workload=ENDLESS, **tables).end_ns == 70_000  # type: ignore[arg-type]


def test_where_nothing_was_recorded_there_is_no_end() -> None:
    assert made_run(workload=ENDLESS).end_ns == 0


def test_actions_are_the_events_of_that_kind() -> None:
    run = made_run(events=[heal(900, "mend", "nic:h0:p1#down"), event_row(5, "warning"),
                           inject(100, "break", "nic:h0:p1#down")])
    assert list(run.actions["what"]) == ["inject", "heal"]
    assert len(run.events) == 3


def test_a_run_that_is_not_closed_has_no_verdict() -> None:
    run = made_run(manifest={"state": "running", "verdict": None})
    assert (run.is_partial, run.verdict_word) == (True, None)


def test_the_interval_of_samples_is_that_of_most() -> None:
    assert made_run().sample_ns == 2 * 9404
    assert made_run(flows=[flow(700, 700), flow(1400, 700), flow(1500, 100)]).sample_ns == 700


def test_a_run_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        made_run().path = None  # type: ignore[misc, assignment]
