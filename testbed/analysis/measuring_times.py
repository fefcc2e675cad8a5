"""Measures of how long things took: messages, iterations, training steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from testbed.analysis.asked import Asked
from testbed.analysis.frames import within

Statistic = Callable[[pd.Series], float]


def _median(values: pd.Series) -> float:
    return float(values.median())


def _highest(values: pd.Series) -> float:
    return float(values.max())


def _p99(values: pd.Series) -> float:
    return float(np.quantile(values.to_numpy(dtype=float), 0.99, method="inverted_cdf"))


def _messages(asked: Asked) -> pd.DataFrame:
    """Those that were completed in the window."""
    rows = asked.chosen(asked.run.messages)
    if (size := asked.get("size")) is not None:
        rows = rows[rows["bytes"] == size]
    done = rows[(rows["status"] == "success") & rows["t_done_ns"].notna()]
    return within(done, asked.window, "t_done_ns")


def _message_time(statistic: Statistic, share: float = 1.0) -> Callable[[Asked], float | None]:
    def ask(asked: Asked) -> float | None:
        found = _messages(asked)
        took = found["t_done_ns"].astype("int64") - found["t_post_ns"]
        return share * statistic(took) if len(found) else None
    return ask


def _message_count(asked: Asked) -> float | None:
    return float(len(_messages(asked))) if len(asked.run.messages) else None


def _steps(asked: Asked) -> pd.DataFrame:
    """Those that ended in the window: of a rank its own, else of all together."""
    run = asked.run
    rows = run.step_times() if asked.get("rank") is None else asked.chosen(run.rank_step_times())
    return within(rows, asked.window, "t_end_ns")


def _iterations(asked: Asked) -> pd.DataFrame:
    """Measured iterations that ended in the window; sizes are the bytes of the table."""
    rows = asked.run.collective_times()
    rows = within(rows[rows["iteration"] >= 0], asked.window, "t_end_ns")
    size = asked.get("size")
    return rows if size is None else rows[rows["bytes"] == size]


def _time_of(rows_of: Callable[[Asked], pd.DataFrame],
             statistic: Statistic) -> Callable[[Asked], float | None]:
    def ask(asked: Asked) -> float | None:
        found = rows_of(asked)["time_ns"]
        return statistic(found) if len(found) else None
    return ask


def _iteration_time_lost(asked: Asked) -> float | None:
    """Beyond the median of all of the run, of each size; the sum over sizes."""
    everything = asked.run.collective_times()
    everything = everything[everything["iteration"] >= 0]
    if not len(everything):
        return None
    medians = everything.groupby("bytes")["time_ns"].median()
    found = _iterations(asked)
    beyond = found["time_ns"] - found["bytes"].map(medians)
    return float(beyond.clip(lower=0).sum())


def _bandwidth(column: str) -> Callable[[Asked], float | None]:
    """Size over mean time, of each size, as nccl-tests counts; the mean over sizes."""
    def ask(asked: Asked) -> float | None:
        found = _iterations(asked)
        if not len(found):
            return None
        # Rates of one size are factor/time: their harmonic mean is the rate of the mean time.
        by_size = found.groupby("bytes")[column].agg(lambda rates: len(rates) / (1 / rates).sum())
        return float(by_size.mean())
    return ask


def _completion(asked: Asked) -> float | None:
    return float(asked.run.done_ns) or None


_SIZE = ("size",)
_MESSAGE = ("host", "peer", "qp", "size")
MEASURES: Mapping[str, tuple[str, str, tuple[str, ...], Callable[[Asked], float | None]]] = {
    "latency": ("ns", "half of post to completion of a message, median", _MESSAGE,
                _message_time(_median, 0.5)),
    "message_time": ("ns", "post to completion of a message, median", _MESSAGE,
                     _message_time(_median)),
    "message_time_p99": ("ns", "post to completion of a message, 99 % (nearest rank)", _MESSAGE,
                         _message_time(_p99)),
    "message_time_max": ("ns", "post to completion of the slowest message", _MESSAGE,
                         _message_time(_highest)),
    "messages_done": ("", "messages that were completed", _MESSAGE, _message_count),
    "step_time": ("ns", "time of a training step, median", ("rank",),
                  _time_of(_steps, _median)),
    "step_time_max": ("ns", "time of the slowest training step", ("rank",),
                      _time_of(_steps, _highest)),
    "iteration_time": ("ns", "time of an iteration of a collective, mean of its ranks, median",
                       _SIZE, _time_of(_iterations, _median)),
    "iteration_time_max": ("ns", "time of the slowest iteration of a collective", _SIZE,
                           _time_of(_iterations, _highest)),
    "iteration_time_lost": ("ns", "what iterations of a collective took beyond the median of all",
                            _SIZE, _iteration_time_lost),
    "algbw": ("B/s", "size over time of a collective, mean over sizes", _SIZE,
              _bandwidth("algbw_bytes_per_s")),
    "busbw": ("B/s", "what the slowest link carries for a collective, mean over sizes", _SIZE,
              _bandwidth("busbw_bytes_per_s")),
    "completion_time": ("ns", "when the last message, iteration or step was completed", (),
                        _completion),
}
