"""How long training steps took: every rank, and the median of the ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from testbed.analysis.figures import NothingToDraw
from testbed.analysis.figures.actions import draw_actions
from testbed.analysis.figures.style import (
    INK,
    LINES,
    from_zero,
    legend_beside,
    new_canvas,
    time_axis,
    time_unit,
)

if TYPE_CHECKING:
    from testbed.analysis.run import Run


def draw(run: Run) -> Canvas:
    """Above the time of each step, below how much of it was communication not hidden."""
    steps = run.steps
    if steps.empty:
        raise NothingToDraw("This run was no training job, or no step was finished.")
    unit, scale = time_unit(run.end_ns).ns, time_unit(1)
    frame = steps.assign(at=steps["t_end_ns"] / unit,
                         took=(steps["t_end_ns"] - steps["t_start_ns"]) / scale.ns,
                         exposed=steps["exposed_ns"] / scale.ns)
    median = frame.groupby("step")[["at", "took", "exposed"]].median().set_index("at")
    canvas, panels = new_canvas((2.7, 1.8))
    _draw(panels[0], frame["at"], frame["took"], median["took"], LINES[0])
    from_zero(panels[0], f"step time ({scale.name})")
    _draw(panels[1], frame["at"], frame["exposed"], median["exposed"], LINES[1])
    from_zero(panels[1], f"communication that\ndelayed it ({scale.name})")
    for axes in panels:
        legend_beside(axes)
    time_axis(panels[1], run)
    panels[1].set_xlabel("end of the step, " + panels[1].get_xlabel())
    draw_actions(panels, run)
    return canvas


def _draw(axes: Axes, at: Any, ranks: Any, median: Any, colour: str) -> None:
    axes.plot(at, ranks, ls="", marker="o", ms=3.2, mew=0, alpha=0.55, color=colour,
              clip_on=False, label="each rank")
    axes.plot(median.index, median, color=INK, lw=1.8, marker="o", ms=4, clip_on=False,
              label="median")
