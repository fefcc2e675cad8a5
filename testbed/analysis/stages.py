"""How long `up` takes, stage by stage, over repeated runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd


def stage_frame(runs: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per run and stage: topology, dataplane, run, stage, seconds (wall clock).

    Each run is what ``up --json`` prints, plus ``down_s`` and ``resident_mb``.
    """
    rows = [
        {"topology": run["topology"], "dataplane": run["dataplane"], "run": number,
         "stage": stage, "seconds": seconds}
        for number, run in enumerate(runs)
        for stage, seconds in {**run["stages_s"], "ready": run["total_s"],
                               "down": run["down_s"]}.items()
    ]
    return pd.DataFrame(rows, columns=["topology", "dataplane", "run", "stage", "seconds"])


def stage_medians(frame: pd.DataFrame) -> pd.DataFrame:
    """Median seconds: a row per topology and data plane, a column per stage, in order met.

    A stage the data plane does not have is NaN.
    """
    table = frame.pivot_table(index=["topology", "dataplane"], columns="stage",
                              values="seconds", aggfunc="median", sort=False)
    return table[frame["stage"].drop_duplicates().tolist()]


def ready_summary(runs: Iterable[Mapping[str, Any]],
                  limits_s: Mapping[str, float]) -> pd.DataFrame:
    """Per topology and data plane: runs, median and worst seconds to ready, limit, memory.

    ``limits_s``: seconds allowed by topology name; NaN where there is none.
    """
    raw = pd.DataFrame([
        {"topology": run["topology"], "dataplane": run["dataplane"],
         "ready_s": run["total_s"], "down_s": run["down_s"],
         "resident_mb": run["resident_mb"]} for run in runs
    ])
    grouped = raw.groupby(["topology", "dataplane"], sort=False)
    table = grouped.agg(runs=("ready_s", "size"), median_s=("ready_s", "median"),
                        worst_s=("ready_s", "max"), down_s=("down_s", "median"),
                        resident_mb=("resident_mb", "max"))
    table.insert(3, "limit_s", [limits_s.get(name, float("nan"))
                                for name, _ in table.index])
    return table
