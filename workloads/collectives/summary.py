"""What the ranks of a collective measured, put together in the manner of nccl-tests."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workloads.collectives.catalogue import OPERATIONS
from workloads.collectives.layout import ITEM_BYTES


def iteration_rows(results: Iterable[Mapping[str, Any]],
                   verified: Iterable[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
    """A row per iteration and rank, in the order they ended; warm-up has iterations below 0.

    ``verified`` is what `verify` answered on each rank: ``wrong`` counts the elements of an
    iteration that were found wrong when it had ended or when all was over.
    """
    last = {(entry["rank"], entry["number"]): entry["wrong"]
            for answer in verified for entry in answer["sizes"]}
    rows = [{"rank": result["rank"], **row,
             "wrong": max(row["wrong"], last.get((result["rank"], row["number"]), 0))}
            for result in results for row in result["iterations"]]
    return sorted(rows, key=lambda row: (row["number"], row["rank"]))


def size_rows(parameters: Mapping[str, Any],
              rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row per size, over its iterations without the warm-up.

    ``parameters`` are the job's, ``rows`` of `iteration_rows`. An iteration takes the mean of what
    it took on all ranks, as nccl-tests counts; ``time_ns`` (mean), ``median_ns`` and
    ``slowest_ns`` are of those, and
    ``lost_ns`` is what all that took longer than the median took beyond it (None of a single one,
    which has no other to compare with). algbw =
    size/time_ns and busbw = algbw x the operation's factor, in bytes per second. ``wrong``
    counts elements, of the warm-up too. A size that no iteration completed on all ranks has none
    of these figures (None).
    """
    rows = list(rows)
    return [_size_row(parameters, size, [row for row in rows if row["size_bytes"] == size])
            for size in parameters["sizes"]]


def _size_row(parameters: Mapping[str, Any], size: int,
              rows: list[Mapping[str, Any]]) -> dict[str, Any]:
    ranks = len(parameters["hosts"])
    operation = OPERATIONS[parameters["operation"]]
    times_ns = _times_ns(rows, ranks)
    time_ns = statistics.mean(times_ns) if times_ns else None
    median_ns = statistics.median(times_ns) if times_ns else None
    algbw = size * 1e9 / time_ns if time_ns else None
    count = size // ITEM_BYTES[parameters["dtype"]]
    return {
        "size_bytes": size,
        "count": count // ranks if operation.is_counted_per_rank else count,
        "iters": len(times_ns),
        "time_ns": time_ns,
        "median_ns": median_ns,
        "slowest_ns": max(times_ns, default=None),
        "lost_ns": time_lost_ns(times_ns),
        "algbw_bytes_per_s": algbw,
        "busbw_bytes_per_s": algbw and float(algbw * operation.bus_factor(ranks)),
        "wrong": sum(row["wrong"] for row in rows),
    }


def time_lost_ns(times_ns: Sequence[float]) -> float | None:
    """What all that took longer than the median took beyond it; None of fewer than two."""
    if len(times_ns) < 2:
        return None
    median_ns = statistics.median(times_ns)
    return sum(max(0.0, taken - median_ns) for taken in times_ns)


def _times_ns(rows: list[Mapping[str, Any]], ranks: int) -> list[float]:
    """Of every measured iteration that all ranks completed, in order."""
    took: dict[int, list[int]] = {}
    for row in rows:
        if row["iteration"] >= 0:
            took.setdefault(row["number"], []).append(row["ended_ns"] - row["begun_ns"])
    return [statistics.mean(times) for _, times in sorted(took.items()) if len(times) == ranks]


def first_loss(results: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The loss that most ranks name, as the first saw it whose own queue pair failed.

    A rank that is cut off takes its neighbour for lost, and may be the first to do so: what it
    says does not count where more ranks name itself. Where two are named by equally many, the
    one that was noticed first is it; of two ranks, which of them was cut off cannot be told, nor
    where all others had finished and only the rank that is cut off waits to hear of it.
    None where no rank was lost. ``results`` are those of any program with a `Group`.
    """
    seen = [result for result in results if result["loss"] is not None]
    accusers = Counter(result["loss"]["rank"] for result in seen)
    told = [result for result in seen
            if accusers[result["rank"]] <= accusers[result["loss"]["rank"]]]
    lost = min(told, default=None, key=lambda result: (
        -accusers[result["loss"]["rank"]], result["loss"]["noticed_by"] != result["rank"],
        result["loss"]["at_ns"]))
    return None if lost is None else dict(lost["loss"])
