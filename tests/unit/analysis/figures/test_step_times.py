"""Training steps."""

from __future__ import annotations

from unit.analysis.figures.drawing import drawn, line
from unit.analysis.made import made_run, step

TRAINING = {"workload": "train", "steps": 2}


def test_every_rank_and_the_median() -> None:
    run = made_run(workload=TRAINING, steps=[
        step(0, 0, 0, 100_000, exposed_ns=10_000), step(0, 1, 0, 120_000, exposed_ns=30_000),
        step(1, 0, 120_000, 220_000), step(1, 1, 120_000, 220_000)])
    _, (took, exposed) = drawn("step_times", run)
    assert sorted(y for _, y in line(took, "each rank")) == [100, 100, 100, 120]
    assert line(took, "median") == [(110, 110), (220, 100)]
    assert line(exposed, "median") == [(110, 20), (220, 0)]
