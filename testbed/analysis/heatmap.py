"""Counts of paths as a table: planes down, T1 switches across."""

from __future__ import annotations

import pandas as pd

from testbed.analysis.frames import Window, within
from testbed.errors import UsageError, did_you_mean
from topologies.spec import ClosSpec

COUNTS = ("sent_packets", "acked_packets", "marked", "trimmed", "lost", "skipped")
LOCAL = "local"


def path_heatmap(ev_samples: pd.DataFrame, topology: ClosSpec, what: str = "acked_packets",
                 window: Window | None = None) -> pd.DataFrame:
    """The sum of a count by plane (index) and T1 (columns), 0 where there was nothing.

    A sample counts where its interval ends. Raises UsageError for a count that does not exist.
    """
    if what not in COUNTS:
        raise UsageError(f"paths have no count '{what}'{did_you_mean(what, COUNTS)}: use "
                         f"{', '.join(COUNTS)}")
    rows = within(ev_samples, window)
    across: list[int | str] = list(range(topology.t1_per_plane))
    if rows["t1"].isna().any():
        across = [*(across if rows["t1"].notna().any() else []), LOCAL]
    place = rows["t1"].astype(object).where(rows["t1"].notna(), LOCAL)
    sums = rows.groupby([rows["plane"], place.rename("t1")])[what].sum().unstack(fill_value=0)
    table = sums.reindex(index=range(topology.planes), columns=across, fill_value=0)
    table.index.name, table.columns.name = "plane", "t1"
    return table.fillna(0).astype("int64")
