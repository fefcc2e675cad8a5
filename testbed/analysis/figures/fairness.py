"""How evenly flows shared what there was: the goodput of each pair of hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure as Canvas

from testbed.analysis.figures import NothingToDraw
from testbed.analysis.figures.style import FAINT, INK, LINES, from_zero, natural, new_canvas

if TYPE_CHECKING:
    from testbed.analysis.run import Run

_MAX_NAMED = 24  # bars with a name of their own


def draw(run: Run) -> Canvas:
    """A bar per pair of hosts, over the whole run, and the mean."""
    flows = run.fairness()
    if flows.empty or not flows["goodput_bps"].sum():
        raise NothingToDraw("No queue pair was sampled in this run, so flows have no shares.")
    if len(flows) == 1:
        raise NothingToDraw("Only one pair of hosts had traffic, so there is nothing to share.")
    names = (flows["host"] + " \u2192 " + flows["peer"]).tolist()
    order = sorted(range(len(names)), key=lambda n: (natural(flows["host"].iloc[n]),
                                                     natural(flows["peer"].iloc[n])))
    rates = (flows["goodput_bps"] / 1e9).to_numpy()[order]
    canvas, (axes,) = new_canvas((3.2,))
    axes.bar(range(len(rates)), rates, width=min(0.7, 0.12 * len(rates)), color=LINES[0])
    axes.axhline(rates.mean(), color=INK, lw=1)
    axes.annotate(f"mean {rates.mean():,.1f} Gb/s", (1, rates.mean()), ha="right",
                  xycoords=("axes fraction", "data"), xytext=(-2, 3),
                  textcoords="offset points", fontsize=8.5)
    axes.set_title(f"Jain's index {run.jain():.3f} (1: all alike, {1 / len(rates):.2g}: one has "
                   f"all); least {rates.min() / rates.mean():.2f}, most "
                   f"{rates.max() / rates.mean():.2f} of the mean", color=FAINT, fontsize=9.5)
    axes.set_xlim(-0.8, len(rates) - 0.2)
    axes.grid(False, axis="x")
    if len(names) <= _MAX_NAMED:
        axes.set_xticks(range(len(names)), [names[n] for n in order],
                        rotation=60 if len(names) > 10 else 0, ha="right" if len(names) > 10
                        else "center")
    else:
        axes.set_xticks([])
        axes.set_xlabel(f"{len(names)} pairs of hosts")
    from_zero(axes, "mean goodput (Gb/s)")
    return canvas
