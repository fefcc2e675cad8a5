"""Counts of paths by plane and T1."""

from __future__ import annotations

import pytest
from unit.analysis.made import ev_sample, made_run

from testbed.analysis import Window
from testbed.errors import UsageError

ROWS = [ev_sample(5000, 0x0001_0000, 7, lost=1), ev_sample(9000, 0x0001_0000, 2),
        ev_sample(5000, 0x0302_0000, 4, host="h1")]


def test_a_row_per_plane_and_a_column_per_t1() -> None:
    table = made_run(ev_samples=ROWS).path_heatmap()
    assert list(table.index) == [0, 1, 2, 3]
    assert list(table.columns) == [0, 1, 2, 3]
    assert table.loc[0, 1] == 9
    assert table.loc[3, 2] == 4
    assert table.to_numpy().sum() == 13


def test_what_was_asked_for_only() -> None:
    run = made_run(ev_samples=ROWS)
    assert run.path_heatmap("lost").to_numpy().sum() == 1
    assert run.path_heatmap(host="h1").to_numpy().sum() == 4
    assert run.path_heatmap(window=Window(6000, 10_000)).to_numpy().sum() == 2


def test_traffic_inside_a_t0_has_a_column_of_its_own() -> None:
    inside = ev_sample(5000, 0x0200_0000, 3, t1=None)
    assert list(made_run(ev_samples=[inside]).path_heatmap().columns) == ["local"]
    table = made_run(ev_samples=[*ROWS, inside]).path_heatmap()
    assert list(table.columns) == [0, 1, 2, 3, "local"]
    assert table.loc[2, "local"] == 3


def test_a_count_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'trimmed'"):
        made_run().path_heatmap("trimed")
