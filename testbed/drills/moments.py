"""Times of a drill as typed: ``40rtt``, ``1.5us``, ``crash + 5rtt``, ``end - 20rtt``.

``rtt`` is the base RTT of the drill's topology across a T1
(:func:`topologies.numbers.base_rtt_ns`); everything is emulated time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from testbed.faults.script import When, Who
from testbed.intent.names import NAME_RULE, is_name
from testbed.units import parse_time_ns

START, END = "start", "end"
RESERVED = (START, END)

_RTTS = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*rtts?")
_POINT = re.compile(r"(?P<ref>[a-z][a-z0-9-]*)\s*(?:(?P<sign>[+-])\s*(?P<span>[0-9].*))?")
_WHEN = re.compile(r"(all ranks|any rank) (?:in (iteration|step) ([0-9]{1,9})|"
                   r"past ([0-9]{1,3}) ?%)")


@dataclass(frozen=True, slots=True)
class Point:
    """A moment of a run: ``offset_ns`` from its start, its end, or a step of this name."""

    ref: str
    offset_ns: int

    def __str__(self) -> str:
        sign = "+" if self.offset_ns >= 0 else "-"
        return f"{self.ref} {sign} {abs(self.offset_ns) / 1000:g}us" if self.offset_ns else self.ref


def parse_span_ns(text: str, rtt_ns: int) -> int:
    """Read ``40rtt`` or ``5us`` as ns. Raises ValueError."""
    if match := _RTTS.fullmatch(text.strip()):
        return round(float(match[1]) * rtt_ns)
    try:
        return parse_time_ns(text)
    except ValueError as error:
        raise ValueError(f"{error}, or in base RTTs like 40rtt") from None


def parse_point(text: str, rtt_ns: int) -> Point:
    """Read ``40rtt`` (since the start), ``start``, ``crash + 5rtt`` or ``end - 2us``.

    Whether there is such a step is asked later. Raises ValueError.
    """
    text = text.strip()
    if text[:1].isdigit():
        return Point(START, parse_span_ns(text, rtt_ns))
    match = _POINT.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is not a moment: write a time like 40rtt, or a step with or "
                         "without a time, like crash + 5rtt")
    offset_ns = parse_span_ns(match["span"], rtt_ns) if match["span"] else 0
    return Point(match["ref"], -offset_ns if match["sign"] == "-" else offset_ns)


def parse_when(text: str, delay_ns: int) -> When:
    """Read ``all ranks in iteration 3``, ``any rank in step 2`` or ``all ranks past 40 %``.

    Raises ValueError.
    """
    match = _WHEN.fullmatch(" ".join(text.split()))
    if match is None:
        raise ValueError(f"'{text}' is not a condition: write it like all ranks in iteration 3, "
                         "any rank in step 2 or all ranks past 40 %")
    who: Who = "all ranks" if match[1] == "all ranks" else "any rank"
    if match[4]:
        return When(who, "share", int(match[4]), delay_ns)
    return When(who, "step" if match[2] == "step" else "iteration", int(match[3]), delay_ns)


def parse_name(text: str) -> str:
    """The name of a drill, a step or a window. Raises ValueError."""
    if not is_name(text) or text in RESERVED:
        words = " and ".join(RESERVED)
        raise ValueError(f"'{text}' cannot be a name: use {NAME_RULE}, and not {words}")
    return text
