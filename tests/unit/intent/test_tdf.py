"""The time dilation factor as typed."""

from __future__ import annotations

import pytest

from testbed.errors import UsageError
from testbed.intent.tdf import parse_tdf


@pytest.mark.parametrize(
    ("text", "expected"), [("auto", "auto"), ("1", 1), ("5000", 5000), ("10000000", 10_000_000)]
)
def test_what_is_read(text: str, expected: int | str) -> None:
    assert parse_tdf(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "10000001", "1e3", "1.5", "AUTO", "٣", "9" * 99]
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="use auto or 1 to 10000000"):
        parse_tdf(text)
