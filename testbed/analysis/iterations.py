"""Times of training steps and of iterations of collectives, from the rows of all ranks.

A step ends when its last rank has ended it, and takes as long as that is after the end of the
step before, as the result of a run counts it (`workloads.training.summary`). An iteration of a
collective takes the mean of what it took on its ranks, as nccl-tests counts.
"""

from __future__ import annotations

import pandas as pd

from workloads.collectives.catalogue import OPERATIONS

_ITERATION = ["op", "algorithm", "bytes", "iteration"]


def rank_step_times(steps: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``steps`` with time_ns, from begin to end of each rank's own."""
    return steps.assign(time_ns=steps["t_end_ns"] - steps["t_start_ns"])


def step_times(steps: pd.DataFrame) -> pd.DataFrame:
    """A row per step that all ranks ended.

    Columns step, t_start_ns, t_end_ns, time_ns, compute_ns, communicate_ns, exposed_ns (means
    over ranks), verified (all ranks).
    """
    ranks = steps["rank"].nunique()
    found = steps.groupby("step", as_index=False).agg(
        ranks=("rank", "nunique"), begun_ns=("t_start_ns", "min"), t_end_ns=("t_end_ns", "max"),
        compute_ns=("compute_ns", "mean"), communicate_ns=("communicate_ns", "mean"),
        exposed_ns=("exposed_ns", "mean"), verified=("verified", "all"))
    found = found[found["ranks"] == ranks].reset_index(drop=True)
    before = found["t_end_ns"].shift()
    start = before.where(before.notna(), found["begun_ns"]).astype("int64")
    found.insert(1, "t_start_ns", start)
    found.insert(3, "time_ns", found["t_end_ns"] - start)
    return found.drop(columns=["ranks", "begun_ns"])[[
        "step", "t_start_ns", "t_end_ns", "time_ns", "compute_ns", "communicate_ns",
        "exposed_ns", "verified"]]


def collective_times(collectives: pd.DataFrame) -> pd.DataFrame:
    """A row per iteration that all ranks ended, in order of time.

    Columns op, algorithm, bytes, iteration (below 0: warm-up), t_start_ns (first rank),
    t_end_ns (last rank), time_ns (mean over ranks), algbw_bytes_per_s, busbw_bytes_per_s,
    verified (all ranks).
    """
    rows = collectives.assign(time_ns=collectives["t_end_ns"] - collectives["t_start_ns"])
    ranks = rows["rank"].nunique()
    found = rows.groupby(_ITERATION, as_index=False).agg(
        ranks=("rank", "nunique"), t_start_ns=("t_start_ns", "min"), t_end_ns=("t_end_ns", "max"),
        time_ns=("time_ns", "mean"), verified=("verified", "all"))
    found = found[found["ranks"] == ranks].drop(columns="ranks")
    found["algbw_bytes_per_s"] = found["bytes"] * 1e9 / found["time_ns"].clip(lower=1)
    factors = {op: float(OPERATIONS[op].bus_factor(ranks)) for op in found["op"].unique()}
    factor = found["op"].map(factors).astype(float)
    found["busbw_bytes_per_s"] = found["algbw_bytes_per_s"] * factor
    order = [*_ITERATION, "t_start_ns", "t_end_ns", "time_ns", "algbw_bytes_per_s",
             "busbw_bytes_per_s", "verified"]
    return found[order].sort_values("t_start_ns", kind="stable", ignore_index=True)
