"""What the EVs of one plane carried over time: one takes over from another (paper, Figs 12-14)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from testbed.analysis.figures import NothingToDraw
from testbed.analysis.figures.actions import draw_actions
from testbed.analysis.figures.evrows import pair_of_fault, plane_of_interest
from testbed.analysis.figures.goodput import draw_line
from testbed.analysis.figures.style import (
    FAINT,
    INK,
    from_zero,
    legend_beside,
    line_colour,
    new_canvas,
    time_axis,
)
from topologies.ev import format_ev

if TYPE_CHECKING:
    from testbed.analysis.run import Run

_MAX_FLOWS = 2  # pairs with lines of their own; more are added up by EV
_DASHES = ("-", (0, (4, 2)))


def draw(run: Run) -> Canvas:
    """Above what the EVs of the plane carried, by pair where there are few; below all planes."""
    samples = run.ev_samples
    if samples.empty:
        raise NothingToDraw("What single EVs carried was not recorded in this run.")
    if pair := pair_of_fault(run):
        samples = samples[(samples["host"] == pair.host) & (samples["peer"] == pair.peer)]
    plane = plane_of_interest(run)
    found = samples[samples["plane"] == plane]
    if found.empty:
        raise NothingToDraw(f"Nothing was sent on plane {plane}, which this figure is about.")
    canvas, panels = new_canvas((2.9, 1.9))
    _draw_evs(panels[0], run, found)
    panels[0].axhline(run.topology.port_rate_bps / 1e9, color=FAINT, lw=1, ls=":",
                      label="line rate of\na port")
    from_zero(panels[0], f"acknowledged on\nplane {plane} (Gb/s)")
    legend_beside(panels[0], "EV")
    draw_line(panels[1], run, _rate(run, samples), color=INK)
    from_zero(panels[1], "on all planes (Gb/s)")
    time_axis(panels[1], run)
    draw_actions(panels, run)
    return canvas


def _draw_evs(axes: Axes, run: Run, found: Any) -> None:
    evs = sorted(found["ev"].unique())
    pairs = list(found.groupby(["host", "peer"]).groups)
    keys = pairs if len(pairs) <= _MAX_FLOWS else [None]
    for number, ev in enumerate(evs):
        for turn, pair in enumerate(keys):
            of_ev = found[found["ev"] == ev]
            label = format_ev(int(ev))
            if pair is not None:
                of_ev = of_ev[(of_ev["host"] == pair[0]) & (of_ev["peer"] == pair[1])]
                label += f" {pair[0]}\u2192{pair[1]}" if len(keys) > 1 else ""
            if not of_ev.empty:
                draw_line(axes, run, _rate(run, of_ev), color=line_colour(number),
                          ls=_DASHES[turn % len(_DASHES)], label=label)


def _rate(run: Run, samples: Any) -> Any:
    """Payload of acknowledged packets in Gb/s by end of interval.

    There is a row only where there was traffic, so intervals nobody has a row in are 0.
    """
    bits = 8 * run.topology.payload_bytes * samples["acked_packets"]
    rate = (bits / samples["interval_ns"]).groupby(samples["t_ns"]).sum()
    every = np.sort(run.ev_samples["t_ns"].unique())
    return rate.reindex(every, fill_value=0.0)
