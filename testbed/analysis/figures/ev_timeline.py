"""The state of every EV over time: a row of bars per EV, grouped by plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Patch

from testbed.analysis.figures.actions import draw_actions
from testbed.analysis.figures.evrows import busiest_qp
from testbed.analysis.figures.style import INK, new_canvas, time_axis, time_unit
from topologies.ev import format_ev

if TYPE_CHECKING:
    from testbed.analysis.run import Run

_ROW_IN, _LEAST_IN, _EDGES_IN = 0.17, 2.2, 1.0
_SPARE = "spare"
# What a bar says: colour and words of the legend, in its order.
_LOOKS = {
    "good": ("#9ecae1", "good, carries data"),
    _SPARE: ("#eef3f7", "good, a spare"),
    "skip": ("#e6a817", "skipped: congested"),
    "assumed_bad": ("#c1272d", "assumed bad, probed"),
    "denied": ("#333333", "denied"),
}


def draw(run: Run) -> Canvas:
    """The queue pair with most changes, of all its EVs that changed or carried anything."""
    pair, qp = busiest_qp(run)
    bars = run.ev_timeline(host=pair.host, peer=pair.peer)
    bars = bars[(bars["qp"] == qp) & (bars["state"] != "absent")]
    evs = sorted(int(ev) for ev in bars["ev"].unique())
    canvas, (axes,) = new_canvas((max(_LEAST_IN, _ROW_IN * len(evs)) + _EDGES_IN,))
    shown = _draw_bars(axes, run, {ev: row for row, ev in enumerate(evs)}, bars)
    _label_rows(axes, evs)
    axes.set_ylabel(f"EVs of {pair.host} to {pair.peer}, queue pair {qp}")
    axes.legend(handles=[Patch(color=colour, label=text) for look, (colour, text)
                         in _LOOKS.items() if look in shown],
                loc="upper left", bbox_to_anchor=(1.0, 1.02), borderaxespad=0.3)
    time_axis(axes, run)
    draw_actions([axes], run)
    return canvas


def _draw_bars(axes: Axes, run: Run, rows: dict[int, int], bars: Any) -> set[str]:
    """All bars of one EV and look together, there may be thousands; the looks there are."""
    unit = time_unit(run.end_ns).ns
    looks = bars["state"].where(bars["is_active"] | (bars["state"] != "good"), _SPARE)
    for (ev, look), found in bars.groupby(["ev", looks]):
        pieces = [(start / unit, (end - start) / unit) for start, end in
                  zip(found["start_ns"], found["end_ns"], strict=True)]
        axes.broken_barh(pieces, (rows[int(ev)] - 0.4, 0.8), color=_LOOKS[look][0], lw=0)
    return set(looks)


def _label_rows(axes: Axes, evs: list[int]) -> None:
    """EVs as people type them, and a line between planes."""
    axes.set_yticks(range(len(evs)), [format_ev(ev) for ev in evs],
                    fontsize=9 if len(evs) <= 16 else 7.5, family="DejaVu Sans Mono")
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.set_ylim(len(evs) - 0.4, -0.6)
    for row in range(1, len(evs)):
        if evs[row] >> 24 != evs[row - 1] >> 24:
            axes.axhline(row - 0.5, color=INK, lw=0.6)
