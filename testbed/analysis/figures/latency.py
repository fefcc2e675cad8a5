"""Latency of messages: how many took at most so long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import PercentFormatter

from testbed.analysis.figures import NothingToDraw
from testbed.analysis.figures.style import (
    FAINT,
    legend_beside,
    line_colour,
    natural,
    new_canvas,
)

if TYPE_CHECKING:
    from testbed.analysis.run import Run

_MAX_PAIRS = 8
_MAX_POINTS = 1000  # of a line: more cannot be seen
# Measures: half of post to completion, and all of it.
_HALF = "latency"
_WHOLE = {"message_time", "message_time_p99", "message_time_max"}


def draw(run: Run) -> Canvas:
    """Half of post to completion where that is measured, as perftest does; else all of it."""
    times = message_times_us(run)
    if not times:
        raise NothingToDraw("No message was completed in this run, or messages were not recorded.")
    is_half = _is_halved(run)
    canvas, (axes,) = new_canvas((3.4,))
    for number, (pair, found) in enumerate(times.items()):
        _draw_share(axes, pair, found, line_colour(number))
    longest = max(float(np.percentile(found, 99.9)) for found in times.values())
    axes.set_xlim(0, 1.1 * longest)
    axes.set_ylim(0, 1.01)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("half of post to completion (us)" if is_half else "post to completion (us)")
    axes.set_ylabel("messages that took\nat most so long")
    legend_beside(axes, "median, 99th percentile")
    return canvas


def message_times_us(run: Run) -> dict[str, Any]:
    """Sorted times in us by pair of hosts, or of all together where there are many pairs."""
    done = run.messages[run.messages["status"] == "success"]
    took_us = (done["t_done_ns"] - done["t_post_ns"]).astype("float64") / 1e3
    if _is_halved(run):
        took_us = took_us / 2
    pairs = done["host"] + " \u2192 " + done["peer"]
    if pairs.nunique() > _MAX_PAIRS:
        pairs = pairs.where(pairs == "", "all pairs")
    found = {str(pair): np.sort(values.to_numpy()) for pair, values in took_us.groupby(pairs)}
    return dict(sorted(found.items(), key=lambda item: natural(item[0])))


def _is_halved(run: Run) -> bool:
    """The figure shows what is told beside it: by the checks of a drill, or a latency test."""
    measured = {check["measure"] for check in (run.drill or {}).get("checks", ())}
    if measured & _WHOLE or _HALF in measured:
        return _HALF in measured
    return bool(run.result.get("kind") == "write-lat")


def _draw_share(axes: Axes, pair: str, times_us: Any, colour: str) -> None:
    median, late = np.percentile(times_us, [50, 99])
    if len(times_us) > _MAX_POINTS:
        times_us = np.quantile(times_us, np.linspace(0, 1, _MAX_POINTS), method="inverted_cdf")
    share = np.arange(1, len(times_us) + 1) / len(times_us)
    axes.plot([times_us[0], *times_us], [0, *share], drawstyle="steps-post", color=colour,
              label=f"{pair}: {median:,.2f} us, {late:,.2f} us")
    axes.plot([median, median], [0, 0.5], color=FAINT, lw=0.8, ls=":")
