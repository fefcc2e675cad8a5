"""The actions of a run's timeline, drawn into a figure: where they were, and what they were."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from matplotlib.axes import Axes

from testbed.analysis.covers import faults_of
from testbed.analysis.figures.style import BAND, FAINT, INK, WIDTH_IN, time_unit

if TYPE_CHECKING:
    from testbed.analysis.run import Run

_LEVELS = 2  # of labels, above one another
_CHARACTER_IN = 0.078  # width of one at the size of labels
_PANEL_SHARE = 0.8  # of the figure's width that a panel takes at least
_SHOWN = 60  # lines; more of them would be a wall


class Mark(NamedTuple):
    """Faults of one step begun or ended together, at ``t_ns``; below 0 before the start."""

    t_ns: int
    name: str
    is_inject: bool
    faults: int


class Span(NamedTuple):
    """While a fault was in force, ns; to the end of the run where nothing healed it."""

    target: str
    start_ns: int
    end_ns: int


def marks(run: Run) -> list[Mark]:
    """What was done, by step, in order."""
    found: dict[tuple[int, str, bool], int] = {}
    for row in run.actions.itertuples():
        key = (int(row.t_ns), str(row.name), row.what == "inject")
        found[key] = found.get(key, 0) + 1
    return [Mark(*key, count) for key, count in sorted(found.items())]


def spans(run: Run) -> list[Span]:
    """When each fault was in force, in the order in which they began."""
    found = [Span(fault.fault_id, fault.inject_ns,
                  run.end_ns if fault.heal_ns is None else fault.heal_ns)
             for fault in faults_of(run.actions)]
    return sorted(found, key=lambda span: (span.start_ns, span.end_ns, span.target))


def draw_actions(panels: Sequence[Axes], run: Run) -> None:
    """Grey bands while anything was in force, a line for every step, names above the first panel.

    Call it last: names need the width of the time axis.
    """
    unit = time_unit(run.end_ns).ns
    shown = [mark._replace(t_ns=max(0, mark.t_ns)) for mark in marks(run)
             if mark.t_ns <= run.end_ns]
    for axes in panels:
        for start_ns, end_ns in merged(spans(run)):
            axes.axvspan(max(0, start_ns) / unit, end_ns / unit, color=BAND, zorder=0, lw=0)
        for mark in shown[:_SHOWN]:
            axes.axvline(mark.t_ns / unit, color=INK if mark.is_inject else FAINT, lw=0.9,
                         ls="-" if mark.is_inject else (0, (4, 3)), zorder=1.5)
    if shown:
        _draw_names(panels[0], shown, run.end_ns, unit)


def merged(found: Iterable[Span]) -> list[tuple[int, int]]:
    """Times in which at least one was in force, ns, without overlaps."""
    times: list[tuple[int, int]] = []
    for span in sorted(found, key=lambda span: span.start_ns):
        if times and span.start_ns <= times[-1][1]:
            times[-1] = (times[-1][0], max(times[-1][1], span.end_ns))
        else:
            times.append((span.start_ns, span.end_ns))
    return times


def _draw_names(axes: Axes, shown: Sequence[Mark], end_ns: int, unit: int) -> None:
    """As many names as find room on their levels; the first ones win."""
    per_ns = WIDTH_IN * _PANEL_SHARE / max(1, end_ns)
    taken_in = [-1.0] * _LEVELS
    unnamed = 0
    for mark in shown:
        text = f"{mark.name} ({mark.faults})" if mark.faults > 1 else mark.name
        start_in = mark.t_ns * per_ns
        level = next((n for n in range(_LEVELS) if taken_in[n] <= start_in), None)
        if level is None:
            unnamed += 1
            continue
        taken_in[level] = start_in + len(text) * _CHARACTER_IN + 0.06
        axes.annotate(
            text, (mark.t_ns / unit, 1), xycoords=("data", "axes fraction"),
            xytext=(1, 3 + 12 * level), textcoords="offset points", fontsize=8.5,
            color=INK if mark.is_inject else FAINT, annotation_clip=False)
    if unnamed:
        axes.annotate(f"{unnamed} more not named", (1, 1), xycoords="axes fraction",
                      xytext=(0, 3 + 12 * _LEVELS), textcoords="offset points", ha="right",
                      fontsize=8.5, color=FAINT, annotation_clip=False)
