"""Numbers with units: what is read, what is refused, and that writing inverts reading."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed import units

QUANTITIES = st.integers(min_value=0, max_value=10**18)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100Gbps", 100 * 10**9),
        ("20mbit", 20 * 10**6),
        ("400 Gb/s", 400 * 10**9),
        ("1.6Tbps", 1_600_000_000_000),
        ("9600bps", 9600),
        ("5kbit/s", 5000),
    ],
)
def test_rates_are_read(text: str, expected: int) -> None:
    assert units.parse_rate_bps(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1us", 1000), ("1µs", 1000), ("200ms", 200 * 10**6), ("5s", 5 * 10**9),
     ("2min", 120 * 10**9), ("9.404us", 9404), ("0ns", 0)],
)  # fmt: skip
def test_times_are_read(text: str, expected: int) -> None:
    assert units.parse_time_ns(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("4096B", 4096), ("64KB", 64_000), ("64kB", 64_000), ("4KiB", 4096),
     ("1.5GiB", 3 * 2**29)],
)  # fmt: skip
def test_sizes_are_read(text: str, expected: int) -> None:
    assert units.parse_size_bytes(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("5%", 0.05), ("0.05", 0.05), ("100%", 1.0), ("0", 0.0), ("1", 1.0)]
)
def test_ratios_are_read(text: str, expected: float) -> None:
    assert units.parse_ratio(text) == expected


@pytest.mark.parametrize(
    ("parse", "text", "complaint"),
    [
        (units.parse_rate_bps, "100", "has no unit: write it with bps, kbps, Mbps"),
        (units.parse_rate_bps, "100GBps", "unknown unit, GBps"),
        (units.parse_rate_bps, "-1Gbps", "not a number with a unit"),
        (units.parse_rate_bps, "0.1bps", "not a whole number of bps"),
        (units.parse_rate_bps, "", "not a number with a unit"),
        (units.parse_time_ns, "5", "has no unit: write it with ns, us, ms, s or min"),
        (units.parse_time_ns, "0.5ns", "not a whole number of ns"),
        (units.parse_time_ns, "nan s", "not a number with a unit"),
        (units.parse_time_ns, "1e9s", "not a number with a unit"),
        (units.parse_time_ns, "1 parsec", "unknown unit, parsec"),
        (units.parse_size_bytes, "4096", "has no unit"),
        (units.parse_size_bytes, "1Kb", "unknown unit, Kb"),
        (units.parse_size_bytes, "٤B", "not a number with a unit"),
        (units.parse_ratio, "50", "beyond 100%"),
        (units.parse_ratio, "101%", "beyond 100%"),
        (units.parse_ratio, "-5%", "not a ratio"),
        (units.parse_ratio, "nan", "not a ratio"),
    ],
)
def test_what_is_refused_says_why(
    parse: Callable[[str], object], text: str, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse(text)


def test_precision_is_not_lost_in_long_numbers() -> None:
    with pytest.raises(ValueError, match="not a whole number"):
        units.parse_size_bytes("123456789012345678901234.000000000000000000000001B")
    assert units.parse_time_ns("123456789012345678901234s") == 123456789012345678901234 * 10**9


@settings(deadline=None)
@given(QUANTITIES)
def test_writing_inverts_reading(value: int) -> None:
    assert units.parse_rate_bps(units.format_rate_bps(value)) == value
    assert units.parse_time_ns(units.format_time_ns(value)) == value
    assert units.parse_size_bytes(units.format_size_bytes(value)) == value


@settings(deadline=None)
@given(st.floats(min_value=1e-6, max_value=1.0) | st.just(0.0))
def test_writing_a_ratio_inverts_reading_it(ratio: float) -> None:
    assert units.parse_ratio(units.format_ratio(ratio)) == ratio


def complaint_about(parse: Callable[[str], int], text: str) -> str | None:
    try:
        parse(text)
    except ValueError as error:
        return str(error)
    return None


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    for parse in (units.parse_rate_bps, units.parse_time_ns, units.parse_size_bytes):
        complaint = complaint_about(parse, text)
        assert complaint is None or "write it with" in complaint


def test_texts_are_the_ones_people_write() -> None:
    assert units.format_rate_bps(100 * 10**9) == "100Gbps"
    assert units.format_rate_bps(0) == "0bps"
    assert units.format_time_ns(9404) == "9.404us"
    assert [units.format_size_bytes(n) for n in (0, 4096, 9000, 4238, 64_000)] == [
        "0B", "4KiB", "9KB", "4238B", "64KB",
    ]  # fmt: skip
    assert units.format_ratio(0.05) == "5%"
