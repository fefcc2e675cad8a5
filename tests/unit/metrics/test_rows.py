"""testbed/metrics/rows.py: rows as lines, and lines as rows, also where the last is cut off."""

from __future__ import annotations

import pytest

from testbed.metrics.rows import (
    HEADER,
    OtherVersion,
    by_table,
    decode,
    encode,
    merged,
    row_of,
    values_of,
)
from testbed.metrics.tables import SCHEMA_VERSION, TABLES, event_row

PROBE = (9_500, "h0", "h4", 3, 0x0203_0000, 2, 3, 9_404)
LOCAL = (9_600, "h0", "h1", 4, 0x0200_0000, 2, None, 4_702)


def test_a_row_survives_being_written() -> None:
    lines = [encode("probes", PROBE), encode("probes", LOCAL)]
    assert lines[0] == '["probes",9500,"h0","h4",3,33751040,2,3,9404]\n'
    assert list(decode(lines)) == [("probes", row_of("probes", PROBE)),
                                   ("probes", row_of("probes", LOCAL))]


def test_texts_of_any_kind_stay_on_their_line() -> None:
    row = event_row(1, "warning", detail='two\nlines, "quoted"')
    line = encode("events", values_of("events", row))
    assert line.count("\n") == 1
    assert list(decode([line])) == [("events", row)]


@pytest.mark.parametrize("cut", range(1, len(encode("probes", PROBE)) - 1))
def test_a_line_that_is_cut_off_is_left_out_wherever_it_is_cut(cut: int) -> None:
    lines = [encode("probes", LOCAL), encode("probes", PROBE)[:cut]]
    assert list(decode(lines)) == [("probes", row_of("probes", LOCAL))]


@pytest.mark.parametrize("line", ["", "5", "[]", "{}", "null", "\0\0\0"])
def test_what_is_no_row_is_left_out(line: str) -> None:
    assert list(decode([HEADER, line])) == []


@pytest.mark.parametrize(("line", "told"), [
    ('["novelty",1]', "another version"), ('["probes",1]', "another version"),
    ('["probes",1,2,3,4,5,6,7,8,9]', "another version"),
    (f'["schema_version",{SCHEMA_VERSION + 1}]', f"version {SCHEMA_VERSION + 1}"),
    ('["schema_version"]', "version none"),
])
def test_rows_of_another_version_are_told_and_not_dropped(line: str, told: str) -> None:
    with pytest.raises(OtherVersion, match=f"its rows are of {told}, and this testbed reads"):
        list(decode([encode("probes", PROBE), line]))


def test_values_have_to_fit() -> None:
    with pytest.raises(ValueError, match="longer"):
        row_of("probes", (*PROBE, 1))
    with pytest.raises(KeyError):
        values_of("probes", {"t_ns": 1})


def test_every_table_is_there_also_without_rows() -> None:
    tables = by_table([("probes", row_of("probes", PROBE))])
    assert tables.keys() == TABLES.keys()
    assert [name for name, rows in tables.items() if rows] == ["probes"]


def test_tables_of_several_origins_are_in_order_of_time() -> None:
    late, soon = row_of("probes", LOCAL), row_of("probes", PROBE)
    write = row_of("messages", ("h0", "h1", 3, "write", 8, 5, None, "open"))
    assert merged({"probes": [late], "messages": [write]}, {"probes": [soon]}) == {
        "probes": [soon, late], "messages": [write]}
