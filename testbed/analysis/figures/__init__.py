"""Figures of a run: pictures drawn from its tables, the same in reports and in notebooks.

    FIGURES["goodput"].draw(run)     a matplotlib figure, or NothingToDraw

Each figure is a module of this package with a function ``draw(run)``; matplotlib is imported
when the first one is drawn, so that who only asks for names does not wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from testbed.analysis.run import Run


class NothingToDraw(Exception):
    """This run has no rows for the figure; the message is a sentence that says which."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: ``name`` is that of its module, ``about`` says how to read it."""

    name: str
    title: str
    about: str

    def draw(self, run: Run) -> Canvas:
        """The figure of this run. Raises NothingToDraw where it has no rows for it."""
        style = import_module("testbed.analysis.figures.style")
        module = import_module(f"{__name__}.{self.name}")
        with style.in_house_style():
            canvas: Canvas = module.draw(run)
        return canvas


_ALL = (
    Figure("goodput", "Goodput over time",
           "Payload that was acknowledged, per second: all senders together and each by itself; "
           "below, what each plane carried."),
    Figure("ev_share", "Packets per path over time",
           "What the EVs of a plane carried: the paths of the plane in which most changed."),
    Figure("ev_timeline", "States of every path",
           "One row per EV of the queue pair whose EVs changed most, grouped by plane."),
    Figure("losses", "Packets taken for lost",
           "By what told the sender: a NACK, SACKs of later packets, or the timer."),
    Figure("recovery", "Anatomy of recovery",
           "For every fault, how long after it each thing happened; right, after it was healed."),
    Figure("fairness", "Shares of the flows",
           "Mean goodput of every pair of hosts, and how evenly it is shared."),
    Figure("step_times", "Training steps",
           "How long each step took, by rank and the median of the ranks."),
    Figure("iterations", "Collectives",
           "How long each iteration took, and bandwidth by size as nccl-tests counts it."),
    Figure("heatmap", "Paths of the fabric",
           "What went over each plane and T1, and what was lost there."),
    Figure("queues", "Queues of switch ports",
           "The longest queues of all ports, and what was marked, trimmed and dropped."),
    Figure("sizes", "Throughput by message size",
           "Mean of all ranks; bars reach from the slowest to the fastest iteration."),
    Figure("latency", "Latency",
           "How many of all messages took at most so long, from post to completion."),
    Figure("capacity", "Goodput and the capacity left",
           "What the paths that work can carry, and what was carried."),
    Figure("fidelity", "Lateness and idle CPU",
           "How late agents were, and how much of the machine was idle."),
)

FIGURES: Mapping[str, Figure] = MappingProxyType({figure.name: figure for figure in _ALL})
