"""Runs of an instance: one at a time, how far it is, what is left behind, under which time."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from unit.instance.run_fakes import SPEC, FakeFabric, fake_testbed, measured, request

from testbed.analysis.tables import from_parquet
from testbed.errors import InstanceError, TestbedError, UsageError
from testbed.faults.actions import make_action
from testbed.faults.script import At, Step
from testbed.faults.targets import parse_target
from testbed.instance import runs
from testbed.instance.activerun import ActiveRun
from testbed.instance.calibration import Calibration
from testbed.instance.fleetrun import Outcome, RunPlan
from testbed.instance.measured import Measured
from testbed.instance.order import Order, order_of
from testbed.instance.runfolder import Owner
from testbed.instance.runs import Runs
from testbed.instance.transit import BUSY, Pace
from testbed.intent.run import RunRequest
from testbed.metrics.tables import event_row
from topologies.numbers import base_rtt_ns
from workloads.job import plan_permutation, plan_write_bandwidth

ME = Owner(os.getuid(), os.getgid())
ASKED = {"workload": "write-bw", "src": "h0", "dst": "h2", "qps": 1, "iters": 4}
PATIENCE_S = 5


@dataclass(slots=True)
class FakeCollector:
    """Has these rows, and notes what is asked of it."""

    folder: Path
    names: list[str]
    sample_ns: int
    tdf: int
    rows: dict[str, list[dict[str, Any]]]
    fetched: list[Mapping[str, Any]] = field(default_factory=list)
    left: list[Path] = field(default_factory=list)
    is_cleared: bool = False

    def fetch(self, results: Mapping[str, Any]) -> None:
        self.fetched.append(results)

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        return self.rows

    def leave(self, path: Path) -> None:
        assert not self.is_cleared
        self.left.append(path)

    def clear(self) -> None:
        self.is_cleared = True


class Bench:
    """Runs over a testbed that measures at once, or when ``go`` is set."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path, **asked: Any) -> None:
        self.folder = folder / "runs"
        self.go = threading.Event()
        self.go.set()
        self.is_measuring = threading.Event()
        self.is_calibrating = threading.Event()
        self.plans: list[RunPlan] = []
        self.known: list[tuple[int, bool]] = []
        self.tdfs: list[tuple[int, int]] = []
        self.calibration = Calibration(pair_tdf=600, all_tdf=3_000)
        self.transit_asked: list[tuple[Pace, set[int], int]] = []
        self.measured: Callable[[], Measured] = measured
        self.tells: list[str] = []
        self.unhealed: list[str] = []
        patch.setattr(runs, "measure", self._measure)
        patch.setattr(runs, "Calibrator", self._calibrator)
        self.collectors: list[FakeCollector] = []
        self.rows: dict[str, list[dict[str, Any]]] = {}
        patch.setattr(runs, "Collector", self._collector)
        layout = SimpleNamespace(
            log=folder / "instance.log", open_run=folder / "run", rows=folder / "rows")
        self.testbed = fake_testbed(
            request=request(**asked), fabric=FakeFabric(), layout=layout, hosts=None,
            injector=SimpleNamespace(in_force=()),
            transit=SimpleNamespace(know=self._transit, last_ns={}),
            set_tdf=lambda tdf, number, transit: self.tdfs.append((tdf, number)))
        self.runs = Runs(self.testbed)

    def _calibrator(self, testbed: object, next_number: Callable[[], int]) -> Any:
        assert testbed is self.testbed
        self.next_number = next_number
        return SimpleNamespace(know=self._know)

    def _transit(self, pace: Pace, links: frozenset[int]) -> dict[int, int]:
        self.transit_asked.append((pace, set(links), self.tdfs[-1][0]))
        return {2: 20, 4: 40}

    def _collector(self, folder: Path, _fabric: object, _hosts: object, names: list[str],
                   sample_ns: int, tdf: int) -> FakeCollector:
        self.collectors.append(FakeCollector(folder, names, sample_ns, tdf, self.rows))
        return self.collectors[-1]

    def _know(self, senders: int, tell: Callable[[str], None], *, is_anew: bool = False,
              is_stopping: Callable[[], bool] = lambda: False) -> Calibration:
        self.known.append((senders, is_anew))
        for words in self.tells:
            tell(words)
            self.is_calibrating.set()
            assert self.go.wait(PATIENCE_S)
            if is_stopping():
                raise InstanceError("the run was ended while this machine was being calibrated")
        return self.calibration

    def _measure(self, testbed: object, plan: RunPlan,
                 on_progress: Callable[[Mapping[str, Any]], None],
                 on_begin: Callable[[Any, Any], None], collector: Any) -> Measured:
        assert collector is self.collectors[-1]
        self.plans.append(plan)
        on_begin(SimpleNamespace(stop=self.go.set),
                 SimpleNamespace(describe=list, failures=self.unhealed))
        on_progress({"h0": {"now_ns": 5_000, "messages_done": 1, "bytes_done": 100}})
        self.is_measuring.set()
        assert self.go.wait(PATIENCE_S)
        return self.measured()

    def start(self, **changes: Any) -> int:
        return self.runs.start({**ASKED, **changes}, str(self.folder), ME)

    def finish(self, number: int) -> dict[str, Any]:
        """The state of a run when its thread has ended."""
        self.go.set()
        self.join(number)
        return self.runs.state(number)

    def join(self, number: int) -> None:
        for thread in threading.enumerate():
            if thread.name == f"run-{number}":
                thread.join(PATIENCE_S)
                assert not thread.is_alive()

    def hold(self) -> None:
        """The next run waits in the middle of being measured."""
        self.go.clear()

    def only_folder(self) -> Path:
        (found,) = [path for path in self.folder.iterdir() if not path.is_symlink()]
        return found

    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.only_folder() / "manifest.json").read_text())
        return found


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    return Bench(monkeypatch, tmp_path)


