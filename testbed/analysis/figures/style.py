"""What all figures look like: one width, one palette, axes in units that people read.

Figures are 900 px wide where they are shown. Planes, states and causes have the same colour
everywhere, from the palettes of Paul Tol and of Okabe and Ito, which colour-blind people can
tell apart. No pyplot: a figure belongs to who asked for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter

if TYPE_CHECKING:
    from testbed.analysis.run import Run

WIDTH_IN = 9.0
_DPI = 100

# Plane p has colour p in every figure (Tol, "muted", ordered for contrast between neighbours).
PLANES = ("#332288", "#88ccee", "#117733", "#ddcc77", "#cc6677", "#aa4499", "#44aa99", "#882255")
# Hosts, flows, ranks, EVs: whatever has no colour of its own (Okabe and Ito, without yellow).
LINES = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#6b6b6b", "#8c5a2b")
CAUSES = {"nack": "#0072b2", "evidence": "#e69f00", "timer": "#d55e00"}
CAUSE_NAMES = {"nack": "NACK", "evidence": "SACKs of later packets", "timer": "timer"}
INK, FAINT, GRID, BAND = "#222222", "#8a8a8a", "#e4e4e4", "#ececec"
BAD, FINE = "#c1272d", "#117733"

_STYLE = {
    "font.family": ["DejaVu Sans"], "font.size": 10, "axes.titlesize": 10.5,
    "axes.titlelocation": "left", "axes.labelsize": 10, "xtick.labelsize": 9,
    "ytick.labelsize": 9, "legend.fontsize": 9, "legend.frameon": False,
    "axes.edgecolor": FAINT, "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": GRID, "grid.linewidth": 0.8, "axes.axisbelow": True,
    "figure.facecolor": "white", "axes.facecolor": "white", "savefig.facecolor": "white",
    "figure.dpi": _DPI, "savefig.dpi": _DPI, "lines.linewidth": 1.4, "svg.fonttype": "path",
}  # fmt: skip


@contextmanager
def in_house_style() -> Iterator[None]:
    """Everything drawn inside has the settings of this house, everything outside its own."""
    with matplotlib.rc_context(_STYLE):  # type: ignore[arg-type]
        yield


def new_canvas(heights_in: Sequence[float] = (3.6,), *, columns: int = 1,
               share_x: bool = True) -> tuple[Canvas, list[Axes]]:
    """A figure of one panel per height (inches), or of ``columns`` panels in each row."""
    canvas = Canvas(figsize=(WIDTH_IN, sum(heights_in)), layout="constrained")
    grid = canvas.subplots(len(heights_in), columns, squeeze=False, sharex=share_x,
                           height_ratios=list(heights_in))
    return canvas, [axes for row in grid for axes in row]


class TimeUnit(NamedTuple):
    """The unit of a time axis and how many ns it has."""

    name: str
    ns: int


def time_unit(longest_ns: float) -> TimeUnit:
    """Microseconds, which base RTTs are counted in, or ms where there would be too many."""
    return TimeUnit("us", 1_000) if longest_ns < 20_000_000 else TimeUnit("ms", 1_000_000)


def time_axis(axes: Axes, run: Run) -> TimeUnit:
    """The x axis is the emulated time of the run, from its start to its end."""
    unit = time_unit(run.end_ns)
    axes.set_xlim(0, max(1, run.end_ns) / unit.ns)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}"))
    axes.set_xlabel(f"emulated time ({unit.name}); a base RTT is {run.base_rtt_ns / 1e3:.3g} us")
    return unit


def from_zero(axes: Axes, label: str) -> None:
    """The y axis begins at 0 and leaves some room above what is drawn."""
    axes.margins(y=0.08)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(label)


def legend_beside(axes: Axes, title: str | None = None, columns: int = 1) -> None:
    """A legend to the right of a panel, where it hides nothing; none where nothing is named."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), title=title, ncols=columns,
                    alignment="left", borderaxespad=0.3)


def plane_colour(plane: int) -> str:
    """Of this plane, everywhere."""
    return PLANES[plane % len(PLANES)]


def line_colour(number: int) -> str:
    """Of the line of this number, from 0."""
    return LINES[number % len(LINES)]


def natural(name: str) -> tuple[str, int]:
    """Sorts ``h10`` behind ``h9``."""
    head = name.rstrip("0123456789")
    return head, int(name[len(head):] or 0)
