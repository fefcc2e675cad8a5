"""Goodput beside the capacity that faults have left over time (paper, Fig 19)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from matplotlib.figure import Figure as Canvas

from testbed.analysis.figures import NothingToDraw
from testbed.analysis.figures.actions import draw_actions
from testbed.analysis.figures.goodput import draw_line, pivot
from testbed.analysis.figures.style import (
    BAD,
    INK,
    from_zero,
    legend_beside,
    new_canvas,
    time_axis,
    time_unit,
)
from testbed.faults.actions import Action, make_action
from testbed.faults.desired import desired_state
from testbed.faults.targets import parse_target
from testbed.forwarding.egress import egress_slots
from testbed.forwarding.paths import paths
from topologies.graph import Graph, build_graph
from topologies.names import parse_host
from topologies.numbers import data_frame_bytes

if TYPE_CHECKING:
    from testbed.analysis.run import Run

_CUTTING = ("down", "crash", "blackhole")  # kinds of faults after which nothing passes
_Ways = Sequence[tuple[int, tuple[int, ...]]]  # of each path: its plane, the ports it leaves by


class Level(NamedTuple):
    """From ``t_ns`` on, the paths that work can carry so much payload."""

    t_ns: int
    goodput_bps: float


def draw(run: Run) -> Canvas:
    """What all senders together got, under the line of what there was to get."""
    total = pivot(run.goodput(by=("host",)), "host")
    if total.empty:
        raise NothingToDraw("No queue pair was sampled in this run, so there is no goodput over "
                            "time.")
    unit = time_unit(run.end_ns).ns
    levels = capacity_left(run)
    canvas, (axes,) = new_canvas((3.4,))
    axes.plot([max(0, level.t_ns) / unit for level in levels] + [run.end_ns / unit],
              [level.goodput_bps / 1e9 for level in (*levels, levels[-1])],
              drawstyle="steps-post", color=BAD, lw=1.4, label="capacity left,\nas payload")
    draw_line(axes, run, total.sum(axis=1), color=INK, lw=1.6, label="goodput,\nall together")
    from_zero(axes, "Gb/s")
    legend_beside(axes)
    time_axis(axes, run)
    draw_actions([axes], run)
    return canvas


def capacity_left(run: Run) -> list[Level]:
    """The capacity from the start of the run on, a level for every time it was changed.

    For each plane the narrowest of the layers that its working paths cross (NICs of the
    senders, uplinks, downlinks of T1, last hops), counted in ports: an upper bound, which
    flows that share ports unevenly do not reach. Faults that only lose or corrupt some frames
    leave it as it is.
    """
    graph = build_graph(run.topology)
    pairs = {(parse_host(row.host), parse_host(row.peer))
             for row in run.flows[["host", "peer"]].drop_duplicates().itertuples()}
    ways = [(path.plane, egress_slots(graph, path))
            for src, dst in pairs if src is not None and dst is not None
            for path in paths(run.topology, src, dst)]
    active: dict[str, Action] = {}
    levels = [Level(0, _carries(run, graph, ways, ()))]
    for t_ns, rows in run.actions.groupby("t_ns"):
        for row in rows.itertuples():
            _follow(active, str(row.target), row.what == "inject")
        levels.append(Level(int(t_ns), _carries(run, graph, ways, active.values())))
    return levels


def _follow(active: dict[str, Action], fault: str, is_inject: bool) -> None:
    target, _, kind = fault.partition("#")
    if kind not in _CUTTING:
        return
    if is_inject:
        active[fault] = make_action(parse_target(target), kind)
    else:
        active.pop(fault, None)


def _carries(run: Run, graph: Graph, ways: _Ways, active: Iterable[Action]) -> float:
    state = desired_state(graph, active)
    dead = {slot for slot, fault in state.ports.items() if fault.blackhole}
    alive = [(plane, slots) for plane, slots in ways if not dead.intersection(slots)]
    ports = sum(_narrowest([slots for of, slots in alive if of == plane])
                for plane in {plane for plane, _ in alive})
    payload = run.topology.payload_bytes
    return ports * run.topology.port_rate_bps * payload / data_frame_bytes(payload)


def _narrowest(ways: Sequence[tuple[int, ...]]) -> int:
    """Ports in the narrowest layer; paths that stay below a T1 cross its first and last only."""
    first, last = {slots[0] for slots in ways}, {slots[-1] for slots in ways}
    layers = [first, last]
    if all(len(slots) == len(ways[0]) for slots in ways):
        layers += [{slots[n] for slots in ways} for n in range(1, len(ways[0]) - 1)]
    return min(len(layer) for layer in layers)
