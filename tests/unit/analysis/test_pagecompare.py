"""Runs side by side."""

from __future__ import annotations

import json
from pathlib import Path

from unit.analysis.made import WORKLOAD, made_run, steady

from testbed.analysis.pagecompare import (
    comparison,
    comparison_document,
    overlay,
    write_comparison,
)

FAST = made_run(flows=steady(300e9, 0, 100_000, 10_000))
SLOW = made_run(workload={**WORKLOAD, "qps": 2}, flows=steady(100e9, 0, 100_000, 10_000))


def test_figures_have_units_and_differences_are_told() -> None:
    rows = {row[0]: row[1:] for row in comparison([FAST, SLOW]).rows}
    assert rows["goodput"] == ("300.0 Gb/s", "100.0 Gb/s")
    assert rows["spec: qps"] == ("1", "2")


def test_the_document_is_json_with_bare_values() -> None:
    document = json.loads(json.dumps(comparison_document([FAST, SLOW]), allow_nan=False))
    found = {row["figure"]: row for row in document["figures"]}
    assert found["goodput"] == {"figure": "goodput", "unit": "bit/s", "values": [3e11, 1e11]}
    assert len(document["runs"]) == 2


def test_curves_share_their_axes() -> None:
    canvas = overlay([FAST, SLOW])
    assert canvas is not None
    lines = canvas.axes[0].lines
    assert [{float(y) for y in line.get_ydata()} for line in lines] == [{300}, {100}]


def test_runs_without_samples_have_no_curves(tmp_path: Path) -> None:
    assert overlay([made_run(), made_run()]) is None
    write_comparison([made_run(), made_run()], tmp_path / "page.html")
    assert "No queue pair was sampled" in (tmp_path / "page.html").read_text()


def test_the_page_has_table_and_curves(tmp_path: Path) -> None:
    write_comparison([FAST, SLOW], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<svg" in page
    assert "300.0 Gb/s" in page
