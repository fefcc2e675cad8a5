"""Random topologies, traffic and faults: the protocol's properties hold in every schedule.

A failing seed is printed with the command that runs it alone; ``MRC_SEED=N`` in front of
pytest runs seed N only.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from sim.property_rig import Broken, check
from sim.property_schedule import schedule_of
from sim.replay import command, failure_of, main

from testbed.transport.mrc.requester import Requester

ROOT = Path(__file__).resolve().parents[2]
SEEDS, CHUNK = 200, 20
SOAK_SEEDS, SOAK_CHUNK = 10_000, 500

# Seeds that found something, and what it was; kept though a schedule may mean another run
# when the way it is drawn changes.
REGRESSIONS = {
    0: "a packet suspected by two rules was declared lost twice",
    280: "a peer out of reach for 16 RTTs never learned that a port had come back",
    1552: "the same",
    1916: "the same",
    4535: "two masks of ports had one time stamp, and the older one came last",
}


def chunks(count: int, size: int) -> list[range]:
    """The seeds 0 .. count - 1, or MRC_SEED alone, in groups."""
    chosen = os.environ.get("MRC_SEED")
    if chosen is not None:
        return [range(int(chosen), int(chosen) + 1)]
    return [range(first, first + size) for first in range(0, count, size)]


def name_of(seeds: range) -> str:
    """How pytest calls a chunk."""
    return f"{seeds[0]}-{seeds[-1]}"


def check_all(seeds: range) -> None:
    """Run every seed, then tell of all that failed."""
    failures = list(filter(None, map(failure_of, seeds)))
    assert not failures, "\n".join(["", *failures])


@pytest.mark.parametrize("seeds", chunks(SEEDS, CHUNK), ids=name_of)
def test_every_property_holds(seeds: range) -> None:
    check_all(seeds)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seeds", chunks(SOAK_SEEDS, SOAK_CHUNK), ids=name_of)
def test_every_property_holds_for_long(seeds: range) -> None:
    check_all(seeds)


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_what_once_failed(seed: int) -> None:
    assert not failure_of(seed)


@pytest.mark.parametrize("seed", range(6))
def test_a_seed_makes_the_same_run_twice(seed: int) -> None:
    first, second = (check(schedule_of(seed), is_traced=True) for _ in range(2))
    assert first == second
    assert first.digest != check(schedule_of(seed + 100), is_traced=True).digest


def test_the_schedules_bite() -> None:
    """A property that nothing puts to the test holds always."""
    counts: Counter[str] = Counter()
    for seed in range(120):
        counts += check(schedule_of(seed)).counts
    dull = [name for name in MET if not counts[name]]
    assert not dull, f"no schedule met {', '.join(dull)}"


MET = (
    "marked", "trimmed", "corrupted", "dropped_tail", "dropped_blackhole", "dropped_loss",
    "dropped_ev", "flushed", "duplicated", "killed", "found", "lost_by_evidence",
    "lost_by_nack", "lost_by_timer", "probes", "resent", "solicited", "spurious", "timeouts",
    "duplicates", "nacks", "state ERROR", "retry exceeded", "remote access error",
    "remote invalid request",
)  # fmt: skip


# --- Replaying -------------------------------------------------------------------------


def test_a_replay_runs_one_seed_alone() -> None:
    # As printed, from the root, but with the interpreter that runs the tests.
    arguments = [sys.executable, *command(3).split()[1:]]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "seed 3" in done.stdout
    assert "every property holds" in done.stdout


def test_a_replay_fails_where_the_seed_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Requester, "on_sack", lambda self, sack, now_ns: None)
    text = failure_of(0)
    assert text.startswith("seed 0: ")
    assert text.endswith(command(0))
    with pytest.raises(Broken):
        main(["0"])


def test_a_replay_without_a_seed_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == main(["x"]) == 2
    assert "give its seed" in capsys.readouterr().err


def test_one_seed_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRC_SEED", "4711")
    assert chunks(SEEDS, CHUNK) == [range(4711, 4712)]
    monkeypatch.delenv("MRC_SEED")
    assert [seed for seeds in chunks(100, 20) for seed in seeds] == list(range(100))
