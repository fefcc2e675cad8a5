"""Plane by T1: where packets went, and where they were lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from testbed.analysis.figures import NothingToDraw
from testbed.analysis.figures.style import INK, new_canvas

if TYPE_CHECKING:
    from testbed.analysis.run import Run

_WHAT = {
    "acked_packets": ("packets acknowledged", "Blues"),
    "lost": ("packets lost", "Reds"),
    "marked": ("packets marked (ECN)", "Oranges"),
    "trimmed": ("packets trimmed", "Purples"),
}


def draw(run: Run) -> Canvas:
    """A map of what was acknowledged, and one of each trouble there was."""
    if run.ev_samples.empty:
        raise NothingToDraw("What single paths carried was not recorded in this run.")
    tables = {what: run.path_heatmap(what=what) for what in _WHAT}
    shown = {what: table for what, table in tables.items()
             if what == "acked_packets" or table.to_numpy().sum() > 0}
    rows = len(tables["acked_packets"].index)
    lines = (len(shown) + 1) // 2
    columns = min(2, len(shown))
    canvas, panels = new_canvas((max(2.2, 0.3 * rows + 1),) * lines, columns=columns,
                                share_x=False)
    for axes, (what, table) in zip(panels, shown.items(), strict=False):
        _draw_map(axes, table, *_WHAT[what])
    for axes in panels[len(shown):]:
        axes.set_visible(False)
    return canvas


def _draw_map(axes: Axes, table: Any, title: str, palette: str) -> None:
    values = table.fillna(0).to_numpy(dtype=float)
    top = max(1.0, values.max())
    axes.imshow(values, cmap=palette, vmin=0, vmax=top * 1.15, aspect="auto")
    axes.set_title(title)
    axes.set_xticks(range(len(table.columns)), [_t1_name(name) for name in table.columns])
    axes.set_yticks(range(len(table.index)), [f"plane {name}" for name in table.index])
    axes.tick_params(length=0)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if values.size <= 64:
        for (row, column), value in _cells(values):
            axes.text(column, row, f"{value:,.0f}", ha="center", va="center", fontsize=9,
                      color="white" if value > 0.6 * top and value else INK)


def _t1_name(t1: object) -> str:
    return str(t1) if isinstance(t1, str) else f"T1 {t1}"


def _cells(values: Any) -> list[tuple[tuple[int, int], float]]:
    return [((row, column), float(values[row, column]))
            for row in range(values.shape[0]) for column in range(values.shape[1])]
