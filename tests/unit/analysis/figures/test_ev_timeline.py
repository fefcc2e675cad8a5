"""States of EVs as bars."""

from __future__ import annotations

from matplotlib.colors import to_hex
from unit.analysis.figures.drawing import ACTIONS, drawn, legend
from unit.analysis.made import ev_change, ev_sample, flow, made_run

DEAD, FINE = 0x0002_0000, 0x0101_0000


def _run():  # type: ignore[no-untyped-def]
    return made_run(
        flows=[flow(100_000, 100_000, acked_bytes=400_000)], events=ACTIONS,
        ev_samples=[ev_sample(100_000, ev, 50, 100_000) for ev in (DEAD, FINE)],
        evs=[ev_change(42_000, DEAD, "good", "assumed_bad"),
             ev_change(90_000, DEAD, "assumed_bad", "good", "probes_answered")])


def test_a_row_per_ev_in_the_order_of_planes() -> None:
    _, (axes,) = drawn("ev_timeline", _run())
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0x0002", "0x0101"]


def test_the_bar_is_red_while_the_ev_is_assumed_bad() -> None:
    _, (axes,) = drawn("ev_timeline", _run())
    red = next(bars for bars in axes.collections if to_hex(bars.get_facecolor()[0]) == "#c1272d")
    box = red.get_paths()[0].vertices
    assert (box[:, 0].min(), box[:, 0].max()) == (42, 90)
    assert -0.5 < box[:, 1].min() < box[:, 1].max() < 0.5  # the first row


def test_an_ev_that_never_changed_is_good_all_the_time() -> None:
    _, (axes,) = drawn("ev_timeline", _run())
    rows = [path.vertices for bars in axes.collections for path in bars.get_paths()]
    of_second = [box for box in rows if box[:, 1].min() > 0.5]
    assert [(box[:, 0].min(), box[:, 0].max()) for box in of_second] == [(0, 100)]


def test_the_legend_names_only_what_there_is() -> None:
    _, (axes,) = drawn("ev_timeline", _run())
    assert legend(axes) == ["good, carries data", "assumed bad, probed"]
