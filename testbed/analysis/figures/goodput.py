"""Goodput over time: all senders and each of them, and what every plane carried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from testbed.analysis.figures import NothingToDraw
from testbed.analysis.figures.actions import draw_actions
from testbed.analysis.figures.style import (
    FAINT,
    INK,
    from_zero,
    legend_beside,
    line_colour,
    natural,
    new_canvas,
    plane_colour,
    time_axis,
    time_unit,
)

if TYPE_CHECKING:
    from testbed.analysis.run import Run

_MAX_NAMED = 8  # hosts with a line and a colour of their own


def draw(run: Run) -> Canvas:
    """Above by host, below by plane where paths were sampled."""
    hosts = pivot(run.goodput(by=("host",)), "host")
    if hosts.empty:
        raise NothingToDraw("No queue pair was sampled in this run, so there is no goodput over "
                            "time.")
    planes = pivot(run.goodput(by=("plane",)), "plane")
    canvas, panels = new_canvas((2.9,) if planes.empty else (2.9, 2.3))
    _draw_hosts(panels[0], run, hosts)
    if not planes.empty:
        _draw_planes(panels[1], run, planes)
    time_axis(panels[-1], run)
    draw_actions(panels, run)
    return canvas


def pivot(frame: Any, by: str) -> Any:
    """Goodput in Gb/s: a row per ``t_ns``, a column per value of ``by`` that had any."""
    table = frame.pivot_table(index="t_ns", columns=by, values="goodput_bps", aggfunc="sum",
                              fill_value=0) / 1e9
    return table.loc[:, table.sum() > 0]


def draw_line(axes: Axes, run: Run, series: Any, **how: Any) -> None:
    """A line of means over bins that end at the index (ns), from the start of the run."""
    unit = time_unit(run.end_ns).ns
    axes.plot([0, *(series.index / unit)], [series.iloc[0], *series], drawstyle="steps-pre", **how)


def _draw_hosts(axes: Axes, run: Run, table: Any) -> None:
    names = sorted(table.columns, key=natural)
    for number, host in enumerate(names):
        is_named = len(names) <= _MAX_NAMED
        draw_line(axes, run, table[host], lw=1.1, alpha=1 if is_named else 0.6,
                  color=line_colour(number) if is_named else FAINT,
                  label=host if is_named else "each host" if number == 0 else None)
    if len(names) > 1:
        draw_line(axes, run, table.sum(axis=1), color=INK, lw=1.9, label="all together")
    else:
        spec = run.topology
        axes.axhline(spec.planes * spec.port_rate_bps / 1e9, color=FAINT, lw=1, ls=":",
                     label="line rate of\nall planes")
    from_zero(axes, "goodput (Gb/s)")
    legend_beside(axes, "sender")


def _draw_planes(axes: Axes, run: Run, table: Any) -> None:
    unit = time_unit(run.end_ns).ns
    times = [0, *(table.index / unit)]
    axes.stackplot(times, [[table[p].iloc[0], *table[p]] for p in table.columns], step="pre",
                   colors=[plane_colour(int(p)) for p in table.columns], lw=0,
                   labels=[str(p) for p in table.columns])
    from_zero(axes, "by plane (Gb/s)")
    handles, names = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], names[::-1], loc="upper left", bbox_to_anchor=(1.0, 1.02),
                title="plane", alignment="left", borderaxespad=0.3,
                ncols=1 if len(names) <= 6 else 2)
