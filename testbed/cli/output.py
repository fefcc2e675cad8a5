"""How the commands print: aligned tables for people, one JSON document for programs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any


def print_json(document: Any) -> None:
    """The one thing on stdout under --json."""
    print(json.dumps(document, indent=2), flush=True)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as they need be; numbers to the right."""
    cells = [[*map(str, header)], *([*map(str, row)] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    right = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(header))]
    lines = []
    for row in cells:
        padded = [cell.rjust(width) if flush else cell.ljust(width)
                  for cell, width, flush in zip(row, widths, right, strict=True)]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def note(text: str) -> None:
    """Progress and remarks: to stderr, so that stdout stays a result.

    A terminal that has gone hears nothing, and what is under way goes on.
    """
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def interrupt_on_hangup() -> None:
    """Treat SIGTERM and a closed terminal like Ctrl-C; one that was ignored stays so (nohup)."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


VERDICT_COLOURS = {"trusted": "green", "degraded": "yellow", "invalid": "red"}


def paint(text: str, colour: str) -> str:
    """Colour for a terminal; plain text elsewhere or where NO_COLOR is set."""
    codes = {"red": 31, "green": 32, "yellow": 33, "bold": 1}
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\033[{codes[colour]}m{text}\033[0m"
