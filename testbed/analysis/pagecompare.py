"""Several runs side by side: a table of their figures, and their goodput on the same axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from testbed.analysis.compare import compare
from testbed.analysis.figures.goodput import pivot
from testbed.analysis.figures.style import (
    from_zero,
    in_house_style,
    legend_beside,
    line_colour,
    new_canvas,
    time_unit,
)
from testbed.analysis.pagefigures import inline
from testbed.analysis.pagetables import Table, figure_text
from testbed.analysis.report import render, write_page
from testbed.analysis.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


def comparison(runs: Sequence[Run]) -> Table:
    """A row per figure as texts, a column per run."""
    frame = compare(runs)
    rows = [(str(figure).replace("_", " "), *(figure_text(value, str(unit)) for value in values))
            for (figure, unit), values in _rows(frame)]
    return Table(("", *map(str, frame.columns)), rows)


def comparison_document(runs: Sequence[Run]) -> dict[str, Any]:
    """The same as JSON, values in the units that are told; None where a run has none."""
    frame = compare(runs)
    return {
        "runs": [str(name) for name in frame.columns],
        "figures": [{"figure": str(figure), "unit": str(unit),
                     "values": [_bare(value) for value in values]}
                    for (figure, unit), values in _rows(frame)],
    }


def _rows(frame: Any) -> Iterator[tuple[tuple[str, str], Sequence[Any]]]:
    return zip(frame.index, frame.to_numpy(dtype=object), strict=True)


def _bare(value: Any) -> Any:
    """What JSON knows: no missing value of pandas, no number of numpy."""
    if isinstance(value, list | tuple):
        return [_bare(item) for item in value]
    if pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value


def write_comparison(runs: Sequence[Run], out: Path) -> None:
    """Write a page with the table and the curves. Raises TestbedError where it cannot be."""
    canvas = overlay(runs)
    write_page(out, render(
        "comparison.html", names=[run.path.name for run in runs], table=comparison(runs),
        curves="" if canvas is None else inline(canvas, "overlay")))


def overlay(runs: Sequence[Run]) -> Canvas | None:
    """Goodput of all senders together, a line per run; None where no run has any."""
    totals = [pivot(run.goodput(by=("host",)), "host").sum(axis=1) for run in runs]
    end_ns = max((int(total.index.max()) for total in totals if total.any()), default=0)
    if not end_ns:
        return None
    unit = time_unit(end_ns)
    with in_house_style():
        canvas, (axes,) = new_canvas((3.4,))
        for number, (run, total) in enumerate(zip(runs, totals, strict=True)):
            if total.any():
                axes.plot([0, *(total.index / unit.ns)], [total.iloc[0], *total], lw=1.4,
                          drawstyle="steps-pre", color=line_colour(number),
                          label=f"{number + 1}: {label(run)}")
        axes.set_xlim(0, end_ns / unit.ns)
        axes.set_xlabel(f"emulated time since the start of each run ({unit.name})")
        from_zero(axes, "goodput, all together (Gb/s)")
        legend_beside(axes, "run")
    return canvas


def label(run: Run) -> str:
    """What a run was, short enough for a legend."""
    what = run.drill["name"] if run.drill else str(run.spec.get("workload"))
    return f"{what}\n{run.topology.name}, seed {run.spec.get('seed', '?')}"
