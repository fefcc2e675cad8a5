"""Draws figures of made runs, and reads back what stands in them."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from unit.analysis.made import heal, inject

from testbed.analysis.figures import FIGURES
from testbed.analysis.run import Run

CRASH = "switch:p0-t1-2#crash"
ACTIONS = [inject(40_000, "crash", CRASH), heal(70_000, "back", CRASH)]


def drawn(name: str, run: Run) -> tuple[Canvas, list[Axes]]:
    """A figure, rendered once so that everything has its place, and its panels."""
    canvas = FIGURES[name].draw(run)
    canvas.draw_without_rendering()
    return canvas, canvas.axes


def line(axes: Axes, label: str) -> list[tuple[float, float]]:
    """The points of the line that the legend calls so."""
    found: Any = next(line for line in axes.lines if line.get_label() == label)
    return [(float(x), float(y)) for x, y in found.get_xydata()]


def legend(axes: Axes) -> list[str]:
    """What the legend names, in order."""
    found = axes.get_legend()
    return [] if found is None else [text.get_text() for text in found.get_texts()]


def texts(axes: Axes) -> list[str]:
    """What is written inside or above a panel."""
    return [text.get_text() for text in axes.texts]