# --- From beginning to end ---------------------------------------------------------------


def test_a_run_ends_with_its_result_and_its_folder(bench: Bench) -> None:
    number = bench.start()
    state = bench.finish(number)
    assert (state["number"], state["phase"], state["what"]) == (number, "done", "write-bw-h0-h2")
    result = state["result"]
    folder = bench.only_folder()
    assert result["folder"] == str(folder)
    assert result["calibration"] == bench.calibration.to_dict()
    assert {path.name for path in folder.iterdir()} == {
        "COMPLETE", "fidelity.json", "manifest.json", "result.json", "spec.yaml", "tables"}
    kept = json.loads((folder / "result.json").read_text())
    assert {key: kept[key] for key in result} == json.loads(json.dumps(result))
    manifest = bench.manifest()
    assert (manifest["state"], manifest["dataplane"], manifest["tdf"]) == (
        "complete", "ovs (fake)", state["tdf"])
    assert manifest["verdict"] == result["verdict"] == {"word": "trusted", "reasons": []}


def test_a_run_is_recorded_and_its_rows_become_tables(bench: Bench) -> None:
    bench.rows = {"events": [event_row(7, "warning", detail="one"),
                             event_row(3, "warning", detail="two")]}
    bench.finish(bench.start(sample="50us"))
    (collector,), (plan,) = bench.collectors, bench.plans
    assert (plan.records, plan.sample_ns) == (collector.folder, 50_000)
    assert (collector.folder, collector.names) == (bench.testbed.layout.rows, ["h0", "h2"])
    assert len(collector.fetched) == 1
    assert (collector.left, collector.is_cleared) == ([], True)
    table = from_parquet((bench.only_folder() / "tables" / "events.parquet").read_bytes())
    assert table["detail"].tolist() == ["two", "one"]  # in order of time


def test_a_run_that_fails_leaves_its_rows_as_they_are(bench: Bench) -> None:
    def fail() -> Measured:
        raise TestbedError("the run cannot begin")

    bench.measured = fail
    number = bench.start()
    bench.join(number)
    (collector,) = bench.collectors
    assert (collector.left, collector.is_cleared) == ([bench.only_folder()], True)
    assert not (bench.only_folder() / "tables").exists()


@pytest.mark.parametrize("error", [UsageError("the run cannot begin"), OSError(5, "broken")])
def test_a_run_that_fails_tells_what_could_not_be_healed(bench: Bench, error: Exception) -> None:
    def fail() -> Measured:
        raise error

    bench.measured = fail
    bench.unhealed = ["plane:1#down could not be healed: ip refused"]
    number = bench.start()
    bench.join(number)
    kind = UsageError if isinstance(error, UsageError) else TestbedError
    with pytest.raises(kind, match=r"; plane:1#down could not be healed: ip refused$"):
        bench.runs.state(number)
    (reason,) = bench.manifest()["verdict"]["reasons"]
    assert reason == f"{error}; {bench.unhealed[0]}"


