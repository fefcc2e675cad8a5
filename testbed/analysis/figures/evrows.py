"""Which queue pair and which plane figures of EVs show: where most happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from testbed.analysis.figures import NothingToDraw
from testbed.errors import UsageError
from testbed.faults.targets import EvTarget, NicTarget, PlaneTarget, parse_target
from topologies.ev import split_ev
from topologies.names import host_name, parse_switch

if TYPE_CHECKING:
    from testbed.analysis.run import Run


class Pair(NamedTuple):
    """A sender and whom it sends to."""

    host: str
    peer: str


def busiest_qp(run: Run) -> tuple[Pair, int]:
    """The queue pair with most changes of EVs; raises NothingToDraw where none changed."""
    if run.evs.empty:
        raise NothingToDraw("No EV changed its state in this run, or changes were not recorded.")
    counts = run.evs.groupby(["host", "peer", "qp"]).size()
    host, peer, qp = counts.idxmax()
    return Pair(str(host), str(peer)), int(qp)


def plane_of_interest(run: Run) -> int:
    """The plane the first fault is about; where none says, that with most changes of EVs."""
    for row in run.actions.itertuples():
        plane = _plane_of(str(row.target))
        if row.what == "inject" and plane is not None:
            return plane
    frame: Any = run.evs if not run.evs.empty else run.ev_samples
    return int(frame.groupby("plane").size().idxmax())


def _plane_of(fault: str) -> int | None:
    """Of ``link:p1-t0-0:p1-t1-3#down`` plane 1; None for hosts and what cannot be read."""
    try:
        target = parse_target(fault.partition("#")[0])
    except UsageError:
        return None
    match target:
        case NicTarget(_, plane) | PlaneTarget(plane):
            return plane
        case EvTarget(_, _, ev):
            return split_ev(ev)[0]
    for name in (getattr(target, key, "") for key in ("switch", "t0", "node", "peer")):
        if place := parse_switch(name):
            return place[0]
    return None


def pair_of_fault(run: Run) -> Pair | None:
    """Whose EV the first fault of an EV is; None where there is no such fault."""
    for row in run.actions.itertuples():
        try:
            target = parse_target(str(row.target).partition("#")[0])
        except UsageError:
            continue
        if isinstance(target, EvTarget):
            return Pair(host_name(target.src), host_name(target.dst))
    return None
