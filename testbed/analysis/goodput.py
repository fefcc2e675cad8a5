"""Payload that arrived, over time: acknowledged bytes laid into bins of equal width.

A row of a table counts what happened in an interval, and says nothing of where in it; so it
is spread evenly over the interval, and each bin takes the part that lies in it. The sum over
all bins is the sum of the rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from testbed.analysis.frames import Window
from testbed.errors import UsageError, did_you_mean

KEYS = ("host", "peer", "qp", "plane")


def acked(flows: pd.DataFrame, ev_samples: pd.DataFrame, payload_bytes: int,
          by: Sequence[str]) -> pd.DataFrame:
    """Rows t_ns, interval_ns, bytes and the keys: of queue pairs, or by plane of EVs.

    EVs count packets that arrived at the first try, and each is taken as full: planes together
    lack what was sent again, and have too much where messages are no multiple of
    ``payload_bytes``.
    """
    for key in by:
        if key not in KEYS:
            raise UsageError(f"goodput cannot be told by '{key}'{did_you_mean(key, KEYS)}: use "
                             f"{', '.join(KEYS)}")
    if "plane" not in by:
        rows = senders(flows)
        return rows.assign(bytes=rows["acked_bytes"])
    if "qp" in by:
        raise UsageError("goodput cannot be told by plane and queue pair, EVs are counted by "
                         "host and peer: leave one away")
    return ev_samples.assign(bytes=ev_samples["acked_packets"] * payload_bytes)


def senders(flows: pd.DataFrame) -> pd.DataFrame:
    """The rows of queue pairs that sent data at any time; others only answered."""
    qp = ["host", "peer", "qp"]
    sent = flows.groupby(qp)["sent_packets"].transform("sum") if len(flows) else flows.index
    return flows[sent > 0] if len(flows) else flows


def usual_interval_ns(frame: pd.DataFrame) -> int | None:
    """The interval most rows have; None where there are no rows."""
    return int(frame["interval_ns"].mode().iloc[0]) if len(frame) else None


def binned(rows: pd.DataFrame, by: Sequence[str], value: str, window: Window,
           bin_ns: int) -> pd.DataFrame:
    """``value`` of interval rows per bin and key: columns by..., t_ns (end of bin), value.

    Every key has every bin of the window, the last of which may be shorter. Raises
    UsageError where ``bin_ns`` or the window is empty.
    """
    if bin_ns < 1 or window.width_ns < 1:
        raise UsageError(f"there is nothing between {window.start_ns} and {window.end_ns} ns in "
                         f"bins of {bin_ns} ns: use a window and bins above 0")
    number = -(-window.width_ns // bin_ns)
    ends = np.minimum(window.start_ns + bin_ns * np.arange(1, number + 1), window.end_ns)
    codes, keys = _keys(rows, by)
    sums = np.zeros((len(keys), number))
    _spread(sums, codes, rows["t_ns"].to_numpy(), rows["interval_ns"].to_numpy(),
            rows[value].to_numpy(dtype=float), window, bin_ns)
    columns = {name: np.repeat(keys[name].to_numpy(), number) for name in by}
    frame = pd.DataFrame({**columns, "t_ns": np.tile(ends, len(keys)), value: sums.ravel()})
    return frame.astype({name: rows[name].dtype for name in by})


def _keys(rows: pd.DataFrame, by: Sequence[str]) -> tuple[np.ndarray, pd.DataFrame]:
    """The number of each row's key, and the keys in order."""
    if not by:
        return np.zeros(len(rows), dtype=int), pd.DataFrame(index=range(1))
    groups = rows.groupby(list(by), dropna=False, sort=True)
    return groups.ngroup().to_numpy(), groups.size().reset_index()[list(by)]


def _spread(sums: np.ndarray, codes: np.ndarray, end: np.ndarray, interval: np.ndarray,
            value: np.ndarray, window: Window, bin_ns: int) -> None:
    """Add to each bin the part of every row that lies in it."""
    interval = np.maximum(interval, 1)
    begin = end - interval
    first = np.maximum((begin - window.start_ns) // bin_ns, 0)
    last = np.minimum(-((window.start_ns - end) // bin_ns), sums.shape[1])  # one beyond
    pieces = np.maximum(last - first, 0)
    row = np.repeat(np.arange(len(end)), pieces)
    place = np.arange(len(row)) - np.repeat(np.cumsum(pieces) - pieces, pieces) + first[row]
    low = np.maximum(window.start_ns + place * bin_ns, begin[row])
    high = np.minimum(np.minimum(window.start_ns + (place + 1) * bin_ns, window.end_ns), end[row])
    part = value[row] * np.maximum(high - low, 0) / interval[row]
    np.add.at(sums, (codes[row], place), part)


def goodput_frame(rows: pd.DataFrame, by: Sequence[str], window: Window,
                  bin_ns: int) -> pd.DataFrame:
    """Rates of `acked` rows: columns by..., t_ns (end of bin), goodput_bps."""
    frame = binned(rows, by, "bytes", window, bin_ns)
    offset = (frame["t_ns"] - window.start_ns) % bin_ns
    width_ns = offset.where(offset > 0, bin_ns)  # the last may be shorter
    frame["goodput_bps"] = frame.pop("bytes") * 8e9 / width_ns
    return frame


def bytes_within(rows: pd.DataFrame, window: Window) -> float:
    """Payload bytes of `acked` rows in a window."""
    if window.width_ns < 1 or not len(rows):
        return 0.0
    return float(binned(rows, (), "bytes", window, window.width_ns)["bytes"].iloc[0])
