"""Typed frames, windows and selection."""

from __future__ import annotations

import pandas as pd
import pytest
from unit.analysis.made import flow, message

from testbed.analysis.frames import Window, frame_of, typed, where, within
from testbed.metrics.tables import TABLES

ROWS = [flow(2000, qp=2), flow(1000), flow(3000)]


@pytest.mark.parametrize("name", TABLES)
def test_a_frame_has_the_columns_and_types_of_its_table(name: str) -> None:
    frame = frame_of(name, [])
    assert {column: str(kind) for column, kind in frame.dtypes.items()} == TABLES[name]


def test_rows_are_in_order_of_time_where_there_is_one() -> None:
    assert list(frame_of("flows", ROWS)["t_ns"]) == [1000, 2000, 3000]
    assert list(frame_of("messages", [message(9, 10), message(1, 2)])["t_post_ns"]) == [9, 1]


def test_columns_that_are_missing_are_filled_and_others_dropped() -> None:
    frame = typed("probes", pd.DataFrame({"t_ns": [5], "host": ["h0"], "novelty": [1]}))
    assert list(frame.columns) == list(TABLES["probes"])
    assert frame.iloc[0]["peer"] == ""
    assert frame.iloc[0]["rtt_ns"] == 0
    assert pd.isna(frame.iloc[0]["t1"])


def test_a_window_has_its_end_and_not_its_begin() -> None:
    frame = frame_of("flows", ROWS)
    assert list(within(frame, Window(1000, 3000))["t_ns"]) == [2000, 3000]
    assert list(within(frame, Window(0, 1000))["t_ns"]) == [1000]
    assert len(within(frame, None)) == 3
    assert Window(1000, 3000).width_ns == 2000


def test_none_selects_nothing_out() -> None:
    frame = frame_of("flows", ROWS)
    assert list(where(frame, host=None, qp=2)["t_ns"]) == [2000]
    assert len(where(frame, host="h9")) == 0