def test_the_spec_has_all_that_repeats_it(bench: Bench) -> None:
    bench.finish(bench.start(tdf=777))
    spec = yaml.safe_load((bench.only_folder() / "spec.yaml").read_text())
    assert (spec["workload"], spec["tdf"], spec["iters"], spec["seed"]) == (
        "write-bw", 777, 4, 1)
    assert spec["topology"]["planes"] == 2


def test_the_plan_is_what_was_asked_for(bench: Bench) -> None:
    number = bench.start(tdf=500, seed=42)
    bench.finish(number)
    (plan,) = bench.plans
    assert (plan.number, plan.seed, plan.tdf, plan.transit_ns) == (number, 42, 500, {2: 20, 4: 40})
    assert bench.transit_asked == [(BUSY, {4}, 500)]
    assert plan.pace == BUSY
    assert (plan.captures, plan.job.parameters["iters"]) == (None, 4)
    # At least 2 s, and as long as a queue pair may try again, which is emulated time.
    assert 2.5 < plan.drain_s < 4
    bench.finish(bench.start(tdf=5_000))
    assert plan.drain_s < bench.plans[1].drain_s == pytest.approx(
        2 + 10 * (plan.drain_s - 2))


def test_captures_go_into_the_run_s_folder(bench: Bench) -> None:
    bench.finish(bench.start(capture=True, snap="128B"))
    (plan,) = bench.plans
    assert plan.captures == bench.only_folder() / "pcap"
    assert plan.captures.is_dir()
    assert plan.snap_bytes == 128


def test_a_planned_job_is_run_as_it_is(bench: Bench) -> None:
    job = plan_permutation(SPEC, [(0, 2), (1, 3)], size=100, qps=1, iters=2, seed=6)
    number = bench.runs.start_job(job.to_params(), 900, str(bench.folder), ME)
    assert bench.finish(number)["what"] == "write-bw"
    assert (bench.plans[0].job, bench.plans[0].tdf) == (job, 900)
    spec = yaml.safe_load((bench.only_folder() / "spec.yaml").read_text())
    assert (spec["planned"], "workload" in spec) == ("write-bw", False)  # not to be run again


@pytest.mark.parametrize(("outcome", "state"), [
    (Outcome(is_settled=True), "complete"), (Outcome(is_settled=False), "partial"),
    (Outcome(is_settled=True, is_stopped=True), "partial"),
])
def test_only_a_whole_run_is_complete(bench: Bench, outcome: Outcome, state: str) -> None:
    bench.measured = lambda: measured(outcome)
    bench.finish(bench.start())
    assert bench.manifest()["state"] == state
    assert (bench.only_folder() / "COMPLETE").exists() is (state == "complete")


SCRIPT = (Step("crash", At(0), (make_action(parse_target("switch:p0-t1-0")),)),)


def test_a_script_is_refused_while_faults_are_in_force(bench: Bench) -> None:
    """A run without one is not: the workload under a fault is what somebody wants to see."""
    injector: Any = bench.testbed.injector
    injector.in_force = tuple(f"plane:{plane}#down" for plane in range(5))
    with pytest.raises(InstanceError, match=r"plane:2#down and 2 more\), .* use `heal` first"):
        bench.runs.start(ASKED, str(bench.folder), ME, SCRIPT)
    assert not bench.folder.exists()
    assert bench.finish(bench.start())["phase"] == "done"
    injector.in_force = ()
    assert bench.finish(bench.runs.start(ASKED, str(bench.folder), ME, SCRIPT))["phase"] == "done"
    assert bench.plans[-1].script == SCRIPT


# --- How far it is -----------------------------------------------------------------------


def test_the_state_of_a_run_under_way(bench: Bench) -> None:
    assert (bench.runs.summary(), bench.runs.is_busy) == (None, False)
    bench.hold()
    number = bench.start()
    assert bench.is_measuring.wait(PATIENCE_S)
    state = bench.runs.state(number)
    assert (state["phase"], state["result"], state["share"]) == ("running", None, 0.25)
    assert (state["emulated_ns"], state["bytes_done"]) == (5_000, 100)
    summary = bench.runs.summary()
    assert summary is not None
    assert (summary["verdict"], summary["error"]) == (None, None)
    assert summary["hosts"][0]["host"] == "h0"
    assert bench.runs.is_busy
    assert bench.manifest()["state"] == "running"
    bench.finish(number)
    summary = bench.runs.summary()
    assert summary is not None
    assert summary["verdict"] == {"word": "trusted", "reasons": []}
    assert not bench.runs.is_busy


