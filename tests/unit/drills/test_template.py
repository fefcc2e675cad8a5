"""The template is a drill as it is."""

from __future__ import annotations

import pytest

from testbed.drills.schema import read_drill
from testbed.drills.template import template
from testbed.errors import UsageError


def test_it_loads_as_it_is() -> None:
    drill = read_drill(template("mine"), "mine.yaml", "mine.yaml")
    assert drill.name == "mine"
    assert drill.topology.name == "tiny"
    assert [step.name for step in drill.script] == ["crash", "back"]


def test_a_name_that_cannot_be_one_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be a name"):
        template("My Drill")
