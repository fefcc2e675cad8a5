"""Raw rows: one JSON array a line, the table's name and then the values in column order.

    ["schema_version",3]
    ["flows",18808,18808,"h0","h4",3,120,...]

A file begins with the version of its tables (`HEADER`). It is written while a run goes on, so
the last line may be cut off; that is left out in reading.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from testbed.metrics.tables import SCHEMA_VERSION, TABLES

_COLUMNS: Mapping[str, tuple[str, ...]] = {name: tuple(found) for name, found in TABLES.items()}
_TIME_OF = {"messages": "t_post_ns", "collectives": "t_start_ns", "steps": "t_start_ns"}
# Made once: json.dumps would make one for every row.
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


_VERSION = "schema_version"
HEADER = _encode((_VERSION, SCHEMA_VERSION)) + "\n"
"""The first line of a file."""


class OtherVersion(ValueError):
    """Rows of tables that are not those of now; says which, and what to do."""


def encode(table: str, values: Sequence[Any]) -> str:
    """The line of a row, with its end."""
    return _encode((table, *values)) + "\n"


def row_of(table: str, values: Sequence[Any]) -> dict[str, Any]:
    """Values in column order as a row by column. Raises ValueError where they do not fit."""
    return dict(zip(_COLUMNS[table], values, strict=True))


def values_of(table: str, row: Mapping[str, Any]) -> tuple[Any, ...]:
    """A row's values in column order. Raises KeyError where one is missing."""
    return tuple(row[name] for name in _COLUMNS[table])


def decode(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row with its table; a line that was cut off is left out.

    Raises OtherVersion where the lines say so, or a whole row is none of these tables.
    """
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if not isinstance(found, list) or not found:
            continue
        table, values = found[0], found[1:]
        if table == _VERSION:
            _require_version(values)
        elif len(values) != len(_COLUMNS.get(table, ())):
            raise _other_version("another version")
        else:
            yield table, row_of(table, values)


def _require_version(values: Sequence[Any]) -> None:
    if values != [SCHEMA_VERSION]:
        raise _other_version(f"version {', '.join(map(str, values)) or 'none'}")


def _other_version(which: str) -> OtherVersion:
    return OtherVersion(f"its rows are of {which}, and this testbed reads version "
                        f"{SCHEMA_VERSION}: use the testbed that made the run")


def merged(*sets: Mapping[str, Iterable[Mapping[str, Any]]]
           ) -> dict[str, list[Mapping[str, Any]]]:
    """Tables of several origins as one set, the rows of each in order of time."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for tables in sets:
        for name, rows in tables.items():
            found.setdefault(name, []).extend(rows)
    for name, rows in found.items():
        time_of = _TIME_OF.get(name, "t_ns")
        rows.sort(key=lambda row: int(row[time_of]))
    return found


def by_table(rows: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Rows sorted into their tables; every table is there."""
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for table, row in rows:
        tables[table].append(row)
    return tables
