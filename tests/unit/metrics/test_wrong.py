"""One figure for everything that was found wrong."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.metrics.wrong import wrong_elements

CLEAN = {"checked_bytes": 8, "wrong_bytes": 0}


@pytest.mark.parametrize(("result", "count"), [
    ({}, None),
    ({"verified": {}}, None),
    ({"verified": {"checked_bytes": 0, "wrong_bytes": 0}}, None),
    ({"verified": {"checked_bytes": 0, "wrong_bytes": 0, "wrong_elements": None}}, None),
    ({"verified": {"checked_bytes": 0, "wrong_bytes": 0}, "sizes": [{"wrong": 1}]}, 1),
    ({"verified": CLEAN}, 0),
    ({"verified": {"checked_bytes": 8, "wrong_bytes": 3}}, 3),
    ({"verified": {"checked_bytes": 8, "wrong_bytes": 8, "wrong_elements": 2}}, 2),
    ({"verified": CLEAN, "sizes": [{"wrong": 1}, {"wrong": 2}]}, 3),
    ({"verified": {**CLEAN, "wrong_elements": 0}, "steps": [{"wrong": 1}]}, 1),
    # A step that one rank did not end is in no row of all ranks.
    ({"verified": CLEAN, "steps": [], "rank_steps": [{"wrong": 4}]}, 4),
])
def test_whatever_was_found_wrong_counts(result: dict[str, Any], count: int | None) -> None:
    assert wrong_elements(result) == count
