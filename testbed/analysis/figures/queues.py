"""Queues of switch ports over time, and what ports marked, trimmed and dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from testbed.analysis.figures import NothingToDraw
from testbed.analysis.figures.actions import draw_actions
from testbed.analysis.figures.goodput import draw_line
from testbed.analysis.figures.style import (
    FAINT,
    from_zero,
    legend_beside,
    line_colour,
    new_canvas,
    time_axis,
    time_unit,
)
from topologies.numbers import fabric_thresholds, last_hop_thresholds

if TYPE_CHECKING:
    from testbed.analysis.run import Run

_PORTS = 6
_COUNTS = {
    "marked": ("marked (ECN)", "#e69f00"),
    "trimmed": ("trimmed", "#aa4499"),
    "dropped_tail": ("dropped: queue full", "#c1272d"),
    "dropped_control": ("dropped: control queue full", "#882255"),
    "dropped_blackhole": ("dropped: dead link", "#333333"),
    "dropped_loss": ("dropped: lossy link", "#8a8a8a"),
    "dropped_ev": ("dropped: lossy EV", "#88ccee"),
    "corrupted": ("corrupted", "#8c5a2b"),
}


def draw(run: Run) -> Canvas:
    """Above the ports with the longest queues, below frames per interval of all ports."""
    ports = run.ports
    if ports.empty:
        raise NothingToDraw("Switch ports were not sampled in this run.")
    canvas, panels = new_canvas((2.8, 2.2))
    _draw_queues(panels[0], run, ports)
    _draw_counts(panels[1], run, ports)
    time_axis(panels[1], run)
    draw_actions(panels, run)
    return canvas


def _draw_queues(axes: Axes, run: Run, ports: Any) -> None:
    unit = time_unit(run.end_ns).ns
    deepest = ports.groupby(["switch", "towards"])["queue_bytes"].max()
    deepest = deepest.nlargest(_PORTS)
    for number, (switch, towards) in enumerate(deepest.index):
        found = ports[(ports["switch"] == switch) & (ports["towards"] == towards)]
        found = found.sort_values("t_ns")
        axes.plot(found["t_ns"] / unit, found["queue_bytes"] / 1e3, color=line_colour(number),
                  lw=1.1, marker="." if len(found) < 40 else None, ms=4,
                  label=f"{switch} \u2192 {towards}")
    _draw_thresholds(axes, run, deepest)
    from_zero(axes, "queue at the end of\nan interval (KB)")
    legend_beside(axes, "port")


def _draw_thresholds(axes: Axes, run: Run, deepest: Any) -> None:
    """As far as queues came near them: last hops have one of their own and are not marked."""
    limits, last_hop = fabric_thresholds(run.topology), last_hop_thresholds(run.topology)
    is_last_hop = deepest.index.get_level_values("towards").str.startswith("h")
    inside, outside = deepest[~is_last_hop].max(), deepest[is_last_hop].max()
    for name, limit, near in (("ECN from", limits.ecn_min_bytes, inside),
                              ("ECN always", limits.ecn_max_bytes, inside),
                              ("trim", limits.trim_bytes, inside),
                              ("trim, last hop", last_hop.trim_bytes, outside)):
        if limit <= 1.6 * near:  # never where there is no such port
            axes.axhline(limit / 1e3, color=FAINT, lw=0.9, ls=":")
            axes.annotate(name, (0, limit / 1e3), xycoords=("axes fraction", "data"),
                          xytext=(3, 2), textcoords="offset points", fontsize=8.5, color=FAINT)


def _draw_counts(axes: Axes, run: Run, ports: Any) -> None:
    totals = ports.groupby("t_ns")[list(_COUNTS)].sum()
    for name, (label, colour) in _COUNTS.items():
        if totals[name].sum():
            draw_line(axes, run, totals[name], color=colour, lw=1.3,
                      label=f"{label} ({totals[name].sum():,})")
    if not axes.lines:
        axes.annotate("nothing was marked, trimmed or dropped", (0.5, 0.5), color=FAINT,
                      xycoords="axes fraction", ha="center")
        axes.set_yticks([0])
    from_zero(axes, "frames per interval,\nall ports")
    legend_beside(axes)
