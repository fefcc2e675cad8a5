"""The anatomy of recovery: a lane per fault, a mark for every thing that happened after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from testbed.analysis.figures import NothingToDraw
from testbed.analysis.figures.style import BAD, FINE, GRID, INK, LINES, new_canvas

if TYPE_CHECKING:
    from testbed.analysis.run import Run

_MAX_LANES = 16
_LANE_IN, _EDGES_IN = 0.5, 1.5


class _Look(NamedTuple):
    column: str
    text: str
    marker: str
    colour: str


_AFTER_INJECT = (
    _Look("first_lost", "first packet lost", "o", BAD),
    _Look("last_on_path", "last packet lost", "X", BAD),
    _Look("first_evidence", "sender knew; first good probe", "D", LINES[1]),
    _Look("first_out", "first EV out; back", "<", LINES[0]),
    _Look("last_out", "last EV out; back", ">", LINES[0]),
    _Look("goodput_back", "goodput at 95 % again", "P", FINE),
)
# Each like its counterpart on the left, in whose place in the legend it is named.
_AFTER_HEAL = (
    _Look("first_probe", "", "D", LINES[1]),
    _Look("first_back", "", "<", LINES[0]),
    _Look("last_back", "", ">", LINES[0]),
    _Look("goodput_restored", "", "P", FINE),
)
_SPANS = {"first_lost": ("last_on_path", BAD), "first_out": ("last_out", LINES[0]),
          "first_back": ("last_back", LINES[0])}


def draw(run: Run) -> Canvas:
    """Left since the fault was put in force, right since it was healed; in base RTTs and us."""
    faults = run.recovery()
    if faults.empty:
        raise NothingToDraw("No fault was put in force in this run.")
    shown = faults.iloc[:_MAX_LANES]
    canvas, (left, right) = new_canvas((_EDGES_IN + _LANE_IN * len(shown),), columns=2,
                                       share_x=False)
    _draw_side(left, run, shown, _AFTER_INJECT, "after the fault")
    _draw_side(right, run, shown, _AFTER_HEAL, "after it was healed")
    left.set_yticks(range(len(shown)), [
        f"{name}\n{target}" for name, target in zip(shown["name"], shown["target"], strict=True)],
        fontsize=8.5)
    right.set_yticks(range(len(shown)), [])
    canvas.legend(loc="outside lower center", ncols=3)
    if len(faults) > len(shown):
        right.set_title(f"and {len(faults) - len(shown)} faults more, in the table", fontsize=8.5,
                        loc="right", pad=20)
    return canvas


def _draw_side(axes: Axes, run: Run, faults: Any, looks: tuple[_Look, ...], text: str) -> None:
    for lane in range(len(faults)):
        axes.axhline(lane, color=GRID, lw=1, zorder=0)
    for look in looks:
        times = faults[f"{look.column}_rtt"].astype("float64").to_numpy()
        axes.plot(times, range(len(faults)), ls="", marker=look.marker, ms=7, color=look.colour,
                  mec="white", mew=0.6, label=look.text or None, clip_on=False, zorder=3)
    for begin, (end, colour) in _SPANS.items():
        if any(look.column == begin for look in looks):
            axes.hlines(range(len(faults)), faults[f"{begin}_rtt"].astype("float64"),
                        faults[f"{end}_rtt"].astype("float64"), color=colour, lw=2.5, alpha=0.5)
    axes.axvline(0, color=INK, lw=1)
    _scale(axes, run, faults, looks, text)
    axes.set_ylim(len(faults) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)


def _scale(axes: Axes, run: Run, faults: Any, looks: tuple[_Look, ...], text: str) -> None:
    """Base RTTs below, us above; from what came first to what came last."""
    columns = [f"{look.column}_rtt" for look in looks]
    times = faults[columns].astype("float64").to_numpy()
    times = times[~np.isnan(times)]
    first, last = min(0.0, *times, 0.0), max(0.0, *times, 0.0)
    room = 0.06 * (last - first or 1.0)
    axes.set_xlim(first - room, last + room)
    axes.set_xlabel(f"base RTTs {text}")
    rtt_us = run.base_rtt_ns / 1e3

    def to_us(rtts: Any) -> Any:
        return rtts * rtt_us

    def to_rtts(us: Any) -> Any:
        return us / rtt_us

    axes.secondary_xaxis("top", functions=(to_us, to_rtts)).set_xlabel("us")
