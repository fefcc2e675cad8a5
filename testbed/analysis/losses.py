"""Packets that were taken for lost, over time."""

from __future__ import annotations

import numpy as np
import pandas as pd

from testbed.errors import UsageError, did_you_mean

CAUSES = ("nack", "evidence", "timer")
KEYS = ("cause", "plane", "host")


def retransmissions(losses: pd.DataFrame, by: str, end_ns: int, bin_ns: int) -> pd.DataFrame:
    """Packets per bin and key, found lost in it: columns t_ns (end of bin), by, packets.

    By cause all three are there, else the keys that lost something; each has every bin. Raises
    UsageError for a key that does not exist or bins below 1.
    """
    if by not in KEYS:
        raise UsageError(f"losses cannot be told by '{by}'{did_you_mean(by, KEYS)}: use "
                         f"{', '.join(KEYS)}")
    if bin_ns < 1:
        raise UsageError(f"bins of {bin_ns} ns hold nothing: use bins above 0")
    number = max(1, -(-end_ns // bin_ns))
    ends = np.minimum(bin_ns * np.arange(1, number + 1), end_ns)
    keys = list(CAUSES) if by == "cause" else sorted(losses[by].unique())
    place = np.minimum(losses["t_ns"].to_numpy() // bin_ns, number - 1)
    counts = [np.bincount(place[(losses[by] == key).to_numpy()], minlength=number)
              for key in keys]
    return pd.DataFrame({
        "t_ns": np.tile(ends, len(keys)),
        by: pd.array(np.repeat(np.array(keys, dtype=object), number), dtype=losses[by].dtype),
        "packets": np.concatenate(counts) if counts else np.zeros(0, dtype="int64"),
    })
