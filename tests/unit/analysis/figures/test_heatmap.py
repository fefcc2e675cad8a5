"""Plane by T1."""

from __future__ import annotations

from unit.analysis.figures.drawing import drawn, texts
from unit.analysis.made import ev_sample, made_run


def test_a_map_of_what_passed_and_one_of_each_trouble() -> None:
    run = made_run(ev_samples=[ev_sample(5000, 0x0102_0000, 40, lost=3),
                               ev_sample(5000, 0x0300_0000, 1234)])
    _, panels = drawn("heatmap", run)
    shown = [axes for axes in panels if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in shown] == [
        "packets acknowledged", "packets lost"]
    cells = texts(shown[0])
    assert cells[1 * 4 + 2] == "40"
    assert cells[3 * 4] == "1,234"
    assert texts(shown[1]).count("3") == 1


def test_traffic_below_one_t0_has_a_column() -> None:
    _, panels = drawn("heatmap", made_run(ev_samples=[ev_sample(5000, 0, 7, t1=None)]))
    assert [label.get_text() for label in panels[0].get_xticklabels()] == ["local"]
