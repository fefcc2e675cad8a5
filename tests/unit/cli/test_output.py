"""Tables for people."""

from __future__ import annotations

from testbed.cli.output import table


def test_columns_align_and_numbers_go_to_the_right() -> None:
    text = table(("NAME", "N"), [("a", 5), ("long", 12)])
    assert text.splitlines() == ["NAME   N", "a      5", "long  12"]


def test_a_column_of_words_and_numbers_goes_to_the_left() -> None:
    text = table(("T1",), [("-",), (3,)])
    assert text.splitlines() == ["T1", "-", "3"]


def test_no_rows_leave_the_header() -> None:
    assert table(("A", "B"), []) == "A  B"
