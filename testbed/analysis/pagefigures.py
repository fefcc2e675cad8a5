"""Figures as pieces of a page: SVG, or PNG where that would be too large."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib

from testbed.analysis.figures import FIGURES, Figure, NothingToDraw
from testbed.analysis.figures.style import in_house_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from testbed.analysis.run import Run

_MAX_SVG_CHARACTERS = 400_000
_PNG_DPI = 170  # sharp on paper and on dense screens


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure ready for a page, or in ``missing`` why there is none."""

    name: str
    title: str
    about: str
    markup: str = ""
    missing: str = ""


def pictures(run: Run, first: str) -> Iterator[Picture]:
    """All figures of a run, ``first`` before the others."""
    for figure in sorted(FIGURES.values(), key=lambda figure: figure.name != first):
        yield picture(run, figure)


def picture(run: Run, figure: Figure) -> Picture:
    """One figure of a run."""
    try:
        markup = inline(figure.draw(run), figure.name)
    except NothingToDraw as error:
        return Picture(figure.name, figure.title, figure.about, missing=str(error))
    return Picture(figure.name, figure.title, figure.about, markup)


def inline(canvas: Canvas, name: str) -> str:
    """The markup of a figure; the same figure has the same markup each time."""
    buffer = io.StringIO()
    with in_house_style(), matplotlib.rc_context({"svg.hashsalt": name}):
        canvas.savefig(buffer, format="svg", metadata=_no_metadata(("Date", "Creator")))
    text = buffer.getvalue()
    svg = text[text.index("<svg"):]
    return svg if len(svg) <= _MAX_SVG_CHARACTERS else _png(canvas)


def _no_metadata(keys: Sequence[str]) -> dict[str, None]:
    return dict.fromkeys(keys)


def _png(canvas: Canvas) -> str:
    buffer = io.BytesIO()
    with in_house_style():
        canvas.savefig(buffer, format="png", dpi=_PNG_DPI)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="" src="data:image/png;base64,{data}">'
