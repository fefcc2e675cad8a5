"""Rows of the tables, from result documents."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.metrics.tables import TABLES, UNITS, check_rows, tables_of, unit_of

COLLECTIVE: dict[str, Any] = {
    "operation": "allreduce", "algorithm": "ring", "dtype": "float",
    "collectives": [
        {"host": "h3", "rank": 1, "size_bytes": 64, "iteration": -1, "number": 1, "begun_ns": 5,
         "ended_ns": 9, "wrong": 0},
        {"host": "h3", "rank": 1, "size_bytes": 64, "iteration": 0, "number": 2, "begun_ns": 10,
         "ended_ns": 19, "wrong": 2},
    ],
}
TRAINING: dict[str, Any] = {
    "rank_steps": [{"host": "h0", "rank": 0, "step": 0, "begun_ns": 1, "ended_ns": 100,
                    "compute_ns": 60, "reduce_ns": 50, "exposed_ns": 39, "wrong": 0}],
}


def test_collectives_have_a_row_per_iteration_and_rank() -> None:
    first, second = tables_of(COLLECTIVE)["collectives"]
    assert first["iteration"] == -1
    assert (second["t_start_ns"], second["t_end_ns"], second["bytes"]) == (10, 19, 64)
    assert (first["verified"], second["verified"]) == (True, False)


def test_steps_have_a_row_per_step_and_rank() -> None:
    (row,) = tables_of(TRAINING)["steps"]
    assert (row["communicate_ns"], row["exposed_ns"], row["verified"]) == (50, 39, True)


def test_other_runs_have_neither() -> None:
    assert tables_of({"streams": []}) == {}


@pytest.mark.parametrize("document", [COLLECTIVE, TRAINING])
def test_rows_have_the_columns_of_their_table(document: dict[str, Any]) -> None:
    for name, rows in tables_of(document).items():
        check_rows(name, rows)
        assert rows[0].keys() == TABLES[name].keys()


def test_a_row_with_other_columns_is_refused() -> None:
    rows = tables_of(COLLECTIVE)["collectives"]
    with pytest.raises(ValueError, match=r"other columns .*\(speed\)"):
        check_rows("collectives", [*rows, {**rows[0], "speed": 1}])


@pytest.mark.parametrize("table", TABLES)
def test_every_number_has_a_unit_and_nothing_else_has(table: str) -> None:
    units = {column: unit_of(table, column) for column in TABLES[table]}
    for column, kind in TABLES[table].items():
        assert bool(units[column]) is (kind not in ("string", "bool")), column
    named = {column for column in UNITS[table] if units[column] == UNITS[table][column]}
    assert named == set(UNITS[table])
    for column in named - {"bytes"}:  # whose name says nothing of it
        assert not column.endswith(("_ns", "_bytes", "_packets", "_frames")), column


def test_no_table_is_without_units() -> None:
    assert UNITS.keys() == TABLES.keys()
