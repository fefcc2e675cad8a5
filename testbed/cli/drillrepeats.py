"""What repeats of one drill say together: percentiles of its recovery."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from testbed.analysis import load
from testbed.analysis.recovery import percentiles
from testbed.cli.output import table
from testbed.drills.engine import Played
from testbed.drills.verdict import INCONCLUSIVE

_FIGURES = ("p50", "p95", "max")


@dataclass(frozen=True, slots=True)
class Repeats:
    """The repeats of a drill: how many ran, and how many of them can be counted.

    ``rows``: a milestone of recovery each, as :func:`testbed.analysis.recovery.percentiles`
    gives them; none where fewer than two repeats can be counted.
    """

    name: str
    runs: int
    counted: int
    rows: Sequence[dict[str, Any]]

    def to_document(self) -> dict[str, Any]:
        """For programs; what no repeat has is null."""
        rows = [{key: None if isinstance(value, float) and math.isnan(value) else value
                 for key, value in row.items()} for row in self.rows]
        return {"runs": self.runs, "counted": self.counted, "recovery": rows}

    def to_text(self) -> str:
        """For people: a line per milestone, emulated us and base RTTs."""
        left_out = self.runs - self.counted
        beside = f", {left_out} that showed nothing left out" if left_out else ""
        if self.counted < 2:
            return (f"{self.name}: {self.counted} of {self.runs} repeats can be counted, too few "
                    "for percentiles")
        header = ("step", "fault", "milestone", "seen", *(f"{name} us" for name in _FIGURES),
                  *(f"{name} rtt" for name in _FIGURES))
        rows = [(row["name"], row["target"], row["milestone"], row["repeats"],
                 *(f"{row[f'{name}_ns'] / 1000:.1f}" for name in _FIGURES),
                 *(f"{row[f'{name}_rtt']:.1f}" for name in _FIGURES))
                for row in self.rows if row["repeats"]]
        return (f"{self.name}: recovery over {self.counted} repeats{beside}, in emulated us and "
                f"base RTTs\n{table(header, rows)}")


def repeats_of(name: str, runs: int, played: Sequence[Played]) -> Repeats:
    """Of ``runs`` repeats those that were ``played``; an INCONCLUSIVE one measured nothing."""
    counted = [found for found in played if found.judgement.word != INCONCLUSIVE]
    rows: list[dict[str, Any]] = []
    if len(counted) > 1:
        frames = [load(found.folder).recovery() for found in counted]
        rows = percentiles(frames).to_dict("records")
    return Repeats(name, runs, len(counted), rows)
