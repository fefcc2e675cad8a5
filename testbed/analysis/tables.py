"""Tables of a run folder as pandas frames, and as the Parquet they are kept in."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.parquet

from testbed.metrics.tables import SCHEMA_VERSION, TABLES, check_rows, unit_of

VERSION_KEY = b"schema_version"
"""Under it `SCHEMA_VERSION` is in the metadata of a file."""
UNIT_KEY = b"unit"
"""Under it the unit of a number is in the metadata of its column."""


def to_parquet(name: str, rows: Iterable[Mapping[str, Any]]) -> bytes:
    """The file of a table (a key of `TABLES`), with `SCHEMA_VERSION` in its metadata and
    units in those of its columns.

    Raises ValueError where a row does not fit.
    """
    rows = list(rows)
    check_rows(name, rows)
    columns = TABLES[name]
    frame = pd.DataFrame(rows, columns=list(columns)).astype(dict(columns))
    buffer = io.BytesIO()
    table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    about = {**(table.schema.metadata or {}), VERSION_KEY: str(SCHEMA_VERSION).encode()}
    schema = pyarrow.schema([_with_unit(name, field) for field in table.schema], about)
    pyarrow.parquet.write_table(table.cast(schema), buffer)
    return buffer.getvalue()


def _with_unit(name: str, field: pyarrow.Field) -> pyarrow.Field:
    unit = unit_of(name, field.name)
    return field.with_metadata({UNIT_KEY: unit.encode()}) if unit else field


def from_parquet(data: bytes) -> pd.DataFrame:
    """The frame that `to_parquet` wrote."""
    return pd.read_parquet(io.BytesIO(data), engine="pyarrow")
