"""Measures of how long things took, worked out by hand."""

from __future__ import annotations

import pytest
from unit.analysis.made import collective, made_run, message, step

from testbed.analysis import Window
from testbed.analysis.measures import measure

TIMES = Window(0, 100_000)
MESSAGES = [message(0, 1000), message(0, 3000), message(1000, 9000, qp=2, size=64),
            message(5000, None), message(0, 500, status="flushed"), message(0, 200_000)]


def test_messages_that_were_completed_in_the_window() -> None:
    run = made_run(messages=MESSAGES)
    assert measure(run, "messages_done", TIMES) == 3
    assert measure(run, "message_time", TIMES) == 3000
    assert measure(run, "latency", TIMES) == 1500
    assert measure(run, "latency", TIMES, {"size": "64B"}) == 4000
    assert measure(run, "message_time_p99", TIMES) == 8000
    assert measure(run, "message_time_max", TIMES, {"qp": "1"}) == 3000
    assert measure(run, "message_time", Window(10_000, 20_000)) is None
    assert measure(run, "messages_done", Window(10_000, 20_000)) == 0


def test_steps_of_all_and_of_a_rank() -> None:
    run = made_run(steps=[step(0, 0, 0, 1000), step(0, 1, 0, 1200), step(1, 0, 1000, 2000),
                          step(1, 1, 1200, 2600), step(2, 0, 2000, 3000),
                          step(2, 1, 2600, 3700)])
    assert measure(run, "step_time", TIMES) == 1200
    assert measure(run, "step_time_max", TIMES) == 1400
    assert measure(run, "step_time", TIMES, {"rank": "0"}) == 1000
    assert measure(run, "step_time_max", Window(3000, 9000)) == 1100
    assert measure(run, "completion_time") == 3700


def test_iterations_without_the_warm_up() -> None:
    rows = [collective(iteration, rank, 1000 * iteration, 1000 * iteration + taken, size)
            for size, iteration, taken in ((1 << 20, -1, 900), (1 << 20, 1, 400),
                                           (1 << 20, 2, 600), (1 << 21, 3, 500))
            for rank in (0, 1)]
    run = made_run(collectives=rows)
    assert measure(run, "iteration_time", TIMES) == 500
    assert measure(run, "iteration_time_max", TIMES) == 600
    assert measure(run, "iteration_time", TIMES, {"size": "2MiB"}) == 500
    # 1 MiB has a median of 500 ns over all, and the only one of 2 MiB is its own.
    assert measure(run, "iteration_time_lost", TIMES) == 100
    assert measure(run, "iteration_time_lost", Window(0, 1_500)) == 0
    assert measure(run, "iteration_time_lost", TIMES, {"size": "2MiB"}) == 0
    assert measure(made_run(), "iteration_time_lost", TIMES) is None
    # 1 MiB in a mean of 500 ns, 2 MiB in 500 ns; of 2 ranks the factor of all-reduce is 1.
    rates = [(1 << 20) / 500e-9, (1 << 21) / 500e-9]
    assert measure(run, "algbw", TIMES) == pytest.approx(sum(rates) / 2)
    assert measure(run, "busbw", TIMES, {"size": "1MiB"}) == pytest.approx(rates[0])
