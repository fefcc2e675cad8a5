"""Shares of flows as bars."""

from __future__ import annotations

import pytest
from unit.analysis.figures.drawing import drawn, texts
from unit.analysis.made import made_run, steady

from testbed.analysis.figures import NothingToDraw


def test_a_bar_per_pair_in_the_order_of_hosts() -> None:
    run = made_run(flows=[*steady(100e9, 0, 100_000, host="h2"),
                          *steady(300e9, 0, 100_000, host="h1")])
    _, (axes,) = drawn("fairness", run)
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([300, 100])
    assert texts(axes) == ["mean 200.0 Gb/s"]
    assert "0.800" in axes.get_title(loc="left")  # 400^2 / (2 x (300^2 + 100^2))


def test_one_pair_has_nobody_to_share_with() -> None:
    with pytest.raises(NothingToDraw, match="one pair"):
        drawn("fairness", made_run(flows=steady(100e9, 0, 100_000)))
