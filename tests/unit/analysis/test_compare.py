"""Runs side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from unit.analysis.made import SIMULATED, WORKLOAD, made_run, steady

from testbed.analysis.compare import FIGURES, compare
from testbed.analysis.measures import MEASURES
from testbed.errors import UsageError

FAST = replace(made_run(flows=steady(8e9, 0, 100_000)), path=Path("runs/fast"))
SLOW = replace(made_run(flows=steady(2e9, 0, 100_000), manifest=SIMULATED,
                        workload={**WORKLOAD, "qps": 8}), path=Path("runs/slow"))


def test_a_column_per_run_and_a_row_per_figure() -> None:
    table = compare([FAST, SLOW])
    assert list(table.columns) == ["fast", "slow"]
    assert list(table.loc[("goodput", "bit/s")]) == pytest.approx([8e9, 2e9])
    assert list(table.loc[("verdict", "")]) == ["trusted", "simulated"]
    assert list(table.loc[("time dilation", "")]) == [5000, None]
    assert list(table.loc[("spec: qps", "")]) == [1, 8]


def test_what_agrees_or_nobody_has_is_left_out() -> None:
    figures = set(compare([FAST, SLOW]).index.get_level_values("figure"))
    assert "spec: size" not in figures
    assert "spec: topology.planes" not in figures
    assert "step_time" not in figures


def test_another_topology_is_told_key_by_key() -> None:
    other = replace(made_run("octo"), path=Path("runs/octo"))
    table = compare([FAST, other])
    assert list(table.loc[("spec: topology.planes", "")]) == [4, 8]
    assert table.loc[("goodput", "bit/s"), "octo"] is None


def test_a_drill_has_its_word_and_a_partial_run_says_so() -> None:
    run = replace(made_run(manifest={"state": "partial"}, drill={"name": "x", "word": "FAIL"}),
                  path=Path("runs/cut"))
    table = compare([run, FAST])
    assert list(table.loc[("drill", "")]) == ["x: FAIL", None]
    assert table.loc[("verdict", ""), "cut"] == "trusted, partial"


def test_runs_of_one_name_are_numbered() -> None:
    assert list(compare([FAST, FAST, FAST]).columns) == ["fast", "fast (2)", "fast (3)"]


def test_every_figure_is_a_measure_that_needs_no_key() -> None:
    assert set(FIGURES) <= MEASURES.keys()


def test_nothing_cannot_be_compared() -> None:
    with pytest.raises(UsageError, match="nothing to compare"):
        compare([])
