"""Frames with the columns and types of the tables, and small things all questions share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from testbed.metrics.tables import TABLES


class Window(NamedTuple):
    """A piece of a run, emulated ns: after ``start_ns`` until ``end_ns``.

    What happened at its very end belongs to it, as what a sample says of the time before it.
    """

    start_ns: int
    end_ns: int

    @property
    def width_ns(self) -> int:
        """How long it is."""
        return self.end_ns - self.start_ns


def frame_of(name: str, rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A table of rows by column."""
    return typed(name, pd.DataFrame(list(rows), columns=list(TABLES[name])))


def typed(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The columns of this table in their order and type, by time where it has one.

    Columns that an older version did not have are missing values, 0 where a number must be
    there.
    """
    columns = TABLES[name]
    for column, kind in columns.items():
        if column not in frame.columns:
            frame[column] = _default(kind)
    frame = frame[list(columns)].astype(dict(columns))
    order = "t_ns" if "t_ns" in columns else None
    return frame.sort_values(order, kind="stable", ignore_index=True) if order else frame


def _default(kind: str) -> object:
    return {"string": "", "bool": False, "Int64": pd.NA}.get(kind, 0)


def within(frame: pd.DataFrame, window: Window | None, column: str = "t_ns") -> pd.DataFrame:
    """The rows whose time lies in the window; all where there is none."""
    if window is None:
        return frame
    times = frame[column]
    return frame[(times > window.start_ns) & (times <= window.end_ns)]


def where(frame: pd.DataFrame, **values: object) -> pd.DataFrame:
    """The rows that have these values; None does not select."""
    for column, value in values.items():
        if value is not None:
            frame = frame[frame[column] == value]
    return frame
