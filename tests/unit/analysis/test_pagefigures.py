"""Figures as pieces of a page."""

from __future__ import annotations

from unit.analysis.made import made_run, steady

from testbed.analysis.figures import FIGURES
from testbed.analysis.figures.style import new_canvas
from testbed.analysis.pagefigures import inline, picture, pictures

RUN = made_run(flows=steady(100e9, 0, 100_000, 10_000))


def test_a_figure_is_svg_inside_the_page() -> None:
    found = picture(RUN, FIGURES["goodput"])
    assert found.markup.startswith("<svg")
    assert "<?xml" not in found.markup
    assert found.missing == ""


def test_a_figure_that_would_be_too_large_is_a_picture() -> None:
    canvas, (axes,) = new_canvas()
    for row in range(60):
        axes.scatter(range(100), [row] * 100)
    assert inline(canvas, "large").startswith('<img alt="" src="data:image/png;base64,')


def test_the_first_one_is_the_one_that_was_asked_for() -> None:
    found = list(pictures(RUN, "queues"))
    assert found[0].name == "queues"
    assert found[0].missing
    assert sorted(picture.name for picture in found) == sorted(FIGURES)
