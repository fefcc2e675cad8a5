"""Packets taken for lost."""

from __future__ import annotations

from unit.analysis.figures.drawing import ACTIONS, drawn, legend
from unit.analysis.made import loss, made_run

EV = 0x0002_0000


def test_every_packet_stands_in_one_bar_of_its_cause() -> None:
    run = made_run(events=ACTIONS, losses=[
        loss(41_000, 40_000, EV), loss(41_100, 40_500, EV), loss(60_000, 45_000, EV, "timer")])
    _, (by_cause, by_plane) = drawn("losses", run)
    assert legend(by_cause) == ["SACKs of later packets (2)", "timer (1)"]
    assert legend(by_plane) == ["plane 0 (3)"]
    assert sum(bar.get_height() for bar in by_cause.patches if bar.get_height() > 0
               and bar.get_width() < 10) == 3


def test_a_loss_after_the_end_is_not_left_out() -> None:
    _, (_, by_plane) = drawn("losses", made_run(losses=[loss(250_000, 1, EV)]))
    assert sum(bar.get_height() for bar in by_plane.patches) == 1
