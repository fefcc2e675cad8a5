"""`testbed compare`: a table, JSON, a page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from unit.analysis.made import made_folder, steady

from testbed.cli.main import main


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs, ``fast`` and ``slow``."""
    monkeypatch.chdir(tmp_path)
    for name, rate_bps in (("fast", 3e11), ("slow", 1e11)):
        made_folder(tmp_path / "runs" / name, flows=steady(rate_bps, 0, 100_000, 10_000))
    return tmp_path / "runs"


def test_figures_stand_side_by_side(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "fast", "slow"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["fast", "slow"]
    assert ["goodput", "300.0", "Gb/s", "100.0", "Gb/s"] in lines


def test_json_has_values_and_units(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "fast", "slow", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["runs"] == ["fast", "slow"]
    assert document["page"] is None
    assert {"figure": "goodput", "unit": "bit/s", "values": [3e11, 1e11]} in document["figures"]


def test_a_page_is_written_where_it_is_asked_for(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "fast", "slow", "--out", "page.html"]) == 0
    assert capsys.readouterr().out.endswith("page.html\n")
    assert "2 runs compared" in Path("page.html").read_text()


def test_one_run_alone_is_no_comparison(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "fast"]) == 2
    assert "name another run" in capsys.readouterr().err
