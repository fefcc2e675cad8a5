"""Tables as Parquet, and back."""

from __future__ import annotations

import io

import pyarrow.parquet
import pytest

from testbed.analysis.tables import UNIT_KEY, VERSION_KEY, from_parquet, to_parquet
from testbed.metrics.rows import row_of
from testbed.metrics.tables import SCHEMA_VERSION, TABLES, unit_of

ROW = {"host": "h0", "rank": 0, "op": "allreduce", "algorithm": "ring", "dtype": "float",
       "bytes": 1 << 40, "iteration": -1, "t_start_ns": 0, "t_end_ns": 2**60, "verified": True}


def test_what_is_written_is_read() -> None:
    frame = from_parquet(to_parquet("collectives", [ROW, {**ROW, "rank": 1, "verified": False}]))
    assert frame.to_dict("records") == [ROW, {**ROW, "rank": 1, "verified": False}]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_without_rows_has_its_columns_and_types(name: str) -> None:
    frame = from_parquet(to_parquet(name, []))
    assert list(frame.columns) == list(TABLES[name])
    numbers = {column: kind for column, kind in TABLES[name].items() if kind != "string"}
    assert {column: str(frame.dtypes[column]) for column in numbers} == numbers


@pytest.mark.parametrize("name", TABLES)
def test_a_file_says_which_version_its_columns_are_of(name: str) -> None:
    schema = pyarrow.parquet.read_schema(io.BytesIO(to_parquet(name, [])))
    assert schema.metadata[VERSION_KEY] == str(SCHEMA_VERSION).encode()


@pytest.mark.parametrize("name", TABLES)
def test_a_file_says_what_its_numbers_are(name: str) -> None:
    schema = pyarrow.parquet.read_schema(io.BytesIO(to_parquet(name, [])))
    units = {field.name: (field.metadata or {}).get(UNIT_KEY, b"").decode() for field in schema}
    assert units == {column: unit_of(name, column) for column in TABLES[name]}


def test_what_may_be_missing_stays_missing() -> None:
    values = {"h0": 3, "h1": None}
    rows = [row_of("probes", (5, host, "h4", 3, 1 << 16, 0, t1, 9_404))
            for host, t1 in values.items()]
    frame = from_parquet(to_parquet("probes", rows))
    assert frame["t1"].isna().tolist() == [False, True]
    assert frame["t1"][0] == 3


def test_a_row_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="other columns"):
        to_parquet("steps", [ROW])
