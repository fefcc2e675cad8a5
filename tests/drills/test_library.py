"""Every drill of the library passes in the simulator, within the packets it declares."""

from __future__ import annotations

from pathlib import Path

import pytest
from drills.playing import judgement_of

from testbed.drills import drill_names, load_drill
from testbed.drills.drill import MAX_LIBRARY_PACKETS

# For `make test`: a NIC, a switch, and what has no fault at all.
QUICK = ("nic-flap-4of8", "p2p-latency", "t0-crash")


def passes(name: str, folder: Path) -> None:
    judgement = judgement_of(name, folder)
    assert (judgement.word, judgement.reasons) == ("PASS", ())
    assert judgement.healed
    assert [warning for warning in judgement.warnings if "packets were sent" in warning] == []


@pytest.mark.parametrize("name", QUICK)
def test_a_drill_passes(name: str, tmp_path: Path) -> None:
    passes(name, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("name", drill_names())
def test_every_drill_passes(name: str, tmp_path: Path) -> None:
    passes(name, tmp_path)


@pytest.mark.parametrize("name", drill_names())
def test_every_drill_names_its_figure_and_stays_within_the_budget(name: str) -> None:
    drill = load_drill(name)
    assert drill.paper
    assert drill.figure
    assert 0 < drill.budget_packets <= MAX_LIBRARY_PACKETS
    assert drill.takes_s > drill.takes_sim_s > 0
