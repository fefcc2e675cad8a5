"""How much of what a run moved arrived wrong: the one figure that all who judge a run use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def wrong_elements(result: Mapping[str, Any]) -> int | None:
    """Elements of collectives and training, bytes of plain writes, that a result document found
    wrong, in any iteration and when all was over; None where nothing was compared.
    """
    verified = result.get("verified")
    if not verified:
        return None
    rows = [*result.get("collectives", ()), *result.get("rank_steps", ())]
    summed = [*result.get("sizes", ()), *result.get("steps", ())]
    counts = [sum(row.get("wrong") or 0 for row in found) for found in (rows, summed)]
    wrong = int(max(*counts, verified.get("wrong_elements") or verified["wrong_bytes"]))
    return wrong if wrong or verified["checked_bytes"] else None
