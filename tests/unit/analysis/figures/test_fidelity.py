"""Lateness and idle cores over time."""

from __future__ import annotations

from typing import Any

import pytest
from unit.analysis.figures.drawing import drawn, line, texts
from unit.analysis.made import SIMULATED, made_run

from testbed.analysis.figures import NothingToDraw


def _row(t_ns: int, host: str, p99_ns: int | None, idle: float = 0.0) -> dict[str, Any]:
    return {"t_ns": t_ns, "interval_ns": 50_000, "host": host, "lateness_p99_ns": p99_ns,
            "lateness_max_ns": p99_ns, "idle_cores": idle, "kernel_drops": 0}


def test_agents_above_and_the_machine_below() -> None:
    run = made_run(fidelity=[_row(50_000, "h0", 400), _row(100_000, "h0", 900),
                             _row(50_000, "", None, 0.7)])
    _, (late, idle) = drawn("fidelity", run)
    assert line(late, "h0") == [(50, pytest.approx(0.4)), (100, pytest.approx(0.9))]
    assert line(idle, "idle cores") == [(50, 0.7)]
    assert texts(late) == ["limit of a trusted run"]


def test_a_simulation_cannot_be_late() -> None:
    with pytest.raises(NothingToDraw, match="simulation"):
        drawn("fidelity", made_run(manifest=SIMULATED))
