"""The library: everything in it loads, within its bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.analysis.figures import FIGURES
from testbed.drills import drill_names, load_drill
from testbed.drills.catalogue import library_text
from testbed.drills.drill import MAX_LIBRARY_PACKETS
from testbed.errors import UsageError
from testbed.faults.script import require_sense

ISSUE = {
    "p2p-bandwidth", "p2p-latency", "nic-staircase", "nic-flap-4of8", "uplink-sequence-20",
    "uplink-flap-8", "t0-crash", "t1-crash", "t1-blackhole-reboot", "ev-loss-20",
    "ev-rebalance", "sendrecv-scale", "incast-victim", "capacity-tracking", "permutation",
    "startup-bad-paths", "flap-storm", "transceiver-glitch",
}


def test_every_experiment_is_there() -> None:
    assert set(drill_names()) >= ISSUE


@pytest.mark.parametrize("name", drill_names())
def test_a_drill_of_the_library_is_sound(name: str) -> None:
    drill = load_drill(name)
    assert drill.name == drill.ask == name
    assert drill.budget_packets <= MAX_LIBRARY_PACKETS
    assert drill.figure in FIGURES
    assert all(check.look in FIGURES for check in drill.checks)
    assert drill.about
    assert len(drill.title) <= 70
    assert drill.paper.startswith(("Fig", "5.2.1"))
    assert any(check.paper for check in drill.checks)
    assert any(not check.is_steady for check in drill.checks)
    require_sense(drill.script)


@pytest.mark.parametrize("name", drill_names())
def test_the_gate_of_a_drill_is_no_check_and_can_fail(name: str) -> None:
    checks = load_drill(name).checks
    asked = [(check.measure, check.window, dict(check.where)) for check in checks]
    for check in checks:
        if check.is_steady:
            assert check.measure != "qp_failures"
            assert asked.count((check.measure, check.window, dict(check.where))) == 1
    assert ("qp_failures", "run", {}) in asked


def test_all_of_it_takes_no_longer_than_it_may() -> None:
    drills = [load_drill(name) for name in drill_names()]
    assert sum(drill.takes_s for drill in drills) < 45 * 60
    assert sum(drill.takes_sim_s for drill in drills) < 5 * 60


def test_a_file_of_ones_own_is_loaded_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(library_text("t1-crash").replace("drill: t1-crash", "drill: mine"))
    drill = load_drill(str(path))
    assert (drill.name, drill.ask) == ("mine", str(path))


@pytest.mark.parametrize(("name", "complaint"), [
    ("t1-crsh", "did you mean 't1-crash'"), ("./nowhere.yaml", "cannot be read: no such file"),
])
def test_what_is_not_there_is_told(name: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        load_drill(name)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not text"):
        load_drill(str(path))
