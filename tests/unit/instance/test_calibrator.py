"""Finding out what a machine carries: which runs are tried, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unit.instance.run_fakes import FakeFabric, fake_testbed, request

from testbed.errors import InstanceError, TestbedError
from testbed.instance import calibration, calibrator
from testbed.instance.calibration import Calibration
from testbed.instance.calibrator import Calibrator, across, trial_job
from testbed.instance.fleetrun import RunPlan
from testbed.intent.topology import load_topology
from topologies.spec import ClosSpec

TINY = load_topology("tiny")
# With all hosts the search begins at 2000 and ports hold from 500 on; one alone begins there.


class Machine:
    """Carries a dilation or not; answers probes; keeps a list of what was tried."""

    def __init__(self, spec: ClosSpec, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
        self.words: Callable[[RunPlan], str] = lambda plan: "trusted"
        self.plans: list[RunPlan] = []
        self.told: list[str] = []
        self._numbers = iter(range(100, 10_000))
        monkeypatch.setattr(calibrator, "measure", self._measure)
        load, store = calibration.load, calibration.store
        monkeypatch.setattr(calibration, "load", lambda mark: load(mark, cache))
        monkeypatch.setattr(calibration, "store", lambda mark, known: store(mark, known, cache))
        transit = SimpleNamespace(know=lambda: {2: 2_000, 4: 4_000})
        self.testbed = fake_testbed(request=request(spec=spec), fabric=FakeFabric(),
                                    transit=transit)
        self.calibrator = self.another()

    def another(self) -> Calibrator:
        """As after a restart of the instance."""
        return Calibrator(self.testbed, lambda: next(self._numbers))

    def know(self, senders: int, **options: Any) -> Calibration:
        return self.calibrator.know(senders, self.told.append, **options)

    def carries(self, least: int) -> None:
        """Trusted from this dilation on."""
        self.words = lambda plan: "trusted" if plan.tdf >= least else "degraded"

    @property
    def tried(self) -> list[int]:
        return [plan.tdf for plan in self.plans]

    @property
    def tried_with_all(self) -> list[int]:
        """What one host alone needs is found out before."""
        return [plan.tdf for plan in self.plans if len(plan.job.hosts) == 4]

    @property
    def told_of_all(self) -> list[str]:
        return [words for words in self.told if "4 hosts" in words]

    def _measure(self, testbed: object, plan: RunPlan, on_progress: Callable[..., None]) -> Any:
        assert testbed is self.testbed
        on_progress({})
        self.plans.append(plan)
        return SimpleNamespace(verdict=SimpleNamespace(word=self.words(plan)))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return Machine(TINY, monkeypatch, tmp_path)


# --- Dilation ----------------------------------------------------------------------------


def test_the_search_goes_down_while_runs_are_trusted(machine: Machine) -> None:
    machine.carries(1_000)
    assert machine.know(4).all_tdf == 1_000
    assert machine.tried_with_all == [2_000, 2_000, 1_000, 1_000, 500, 500]
    assert machine.told_of_all == [
        "calibrating: 4 hosts at line rate, time dilation 2,000: trusted",
        "calibrating: 4 hosts at line rate, time dilation 1,000: trusted",
        "calibrating: 4 hosts at line rate, time dilation 500: degraded"]


def test_the_search_goes_up_where_the_first_is_not_carried(machine: Machine) -> None:
    machine.carries(20_000)
    assert machine.know(4).all_tdf == 20_000
    assert machine.tried_with_all == [2_000] * 2 + [5_000] * 2 + [10_000] * 2 + [20_000] * 2


def test_it_never_goes_below_what_ports_hold(machine: Machine) -> None:
    """At 101 Gb/s a dilation of 250 is the least, so 500 of 1, 2, 5."""
    assert machine.know(4).all_tdf == 500
    assert machine.tried_with_all == [2_000, 2_000, 1_000, 1_000, 500, 500]


@pytest.mark.parametrize(("found", "told", "tdf"), [
    ("trusted trusted", "trusted", 1_000), ("degraded trusted trusted", "trusted", 1_000),
    ("trusted invalid trusted", "trusted", 1_000), ("degraded degraded", "degraded", 2_000),
    ("degraded invalid", "invalid", 2_000), ("invalid trusted degraded", "invalid", 2_000),
    ("trusted degraded degraded", "degraded", 2_000),
])
def test_two_runs_must_agree(machine: Machine, found: str, told: str, tdf: int) -> None:
    """A bad moment does not cost every later run; nor is one good moment enough."""
    left = {(4, 1_000): found.split()}
    machine.words = lambda plan: (
        left[key].pop(0) if (key := (len(plan.job.hosts), plan.tdf)) in left
        else "degraded" if key == (4, 500) else "trusted")
    assert machine.know(4).all_tdf == tdf
    assert left == {(4, 1_000): []}
    assert f"calibrating: 4 hosts at line rate, time dilation 1,000: {told}" in machine.told


@pytest.mark.parametrize("word", ["degraded", "invalid"])
def test_a_machine_that_carries_nothing_is_told_so(machine: Machine, word: str) -> None:
    machine.words = lambda plan: word
    with pytest.raises(TestbedError, match=r"no time dilation up to 1,000,000 .* take a smaller"):
        machine.know(1)
    assert machine.tried[-1] == 1_000_000
    assert machine.tried == sorted(2 * list(set(machine.tried)))


@pytest.mark.parametrize("senders", [2, 3, 4])
def test_several_senders_need_what_one_needs_and_what_all_need(
    machine: Machine, senders: int
) -> None:
    machine.words = lambda plan: (
        "trusted" if plan.tdf >= (20_000 if len(plan.job.hosts) == 4 else 5_000) else "degraded")
    known = machine.know(senders)
    assert (known.pair_tdf, known.all_tdf) == (5_000, 20_000)
    hosts = [set(plan.job.hosts) for plan in machine.plans]
    with_one = hosts.count({0, 2})
    assert hosts == [{0, 2}] * with_one + [{0, 1, 2, 3}] * (len(hosts) - with_one)
    assert 0 < with_one < len(hosts)
    assert known.covers(senders)


def test_one_host_is_tried_with_one(machine: Machine) -> None:
    known = machine.know(1)
    assert (known.pair_tdf, known.all_tdf) == (500, None)
    assert all(set(plan.job.hosts) == {0, 2} for plan in machine.plans)
    assert machine.told == [
        "calibrating: one host at line rate, time dilation 500: trusted"]


def test_trials_are_short_numbered_runs_with_the_measured_transit(machine: Machine) -> None:
    machine.know(1)
    plan = machine.plans[0]
    assert plan.transit_ns == {2: 2_000, 4: 4_000}
    assert plan.pace is None  # what it is asked is how much is carried
    assert plan.captures is None
    assert [found.number for found in machine.plans] == list(
        range(100, 100 + len(machine.plans)))
    assert all(found.job.parameters["duration_ns"] * found.tdf == 800_000_000
               for found in machine.plans)


# --- What is remembered ------------------------------------------------------------------


def test_what_is_known_is_not_measured_again(machine: Machine) -> None:
    first = machine.know(1)
    tried = len(machine.plans)
    assert machine.know(1) == machine.know(0) == first
    machine.calibrator = machine.another()  # from the file
    assert machine.know(1) == first
    assert len(machine.plans) == tried


def test_what_lacks_is_added_to_what_is_known(machine: Machine) -> None:
    pair = machine.know(1).pair_tdf
    machine.carries(50_000)
    known = machine.know(4)
    assert (known.pair_tdf, known.all_tdf) == (pair, 50_000)
    assert set(machine.tried[:2]) == {pair}
    assert machine.tried_with_all == machine.tried[2:]
    machine.calibrator = machine.another()
    assert machine.know(0) == known


def test_anew_forgets_what_is_known(machine: Machine) -> None:
    machine.know(1)
    machine.carries(10_000)
    assert machine.know(1, is_anew=True) == Calibration(pair_tdf=10_000)
    assert machine.know(1) == machine.another().know(1, machine.told.append)
    assert machine.know(1).pair_tdf == 10_000


def test_another_data_plane_is_measured_for_itself(machine: Machine) -> None:
    machine.know(1)
    tried = len(machine.plans)
    machine.testbed.fabric.describe_dataplane = lambda: "linux"
    machine.another().know(1, machine.told.append)
    assert len(machine.plans) > tried


def test_who_needs_no_dilation_has_nothing_measured(machine: Machine) -> None:
    assert machine.know(0) == Calibration()
    assert (machine.plans, machine.told) == ([], [])


def test_a_search_that_fails_leaves_nothing_behind(machine: Machine) -> None:
    machine.words = lambda plan: "invalid"
    with pytest.raises(TestbedError):
        machine.know(1)
    machine.words = lambda plan: "trusted"
    assert machine.know(1).pair_tdf == 500


# --- Ended by hand ---------------------------------------------------------------------


@pytest.mark.parametrize("trials", [0, 1, 3])
def test_it_ends_before_the_next_trial_when_it_is_to_stop(machine: Machine, trials: int) -> None:
    with pytest.raises(InstanceError, match="ended while this machine was being calibrated"):
        machine.know(4, is_stopping=lambda: len(machine.plans) >= trials)
    assert len(machine.plans) == trials


def test_a_search_that_was_stopped_leaves_nothing_behind(machine: Machine) -> None:
    with pytest.raises(InstanceError):
        machine.know(1, is_stopping=lambda: bool(machine.plans))
    assert machine.know(1).pair_tdf == 500  # nobody wants this one to stop


def test_what_is_known_is_told_even_to_one_that_is_to_stop(machine: Machine) -> None:
    first = machine.know(1)
    assert machine.know(1, is_stopping=lambda: True) == first


# --- Pieces ------------------------------------------------------------------------------


@pytest.mark.parametrize(("preset", "pairs"), [
    ("tiny", [(0, 2), (1, 3), (2, 0), (3, 1)]), ("quad", None), ("rack4", None), ("wide", None),
])
def test_every_host_sends_to_one_and_hears_one(
    preset: str, pairs: list[tuple[int, int]] | None
) -> None:
    spec = load_topology(preset)
    found = across(spec)
    assert pairs is None or found == pairs
    hosts = list(range(spec.host_count))
    assert sorted(src for src, _ in found) == sorted(dst for _, dst in found) == hosts
    if spec.t0_per_plane > 1:
        assert all(spec.is_cross_t1(src, dst) for src, dst in found)


@pytest.mark.parametrize("tdf", [250, 50_000, 1_000_000])
def test_a_trial_lasts_as_long_on_the_wall_whatever_the_dilation(tdf: int) -> None:
    job = trial_job(TINY, across(TINY), tdf)
    assert job.parameters["duration_ns"] == 800_000_000 // tdf
    assert all(len(host.program["sends"]) == 4 for host in job.hosts.values())


def test_steps_are_1_2_5() -> None:
    step, steps = 100_000, []
    while step > 1:
        step = calibrator._step_down(step)
        steps.append(step)
    assert steps == [50_000, 20_000, 10_000, 5_000, 2_000, 1_000, 500, 200, 100, 50, 20, 10, 5,
                     2, 1]
