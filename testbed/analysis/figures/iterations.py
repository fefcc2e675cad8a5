"""Collectives: how long each iteration took, and bandwidth by size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from testbed.analysis.figures import NothingToDraw
from testbed.analysis.figures.actions import draw_actions
from testbed.analysis.figures.style import (
    LINES,
    from_zero,
    legend_beside,
    line_colour,
    new_canvas,
    time_axis,
    time_unit,
)
from testbed.units import format_size_bytes

if TYPE_CHECKING:
    from testbed.analysis.run import Run


def draw(run: Run) -> Canvas:
    """Above the time of each iteration, below algbw and busbw where sizes were measured."""
    table = run.collective_times()
    if table.empty:
        raise NothingToDraw("This run was no collective, or no iteration was finished.")
    counted = table[table["iteration"] >= 0].groupby("bytes")
    sizes = counted[["algbw_bytes_per_s", "busbw_bytes_per_s"]].mean()
    canvas, panels = new_canvas((2.7, 2.1) if len(sizes) else (2.9,), share_x=False)
    _draw_times(panels[0], run, table)
    if len(sizes):
        _draw_bandwidth(panels[1], sizes)
    draw_actions(panels[:1], run)
    return canvas


def _draw_times(axes: Axes, run: Run, table: Any) -> None:
    unit = time_unit(run.end_ns).ns
    for number, (size, found) in enumerate(table.groupby("bytes")):
        for is_warm_up, rows in found.groupby(found["iteration"] < 0):
            colour = line_colour(number)
            axes.plot(rows["t_end_ns"] / unit, rows["time_ns"] / 1e3, ls="", marker="o", ms=5,
                      mec=colour, mfc="white" if is_warm_up else colour, clip_on=False,
                      label=None if is_warm_up else format_size_bytes(int(size)))
    if (table["iteration"] < 0).any():
        axes.plot([], [], ls="", marker="o", ms=5, mec="#555555", mfc="white", label="warm-up")
    from_zero(axes, "time of an iteration (us)")
    legend_beside(axes, "array")
    time_axis(axes, run)
    axes.set_xlabel("end of the iteration, " + axes.get_xlabel())


def _draw_bandwidth(axes: Axes, sizes: Any) -> None:
    is_same = bool((sizes["busbw_bytes_per_s"] == sizes["algbw_bytes_per_s"]).all())
    axes.plot(sizes.index, sizes["busbw_bytes_per_s"] / 1e9, marker="o", ms=4, color=LINES[0],
              label="busbw and algbw" if is_same else "busbw")
    if not is_same:
        axes.plot(sizes.index, sizes["algbw_bytes_per_s"] / 1e9, marker="o", ms=4,
                  color=LINES[1], label="algbw")
    size_axis(axes, [int(size) for size in sizes.index])
    from_zero(axes, "bandwidth (GB/s)")
    legend_beside(axes)


def size_axis(axes: Axes, sizes_bytes: list[int]) -> None:
    """Sizes in powers of two, each one with its name."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes_bytes, [format_size_bytes(size) for size in sizes_bytes],
                    rotation=45 if len(sizes_bytes) > 9 else 0)
    axes.minorticks_off()
    axes.set_xlabel("bytes of the array")
