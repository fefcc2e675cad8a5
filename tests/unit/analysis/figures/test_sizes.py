"""Throughput by message size."""

from __future__ import annotations

import pytest
from unit.analysis.figures.drawing import drawn, legend
from unit.analysis.made import collective, made_run

from testbed.analysis.figures.sizes import throughput_by_size

SENDRECV = {"workload": "sendrecv", "sizes": ["64KiB", "1MiB"], "iters": 2}
ROWS = [collective(number, rank, 0, took_ns, size, "sendrecv")
        for size, number, took_ns in ((65_536, -1, 90_000), (65_536, 0, 8000), (65_536, 1, 4000),
                                      (1 << 20, 0, 32_000)) for rank in range(8)]


def test_mean_slowest_and_fastest_without_the_warm_up() -> None:
    table = throughput_by_size(made_run(workload=SENDRECV, collectives=ROWS))
    assert list(table.index) == [65_536, 1 << 20]
    small = table.loc[65_536] / 1e9
    assert (small["low"], small["high"]) == pytest.approx((65_536 / 8000, 65_536 / 4000))
    assert small["mean"] == pytest.approx((65_536 / 8000 + 65_536 / 4000) / 2)


def test_it_is_held_against_the_line_rate() -> None:
    _, (axes,) = drawn("sizes", made_run(workload=SENDRECV, collectives=ROWS))
    assert sorted(legend(axes)) == ["a NIC carried", "line rate of\nall planes"]
    assert 50 in {line.get_ydata()[0] for line in axes.lines}  # 4 x 100 Gb/s in GB/s
