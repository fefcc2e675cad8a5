"""The list of figures, and what all of them do alike."""

from __future__ import annotations

import subprocess
import sys

import pytest
from unit.analysis.made import made_run

from testbed.analysis.figures import FIGURES, NothingToDraw

# In a run without a row these have nothing to draw; that is a sentence, not an empty picture.
NAMES = sorted(FIGURES)


def test_a_figure_is_found_by_its_own_name() -> None:
    assert [name for name, figure in FIGURES.items() if figure.name != name] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_run_without_rows_is_told_in_a_sentence(name: str) -> None:
    with pytest.raises(NothingToDraw) as told:
        FIGURES[name].draw(made_run())
    assert str(told.value)[0].isupper()
    assert str(told.value).endswith(".")


def test_asking_for_names_does_not_wait_for_matplotlib() -> None:
    code = ("import sys; from testbed.analysis.figures import FIGURES; len(FIGURES); "
            "sys.exit('matplotlib' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
