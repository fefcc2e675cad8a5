"""Packets their senders took for lost, over time and by what told them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from testbed.analysis.figures import NothingToDraw
from testbed.analysis.figures.actions import draw_actions
from testbed.analysis.figures.style import (
    CAUSE_NAMES,
    CAUSES,
    from_zero,
    legend_beside,
    new_canvas,
    plane_colour,
    time_axis,
    time_unit,
)

if TYPE_CHECKING:
    from testbed.analysis.run import Run

_BINS = 150


def draw(run: Run) -> Canvas:
    """Above by cause, below by plane."""
    losses = run.losses
    if losses.empty:
        raise NothingToDraw("No packet was taken for lost in this run.")
    canvas, panels = new_canvas((2.7, 2.2))
    edges = np.linspace(0, max(run.end_ns, int(losses["t_ns"].max()) + 1), _BINS + 1)
    by_cause = {cause: losses.loc[losses["cause"] == cause, "t_ns"] for cause in CAUSES}
    _stack(panels[0], run, edges, [
        (f"{CAUSE_NAMES[cause]} ({len(times):,})", CAUSES[cause], times)
        for cause, times in by_cause.items() if len(times)])
    _stack(panels[1], run, edges, [
        (f"plane {plane} ({len(found):,})", plane_colour(int(plane)), found["t_ns"])
        for plane, found in losses.groupby("plane")])
    panels[0].set_ylabel("packets, by cause")
    panels[1].set_ylabel("packets, by plane")
    time_axis(panels[1], run)
    draw_actions(panels, run)
    return canvas


def _stack(axes: Axes, run: Run, edges: Any, layers: list[tuple[str, str, Any]]) -> None:
    unit = time_unit(run.end_ns).ns
    floor = np.zeros(len(edges) - 1)
    for label, colour, times in layers:
        counts, _ = np.histogram(times, edges)
        axes.bar(edges[:-1] / unit, counts, np.diff(edges) / unit, floor, align="edge", lw=0,
                 color=colour, label=label)
        floor = floor + counts
    from_zero(axes, "packets")
    legend_beside(axes)
