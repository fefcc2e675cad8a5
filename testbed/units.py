"""Numbers with units, read and written: bit/s, nanoseconds, bytes, ratios.

Inside there is one base unit of each, an integer; units exist at the edge only. What
is read must be a whole number of the base unit, and ``parse(format(x)) == x``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

# ASCII digits, bounded: enough for any quantity here, too few to make arithmetic slow.
_NUMBER = r"[0-9]{1,24}(?:\.[0-9]{1,24})?"
_QUANTITY = re.compile(rf"\s*({_NUMBER})\s*([A-Za-z/µμ]*)\s*")
_RATIO = re.compile(rf"\s*({_NUMBER})\s*(%?)\s*")


@dataclass(frozen=True, slots=True)
class _Family:
    """Units of one quantity: the scale of each (the base unit first), how people spell it."""

    scales: Mapping[str, int]
    spellings: Mapping[str, str]
    example: str

    @property
    def remedy(self) -> str:
        *head, last = self.scales
        return f"write it with {', '.join(head)} or {last}, like {self.example}"


def _rate_spellings(units: Mapping[str, int]) -> dict[str, str]:
    # Behind the prefix case counts: a capital B would mean bytes.
    return {
        prefix + tail: unit
        for unit in units
        for prefix in (unit[:-3], unit[:-3].lower(), unit[:-3].upper())
        for tail in ("bps", "b/s", "bit", "bit/s")
    }


_RATE_SCALES = {"bps": 1, "kbps": 10**3, "Mbps": 10**6, "Gbps": 10**9, "Tbps": 10**12}
_TIME_SCALES = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9}
_SIZE_SCALES = {
    "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
}  # fmt: skip

_RATE = _Family(_RATE_SCALES, _rate_spellings(_RATE_SCALES), "100Gbps")
_TIME = _Family(
    _TIME_SCALES, {unit: unit for unit in _TIME_SCALES} | {"µs": "us", "μs": "us"}, "1us"
)
_SIZE = _Family(
    _SIZE_SCALES,
    {spelling: unit for unit in _SIZE_SCALES for spelling in (unit, unit.lower())}
    | {"kB": "KB"},
    "4096B",
)


def parse_rate_bps(text: str) -> int:
    """Read ``100Gbps``, ``20mbit`` or ``400Gb/s`` as bit/s. Raises ValueError."""
    return _parse(text, _RATE)


def parse_time_ns(text: str) -> int:
    """Read ``1us``, ``200ms``, ``5s`` or ``2min`` as nanoseconds. Raises ValueError."""
    return _parse(text, _TIME)


def parse_size_bytes(text: str) -> int:
    """Read ``4096B``, ``64KB`` (64,000) or ``4KiB`` (4,096) as bytes. Raises ValueError."""
    return _parse(text, _SIZE)


def parse_ratio(text: str) -> float:
    """Read ``5%`` or ``0.05`` as a ratio 0..1. Raises ValueError."""
    match = _RATIO.fullmatch(text)
    if not match:
        raise ValueError(f"'{text}' is not a ratio: write a percentage like 5% or 0.05")
    ratio = Fraction(match[1]) / (100 if match[2] else 1)
    if ratio > 1:
        raise ValueError(f"'{text}' is beyond 100%: write a percentage like 5% or 0.05")
    return float(ratio)


def format_rate_bps(rate_bps: int) -> str:
    """Exact text in the largest unit not above it: 10**11 is ``100Gbps``."""
    return _format_scaled(rate_bps, _RATE_SCALES)


def format_time_ns(time_ns: int) -> str:
    """Exact text in the largest unit not above it, up to s: 9404 is ``9.404us``."""
    decimal = {unit: scale for unit, scale in _TIME_SCALES.items() if unit != "min"}
    return _format_scaled(time_ns, decimal)


def format_size_bytes(size_bytes: int) -> str:
    """The largest unit that divides it: 4096 is ``4KiB``, 9000 ``9KB``, 4238 ``4238B``."""
    whole = [unit for unit, scale in _SIZE_SCALES.items() if size_bytes % scale == 0]
    unit = max(whole, key=_SIZE_SCALES.__getitem__) if size_bytes else "B"
    return f"{size_bytes // _SIZE_SCALES[unit]}{unit}"


def format_ratio(ratio: float) -> str:
    """A ratio 0..1 as an exact percentage: 0.05 is ``5%``."""
    return f"{_plain(Decimal(repr(ratio)) * 100)}%"


def format_count(number: int, noun: str) -> str:
    """``1 frame``, ``1,234 frames``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _parse(text: str, family: _Family) -> int:
    match = _QUANTITY.fullmatch(text)
    if not match:
        raise ValueError(f"'{text}' is not a number with a unit: {family.remedy}")
    if not match[2]:
        raise ValueError(f"'{text}' has no unit: {family.remedy}")
    unit = family.spellings.get(match[2])
    if unit is None:
        raise ValueError(f"'{text}' has an unknown unit, {match[2]}: {family.remedy}")
    value = Fraction(match[1]) * family.scales[unit]
    if value.denominator != 1:
        base = next(iter(family.scales))
        raise ValueError(f"'{text}' is not a whole number of {base}: {family.remedy}")
    return value.numerator


def _format_scaled(value: int, scales: Mapping[str, int]) -> str:
    fitting = [unit for unit, scale in scales.items() if scale <= value]
    unit = fitting[-1] if fitting else next(iter(scales))
    return f"{_plain(Decimal(value) / scales[unit])}{unit}"


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
