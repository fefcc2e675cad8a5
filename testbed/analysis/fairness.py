"""How evenly flows share what there is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from testbed.analysis.frames import Window
from testbed.analysis.goodput import goodput_frame


def shares(rows: pd.DataFrame, by: Sequence[str], window: Window) -> pd.DataFrame:
    """The goodput of each flow in a window: by..., goodput_bps, share (of all), of_mean.

    ``rows`` of `testbed.analysis.goodput.acked`. A flow is a key that ever sent data; one that
    got nothing in the window has a share of 0. Where nobody got anything shares are NaN.
    """
    frame = goodput_frame(rows, by, window, max(1, window.width_ns))
    frame = frame.drop(columns="t_ns")
    rate = frame["goodput_bps"]
    total, mean = rate.sum(), rate.mean()
    frame["share"] = rate / total if total else np.nan
    frame["of_mean"] = rate / mean if total else np.nan
    return frame


def jain(rates: npt.NDArray[np.float64]) -> float:
    """Jain's fairness index (sum x)^2 / (n sum x^2); NaN where nothing flows.

    Source: Jain, Chiu, Hawe, "A Quantitative Measure of Fairness", DEC-TR-301, 1984.
    """
    if not len(rates) or not rates.any():
        return float("nan")
    scaled = rates / rates.max()  # squares of bit/s are large, of tiny rates nothing
    return float(scaled.sum() ** 2 / (len(scaled) * (scaled**2).sum()))
