"""Iterations of collectives."""

from __future__ import annotations

import pytest
from unit.analysis.figures.drawing import drawn, legend, line
from unit.analysis.made import collective, made_run

ALLREDUCE = {"workload": "allreduce", "sizes": ["1MiB"], "iters": 2}
ROWS = [collective(number, rank, start_ns, start_ns + took_ns)
        for number, start_ns, took_ns in ((-1, 0, 90_000), (0, 100_000, 80_000),
                                          (1, 200_000, 80_000)) for rank in range(8)]


def test_the_warm_up_is_hollow_and_does_not_count() -> None:
    _, (times, bandwidth) = drawn("iterations", made_run(workload=ALLREDUCE, collectives=ROWS))
    assert legend(times) == ["1MiB", "warm-up"]
    assert line(times, "1MiB") == [(180, 80), (280, 80)]
    (point,) = line(bandwidth, "algbw")
    assert point == (1 << 20, pytest.approx((1 << 20) / 80_000))
    assert line(bandwidth, "busbw")[0][1] == pytest.approx(point[1] * 2 * 7 / 8)


def test_where_both_bandwidths_are_one_there_is_one_line() -> None:
    rows = [collective(0, rank, 0, 80_000, op="sendrecv") for rank in range(8)]
    run = made_run(workload={**ALLREDUCE, "workload": "sendrecv"}, collectives=rows)
    _, (_, bandwidth) = drawn("iterations", run)
    assert legend(bandwidth) == ["busbw and algbw"]