def test_calibrating_is_told_in_words(bench: Bench) -> None:
    bench.tells = ["calibrating: one host"]
    bench.hold()
    number = bench.start()
    assert bench.is_calibrating.wait(PATIENCE_S)
    state = bench.runs.state(number)
    assert (state["phase"], state["notes"]) == ("calibrating", ["calibrating: one host"])
    state = bench.finish(number)
    assert (state["phase"], state["notes"]) == ("done", ["calibrating: one host"])


def test_stop_reaches_the_run(bench: Bench) -> None:
    bench.hold()
    number = bench.start()
    assert bench.is_measuring.wait(PATIENCE_S)
    bench.runs.stop(number)
    bench.join(number)
    assert bench.runs.state(number)["result"] is not None


def test_stop_while_it_is_calibrating_ends_it(bench: Bench) -> None:
    bench.tells = ["calibrating: one host"]
    bench.hold()
    number = bench.start()
    assert bench.is_calibrating.wait(PATIENCE_S)
    bench.runs.stop(number)
    with pytest.raises(InstanceError, match="ended while this machine was being calibrated"):
        bench.finish(number)
    assert (bench.plans, list(bench.folder.iterdir())) == ([], [])
    assert not bench.runs.is_busy
    bench.tells = []
    assert bench.finish(bench.start())["phase"] == "done"


