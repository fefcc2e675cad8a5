"""Throughput against message size (paper, Fig 15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure as Canvas

from testbed.analysis.figures import NothingToDraw
from testbed.analysis.figures.iterations import size_axis
from testbed.analysis.figures.style import FAINT, LINES, from_zero, legend_beside, new_canvas

if TYPE_CHECKING:
    from testbed.analysis.run import Run


def draw(run: Run) -> Canvas:
    """What a NIC sent per second in iterations that count: mean, slowest, fastest.

    It is the busbw of nccl-tests, made to be what the NIC of one rank carried.
    """
    rows = throughput_by_size(run)
    if rows.empty:
        raise NothingToDraw("No collective of any size was finished in this run.")
    spec = run.topology
    canvas, (axes,) = new_canvas((3.4,))
    mean = rows["mean"] / 1e9
    axes.errorbar(rows.index, mean, color=LINES[0], marker="o", ms=5, capsize=3, elinewidth=1,
                  yerr=[mean - rows["low"] / 1e9, rows["high"] / 1e9 - mean],
                  label="a NIC carried")
    axes.axhline(spec.planes * spec.port_rate_bps / 8e9, color=FAINT, lw=1, ls=":",
                 label="line rate of\nall planes")
    size_axis(axes, [int(size) for size in rows.index])
    from_zero(axes, "throughput per NIC (GB/s)")
    legend_beside(axes)
    return canvas


def throughput_by_size(run: Run) -> Any:
    """busbw in bytes per second by array size: columns mean, low, high; warm-up left out."""
    times = run.collective_times()
    times = times[times["iteration"] >= 0]
    return times.groupby("bytes")["busbw_bytes_per_s"].agg(mean="mean", low="min", high="max")
