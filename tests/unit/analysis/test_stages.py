"""Stage times in pandas."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from testbed.analysis.stages import ready_summary, stage_frame, stage_medians


def run(topology: str, dataplane: str, total_s: float, **stages: float) -> dict[str, Any]:
    return {"topology": topology, "dataplane": dataplane, "stages_s": stages,
            "total_s": total_s, "down_s": 0.5, "resident_mb": 100.0}


RUNS = [run("tiny", "ovs", 2.0, plan=0.5, bridges=0.2),
        run("tiny", "ovs", 4.0, plan=0.7, bridges=0.4),
        run("tiny", "linux", 1.0, plan=0.5, routes=0.1)]


def test_a_row_per_run_and_stage() -> None:
    frame = stage_frame(RUNS)
    assert len(frame) == 3 * 4
    assert set(frame["stage"]) == {"plan", "bridges", "routes", "ready", "down"}


def test_medians_keep_the_order_and_leave_out_what_a_data_plane_lacks() -> None:
    table = stage_medians(stage_frame(RUNS))
    assert list(table.columns) == ["plan", "bridges", "ready", "down", "routes"]
    assert table.loc[("tiny", "ovs"), "bridges"] == pytest.approx(0.3)
    assert pd.isna(table.loc[("tiny", "linux"), "bridges"])


def test_the_summary_sets_the_limit_beside_what_was_measured() -> None:
    table = ready_summary(RUNS, {"tiny": 4.0})
    row = table.loc[("tiny", "ovs")]
    assert (row["runs"], row["median_s"], row["worst_s"], row["limit_s"]) == (2, 3.0, 4.0, 4.0)