class Calibrating:
    """`calibrate`, asked for by another client, for as long as the bench is held."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.found = bench, dict[str, Any]()
        bench.tells = ["words nobody hears"]
        bench.hold()
        self._thread = threading.Thread(target=self._calibrate, daemon=True)
        self._thread.start()
        assert bench.is_calibrating.wait(PATIENCE_S)

    def _calibrate(self) -> None:
        self.found = self.bench.runs.calibrate(4)

    def end(self) -> None:
        self.bench.go.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


def test_an_instance_that_is_being_calibrated_is_busy_and_answers(bench: Bench) -> None:
    calibrating = Calibrating(bench)
    try:
        begin: list[Callable[[], object]] = [
            bench.start, lambda: bench.runs.set_tdf(500), lambda: bench.runs.calibrate(1)]
        for ask in begin:  # each would wait here if a lock were held meanwhile
            with pytest.raises(InstanceError, match="'lab' is busy: it is being calibrated"):
                ask()
        assert (bench.runs.is_busy, bench.runs.summary()) == (True, None)
    finally:
        calibrating.end()
    assert calibrating.found == bench.calibration.to_dict()
    assert bench.known == [(4, True)]
    assert (bench.runs.is_busy, bench.tdfs) == (False, [])
    bench.tells = []
    assert bench.finish(bench.start())["phase"] == "done"


def test_a_calibration_that_fails_leaves_nobody_busy(bench: Bench) -> None:
    def fail(*_args: object, **_more: object) -> Calibration:
        raise TestbedError("the machine is too busy")

    know, bench.runs._calibrator = bench.runs._calibrator, SimpleNamespace(  # type: ignore[assignment]
        know=fail)
    with pytest.raises(TestbedError, match="too busy"):
        bench.runs.calibrate(1)
    assert not bench.runs.is_busy
    bench.runs._calibrator = know
    assert bench.finish(bench.start())["phase"] == "done"


def test_a_run_that_is_on_is_not_calibrated_under(bench: Bench) -> None:
    bench.hold()
    number = bench.start()
    with pytest.raises(InstanceError, match=f"busy with run {number}"):
        bench.runs.calibrate(1)
    assert bench.known == [(1, False)]
    bench.finish(number)


def test_one_run_at_a_time(bench: Bench) -> None:
    bench.hold()
    number = bench.start()
    for begin in (bench.start, lambda: bench.runs.set_tdf(500)):
        with pytest.raises(InstanceError, match=f"'lab' is busy with run {number} .write-bw-h0"):
            begin()
    bench.finish(number)
    assert bench.finish(bench.start())["phase"] == "done"


def test_an_old_run_is_asked_of_its_folder(bench: Bench) -> None:
    first = bench.start()
    bench.finish(first)
    second = bench.start()
    bench.finish(second)
    assert second > first
    for ask in (bench.runs.state, bench.runs.stop):
        with pytest.raises(UsageError, match=f"run {first} is not the last one"):
            ask(first)
    assert bench.runs.state(second)["phase"] == "done"


def test_before_any_run_there_is_none_to_ask(bench: Bench) -> None:
    with pytest.raises(UsageError, match="run 1 is not the last one"):
        bench.runs.state(1)


def test_runs_are_counted_for_people_and_trials_only_for_the_ports(bench: Bench) -> None:
    """Random sequences are never used twice, and a second run is run 2."""
    assert bench.start() == 1
    bench.finish(1)
    assert bench.next_number() == 2  # a trial
    assert bench.start() == 2
    bench.finish(2)
    bench.runs.set_tdf(500)
    assert bench.tdfs == [(1_000, 1), (1_000, 3), (500, 4)]


# --- What fails --------------------------------------------------------------------------


def fail_with(error: Exception) -> Callable[[], Measured]:
    def fail() -> Measured:
        raise error

    return fail


def test_a_run_that_fails_keeps_its_error_and_closes_its_folder(bench: Bench) -> None:
    bench.measured = fail_with(InstanceError("the run cannot begin: h2 is silent"))
    number = bench.start()
    for _ in range(2):
        with pytest.raises(InstanceError, match="cannot begin: h2 is silent"):
            bench.finish(number)
    manifest = bench.manifest()
    assert (manifest["state"], manifest["verdict"]) == (
        "partial", {"word": "invalid", "reasons": ["the run cannot begin: h2 is silent"]})
    assert not (bench.only_folder() / "COMPLETE").exists()
    summary = bench.runs.summary()
    assert summary is not None
    assert (summary["phase"], summary["verdict"], summary["error"]) == (
        "failed", None, "the run cannot begin: h2 is silent")
    assert not bench.runs.is_busy
    bench.measured = measured
    assert bench.finish(bench.start())["phase"] == "done"


def test_a_defect_is_told_with_the_log(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    bench.measured = fail_with(KeyError("h9"))
    with pytest.raises(TestbedError, match=r"inside the instance \(KeyError\('h9'\)\); see its "
                                           r"log .*instance\.log"):
        bench.finish(bench.start())
    assert "KeyError: 'h9'" in capfd.readouterr().err
    assert bench.manifest()["state"] == "partial"


def test_a_calibration_that_fails_makes_no_folder(bench: Bench) -> None:
    def fail(*_args: object, **_more: object) -> Calibration:
        raise TestbedError("the machine is too busy")

    bench.runs._calibrator = SimpleNamespace(know=fail)  # type: ignore[assignment]
    with pytest.raises(TestbedError, match="too busy"):
        bench.finish(bench.start())
    assert list(bench.folder.iterdir()) == []


def test_a_result_that_cannot_be_written_fails_the_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise TestbedError("result.json cannot be written (no space left on device)")

    monkeypatch.setattr("testbed.instance.runfolder.RunFolder.write_result", full)
    with pytest.raises(TestbedError, match="no space left"):
        bench.finish(bench.start())
    assert bench.manifest()["state"] == "partial"


def test_a_spec_that_cannot_be_written_closes_the_folder(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise TestbedError("spec.yaml cannot be written (no space left on device)")

    monkeypatch.setattr("testbed.instance.runfolder.RunFolder.write_spec", full)
    with pytest.raises(TestbedError, match=r"spec\.yaml cannot be written"):
        bench.finish(bench.start())
    manifest = bench.manifest()
    assert (manifest["state"], manifest["verdict"]["word"]) == ("partial", "invalid")
    assert "spec.yaml" in manifest["verdict"]["reasons"][0]
    assert (bench.plans, bench.testbed.layout.open_run.exists()) == ([], False)


def test_the_folder_of_a_run_under_way_is_noted_and_not_for_longer(bench: Bench) -> None:
    """`down` closes the folder it finds noted there."""
    note = bench.testbed.layout.open_run
    bench.hold()
    number = bench.start()
    assert bench.is_measuring.wait(PATIENCE_S)
    assert note.read_text() == str(bench.only_folder())
    bench.finish(number)
    assert not note.exists()


def test_a_place_where_no_folder_can_be_made_begins_nothing(bench: Bench) -> None:
    bench.folder.write_text("a file")
    with pytest.raises(UsageError, match="no run folder can be made"):
        bench.start()
    assert (bench.runs.summary(), bench.known, bench.plans) == (None, [], [])


def test_a_job_for_hosts_that_are_not_there_begins_nothing(bench: Bench) -> None:
    larger = replace(SPEC, hosts_per_t0=4)
    job = plan_permutation(larger, [(0, 6)], size=100, qps=1, iters=2)
    with pytest.raises(UsageError, match="host h6 does not exist: pair has h0 to h3"):
        bench.runs.start_job(job.to_params(), 900, str(bench.folder), ME)
    assert (bench.runs.summary(), bench.folder.exists()) == (None, False)


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"dst": "h9"}, "h9 does not exist"), ({"workload": "fly"}, "no workload 'fly'"),
    ({"colour": 1}, "no key 'colour'"), ({"tdf": 1}, "--tdf 1 is not allowed: ports"),
])
def test_what_is_wrong_begins_nothing(
    bench: Bench, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        bench.start(**changes)
    assert (bench.runs.summary(), bench.known) == (None, [])


def test_a_dilation_by_hand_must_be_possible(bench: Bench) -> None:
    with pytest.raises(UsageError, match="--tdf 1 is not allowed"):
        bench.runs.set_tdf(1)
    assert bench.tdfs == []


# --- Time dilation -----------------------------------------------------------------------


def order(dst: int = 2, tdf: Any = "auto", kind: Any = "write-bw", **changes: Any) -> Order:
    asked = RunRequest(kind=kind, src=0, dst=dst, size_bytes=100, iters=4, tdf=tdf, **changes)
    return order_of(asked, SPEC)


def chosen(bench: Bench, asked: Order) -> int:
    """The dilation an order is run at."""
    bench.finish(bench.runs.begin(asked, str(bench.folder), ME))
    return bench.plans[-1].tdf


def of_one(bench: Bench, senders: int = 1) -> int:
    return bench.calibration.tdf_for(SPEC, senders, base_rtt_ns(SPEC))


def test_what_the_order_says_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bench = Bench(monkeypatch, tmp_path, tdf=4_000, tdf_is_assumed=False)
    assert chosen(bench, order(tdf=321)) == 321
    assert chosen(bench, order(tdf=321, kind="write-lat")) == 321
    assert bench.known == [(0, False), (0, False)]


def test_then_what_the_instance_was_brought_up_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bench = Bench(monkeypatch, tmp_path, tdf=4_000, tdf_is_assumed=False)
    assert chosen(bench, order()) == 4_000
    assert chosen(bench, order(dst=1)) == 4_000
    assert bench.known == [(0, False), (0, False)]
    assert chosen(bench, order(kind="write-lat")) == 10_000, "that was chosen for bandwidth"


def test_otherwise_what_this_machine_carries(bench: Bench) -> None:
    assert chosen(bench, order()) == of_one(bench)
    assert chosen(bench, order(is_bidirectional=True)) == of_one(bench, 2) != of_one(bench)
    assert bench.known == [(1, False), (2, False)]


def test_with_local_paths_time_runs_half_as_fast(bench: Bench) -> None:
    """Half the round trip leaves half the room for being late."""
    assert of_one(bench) == 1_000
    assert chosen(bench, order(dst=1)) == 2_000
    job = plan_permutation(SPEC, [(0, 2), (1, 0)], size=100, qps=1, iters=4)
    bench.calibration = replace(bench.calibration, all_tdf=1_000)
    assert of_one(bench, 2) == 1_000
    assert chosen(bench, Order("x", job, {})) == 2_000


def test_latency_takes_ten_thousand_and_asks_for_no_trial(bench: Bench) -> None:
    assert chosen(bench, order(kind="write-lat")) == 10_000
    assert chosen(bench, order(dst=1, kind="write-lat")) == 10_000
    assert bench.known == [(0, False), (0, False)]


def test_anew_is_handed_on(bench: Bench) -> None:
    chosen(bench, order(recalibrate=True))
    assert bench.known == [(1, True)]


@pytest.mark.parametrize("asked", [order(tdf=321, recalibrate=True),
                                   order(kind="write-lat", recalibrate=True)])
def test_anew_where_nothing_is_calibrated_forgets_nothing_and_says_so(
    bench: Bench, asked: Order
) -> None:
    number = bench.runs.begin(asked, str(bench.folder), ME)
    bench.finish(number)
    assert bench.known == [(0, False)]
    (note,) = bench.runs.state(number)["notes"]
    assert note.startswith("--recalibrate has nothing to measure")


def test_a_run_that_is_not_over_is_told_by_its_phase(bench: Bench) -> None:
    job = plan_write_bandwidth(SPEC, 0, 2, size=1, qps=1, iters=1)
    bench.runs._active = ActiveRun(1, Order("x", job, {}), phase="finishing")
    assert bench.runs.is_busy
    bench.runs._active.phase = "failed"
    assert not bench.runs.is_busy
