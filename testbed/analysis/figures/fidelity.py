"""How late agents were and how much of the machine was idle: what the verdict rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from testbed.analysis.figures import NothingToDraw
from testbed.analysis.figures.actions import draw_actions
from testbed.analysis.figures.style import (
    BAD,
    FAINT,
    INK,
    from_zero,
    legend_beside,
    line_colour,
    natural,
    new_canvas,
    time_axis,
    time_unit,
)

if TYPE_CHECKING:
    from testbed.analysis.run import Run

_MAX_NAMED = 8
_TRUSTED_RTTS, _IDLE_CORES = 0.1, 0.1  # limits of a trusted run (design.md section 7)


def draw(run: Run) -> Canvas:
    """Above the 99th percentile of lateness by host, below idle cores."""
    frame = run.fidelity
    if frame.empty:
        why = ("A simulation cannot be late" if run.is_simulated
               else "How late agents were was not recorded over time")
        raise NothingToDraw(f"{why}, so there is nothing to draw.")
    machine = frame[frame["host"] == ""].sort_values("t_ns")
    canvas, panels = new_canvas((2.7,) if machine.empty else (2.7, 1.8))
    _draw_lateness(panels[0], run, frame[frame["host"] != ""])
    if not machine.empty:
        panels[1].plot(machine["t_ns"] / time_unit(run.end_ns).ns, machine["idle_cores"],
                       color=INK, label="idle cores")
        _draw_limit(panels[1], _IDLE_CORES, "a trusted run has more idle")
        from_zero(panels[1], "idle cores")
    time_axis(panels[-1], run)
    draw_actions(panels, run)
    return canvas


def _draw_lateness(axes: Axes, run: Run, frame: Any) -> None:
    unit = time_unit(run.end_ns).ns
    hosts = sorted(frame["host"].unique(), key=natural)
    for number, host in enumerate(hosts):
        found = frame[frame["host"] == host].sort_values("t_ns")
        is_named = len(hosts) <= _MAX_NAMED
        axes.plot(found["t_ns"] / unit, found["lateness_p99_ns"].astype(float) / 1e3, lw=1.1,
                  color=line_colour(number) if is_named else FAINT,
                  label=host if is_named else "each host" if number == 0 else None)
    _draw_limit(axes, _TRUSTED_RTTS * run.base_rtt_ns / 1e3, "limit of a trusted run")
    from_zero(axes, "lateness, 99th\npercentile (us)")
    legend_beside(axes, "agent")


def _draw_limit(axes: Axes, limit: float, text: str) -> None:
    axes.axhline(limit, color=BAD, lw=1, ls=":")
    axes.annotate(text, (1, limit), xycoords=("axes fraction", "data"), ha="right",
                  xytext=(-2, 2), textcoords="offset points", fontsize=8.5, color=BAD)
