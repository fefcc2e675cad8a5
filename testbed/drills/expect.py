"""What a check expects: ``>= 94 %``, ``100 % +- 3 %``, ``0``, ``<= 4 rtt``, ``1 .. 20``.

Percentages are of a reference where the check has one (``of``), and shares of 1 otherwise.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from testbed.drills.moments import parse_span_ns
from testbed.units import parse_rate_bps, parse_size_bytes

_NUMBER = r"-?[0-9]{1,15}(?:\.[0-9]{1,9})?"
_QUANTITY = rf"{_NUMBER}\s*(?:%|[A-Za-zµμ][A-Za-zµμ/]*)?"
_BOUND = re.compile(rf"(>=|<=|>|<)\s*({_QUANTITY})")
_AROUND = re.compile(rf"({_QUANTITY})\s*(?:\+-|±)\s*({_QUANTITY})")
_RANGE = re.compile(rf"({_QUANTITY})\s*\.\.\s*({_QUANTITY})")
_EXACT = re.compile(_QUANTITY)
_PLAIN = re.compile(rf"({_NUMBER})\s*(%?)")
_EXAMPLE = "write it like >= 94 %, 100 % +- 3 %, 0, <= 4 rtt or 1 .. 20"

TIME, RATE, BYTE_RATE, SIZE, NUMBER = "ns", "bit/s", "B/s", "bytes", ""
"""Units of measures; a share is a number, too."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """Bounds of a figure, both included unless they are open; None is no bound.

    ``is_relative``: of the reference, so 0.94 is 94 % of it.
    """

    text: str
    low: float | None
    high: float | None
    is_low_open: bool = False
    is_high_open: bool = False
    is_relative: bool = False

    def holds(self, measured: float, reference: float | None = None) -> bool:
        """Whether a figure is as expected; ``reference`` belongs to what is relative."""
        if math.isnan(measured):
            return False
        scale = (reference or 0.0) if self.is_relative else 1.0
        return self._is_above(measured, scale) and self._is_below(measured, scale)

    def _is_above(self, measured: float, scale: float) -> bool:
        if self.low is None:
            return True
        low = self.low * scale
        return measured > low if self.is_low_open else measured >= low or _is_close(measured, low)

    def _is_below(self, measured: float, scale: float) -> bool:
        if self.high is None:
            return True
        high = self.high * scale
        if self.is_high_open:
            return measured < high
        return measured <= high or _is_close(measured, high)


def _is_close(a: float, b: float) -> bool:
    """Equal but for how floats are rounded."""
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)


def parse_expectation(text: str, unit: str, is_relative: bool, rtt_ns: int) -> Expectation:
    """Read what is expected of a figure in this unit. Raises ValueError."""
    text = " ".join(text.split())

    def value(quantity: str) -> float:
        return _quantity(quantity, unit, is_relative, rtt_ns)

    if match := _BOUND.fullmatch(text):
        bound, is_open = value(match[2]), "=" not in match[1]
        if match[1].startswith(">"):
            return Expectation(text, bound, None, is_open, False, is_relative)
        return Expectation(text, None, bound, False, is_open, is_relative)
    if match := _AROUND.fullmatch(text):
        middle, off = value(match[1]), value(match[2])
        return _range(text, middle - off, middle + off, is_relative)
    if match := _RANGE.fullmatch(text):
        return _range(text, value(match[1]), value(match[2]), is_relative)
    if _EXACT.fullmatch(text):
        return _range(text, value(text), value(text), is_relative)
    raise ValueError(f"'{text}' says nothing that could be expected: {_EXAMPLE}")


def _range(text: str, low: float, high: float, is_relative: bool) -> Expectation:
    if low > high:
        raise ValueError(f"nothing is within '{text}': write the smaller bound first")
    return Expectation(text, low, high, is_relative=is_relative)


def _quantity(text: str, unit: str, is_relative: bool, rtt_ns: int) -> float:
    """A number in the unit of the figure, or as a share of its reference."""
    match = _PLAIN.fullmatch(text.strip())
    if is_relative:
        if match is None or not match[2]:
            raise ValueError(f"'{text}' is compared with a reference: write a percentage like "
                             "94 %, or leave out 'of'")
        return float(match[1]) / 100
    if match and match[2]:
        if unit == NUMBER:
            return float(match[1]) / 100
        raise ValueError(f"'{text}' is a percentage of nothing: say of what with 'of', or write "
                         f"it in {unit}")
    if unit == TIME and not (match and float(match[1]) == 0):
        return parse_span_ns(text, rtt_ns)
    if unit in (RATE, BYTE_RATE) and not (match and float(match[1]) == 0):
        return parse_rate_bps(text) / (8 if unit == BYTE_RATE else 1)
    if unit == SIZE and not match:
        return parse_size_bytes(text)
    if match is None:
        raise ValueError(f"'{text}' has a unit that does not fit {unit or 'a plain number'}: "
                         "leave it out")
    return float(match[1])


def show(value: float | None, unit: str, rtt_ns: int | None = None) -> str:
    """A figure for people: ``742.1 Gb/s``, ``18.8 us (2.0 rtt)``, ``17``, ``0.962``."""
    if value is None:
        return "nothing"
    if unit == RATE:
        return f"{value / 1e9:,.1f} Gb/s"
    if unit == TIME:
        rtts = f" ({value / rtt_ns:.1f} rtt)" if rtt_ns else ""
        return f"{value / 1000:,.2f} us{rtts}"
    if unit == BYTE_RATE:
        return f"{value / 1e9:,.2f} GB/s"
    number = f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3f}"
    return f"{number} {unit}".rstrip()
