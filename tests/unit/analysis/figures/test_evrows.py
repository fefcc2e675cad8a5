"""Which queue pair and which plane are worth a figure."""

from __future__ import annotations

import pytest
from unit.analysis.made import ev_change, inject, made_run

from testbed.analysis.figures import NothingToDraw
from testbed.analysis.figures.evrows import (
    Pair,
    busiest_qp,
    pair_of_fault,
    plane_of_interest,
)

EV = 0x0102_0000


def test_the_queue_pair_with_most_changes() -> None:
    run = made_run(evs=[ev_change(1, EV, "good", "skip", qp=1),
                        ev_change(2, EV, "good", "skip", qp=2),
                        ev_change(3, EV, "skip", "good", qp=2)])
    assert busiest_qp(run) == (Pair("h0", "h4"), 2)


def test_without_changes_there_is_none() -> None:
    with pytest.raises(NothingToDraw):
        busiest_qp(made_run())


@pytest.mark.parametrize(("fault", "plane"), [
    ("switch:p2-t1-0#crash", 2), ("link:p1-t0-0:p1-t1-3#down", 1), ("nic:h3:p2#down", 2),
    ("port:p3-t1-0:p3-t0-1#down", 3), ("ev:h0:h4:0x0203#loss", 2), ("plane:1#down", 1),
    ("port:h0:p3-t0-0#down", 3)])
def test_the_plane_a_fault_is_about(fault: str, plane: int) -> None:
    assert plane_of_interest(made_run(events=[inject(1, "it", fault)])) == plane


def test_else_the_plane_with_most_changes() -> None:
    run = made_run(events=[inject(1, "pause", "host:h0#pause")],
                   evs=[ev_change(1, EV, "good", "skip")])
    assert plane_of_interest(run) == 1


def test_the_pair_an_ev_fault_is_about() -> None:
    assert pair_of_fault(made_run(events=[inject(1, "a", "ev:h2:h5:0x0000#loss")])) == (
        Pair("h2", "h5"))
    assert pair_of_fault(made_run(events=[inject(1, "a", "plane:1#down")])) is None
