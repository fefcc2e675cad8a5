"""The steps of all ranks as one table, and how much of the undisturbed rate was lost.

A step ends when its last rank has ended it, and takes as long as that is after the end of the
step before, the first as long as that is after the earliest begin. The times of all steps
add up to the time of the job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

_Rows = Mapping[int, Sequence[Mapping[str, Any]]]

_SECOND_NS = 10**9


def summarise(rows_by_rank: _Rows, baseline_ns: int | None = None) -> dict[str, Any]:
    """``steps``, a row for each that every rank completed, and ``training``, what came of it.

    ``rows_by_rank`` are the ``steps`` of every rank's result; ``baseline_ns`` the median time
    of a step of another run, to compare with. Times are emulated ns. In a row ``time_ns``
    is the step's; ``compute_ns``, ``communicate_ns`` (reducing gradients) and ``exposed_ns``
    (not hidden by computing) are means over ranks, rounded down; ``wrong`` is the sum of
    elements found wrong. ``loss_share`` is 1 - undisturbed time / time, not below 0. What no step
    tells is None.
    """
    ranks = list(rows_by_rank.values())
    number = min(map(len, ranks), default=0)
    steps = [_step([rows[index] for rows in ranks], _begin_ns(ranks, index))
             for index in range(number)]
    return {"steps": steps, "training": _training(steps, baseline_ns)}


def with_last_check(rows: Sequence[Mapping[str, Any]], wrong: int) -> list[dict[str, Any]]:
    """The ``steps`` of a rank, of which ``wrong`` elements were found wrong when all was over."""
    last = len(rows) - 1
    return [{**row, "wrong": max(row["wrong"], wrong) if number == last else row["wrong"]}
            for number, row in enumerate(rows)]


def _begin_ns(ranks: Sequence[Sequence[Mapping[str, Any]]], index: int) -> int:
    if not index:
        return int(min(rows[0]["begun_ns"] for rows in ranks))
    return int(max(rows[index - 1]["ended_ns"] for rows in ranks))


def _step(rows: Sequence[Mapping[str, Any]], begun_ns: int) -> dict[str, int]:
    return {
        "step": rows[0]["step"],
        "time_ns": max(row["ended_ns"] for row in rows) - begun_ns,
        "compute_ns": _mean(rows, "compute_ns"),
        "communicate_ns": _mean(rows, "reduce_ns"),
        "exposed_ns": _mean(rows, "exposed_ns"),
        "wrong": sum(row["wrong"] for row in rows),
    }


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> int:
    return int(sum(row[key] for row in rows) // len(rows))


def _training(steps: Sequence[Mapping[str, int]], baseline_ns: int | None) -> dict[str, Any]:
    times = [step["time_ns"] for step in steps]
    undisturbed_ns = baseline_ns
    if baseline_ns is None and times:
        undisturbed_ns = int(median(times))
    total_ns = sum(times)
    loss = None
    if total_ns and undisturbed_ns is not None:
        loss = max(0.0, 1 - undisturbed_ns * len(times) / total_ns)
    return {
        "steps_per_s": len(times) * _SECOND_NS / total_ns if total_ns else 0.0,
        "undisturbed_steps_per_s": _SECOND_NS / undisturbed_ns if undisturbed_ns else None,
        "loss_share": loss,
        "slowest_step": max(steps, key=lambda step: step["time_ns"])["step"] if steps else None,
        "baseline": "median of this run" if baseline_ns is None else "run",
    }
