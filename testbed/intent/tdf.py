"""The time dilation factor as typed: ``auto`` or a whole number."""

from __future__ import annotations

import re
from typing import Literal

from testbed.errors import UsageError

MAX_TDF = 10_000_000
_DIGITS = re.compile(r"[0-9]{1,8}")


def parse_tdf(text: str) -> int | Literal["auto"]:
    """Read ``auto`` or 1..10,000,000. Raises UsageError."""
    if text == "auto":
        return "auto"
    if _DIGITS.fullmatch(text) and 1 <= int(text) <= MAX_TDF:
        return int(text)
    raise UsageError(f"--tdf {text} is not allowed: use auto or 1 to {MAX_TDF}")
