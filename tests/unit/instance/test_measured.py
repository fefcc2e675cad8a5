"""What is watched while a run is under way, and what becomes evidence of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unit.instance.run_fakes import GRAPH, SPEC, FakeFabric, FakeTime, fake_testbed, lateness

from testbed.errors import TestbedError
from testbed.faults.actions import make_action
from testbed.faults.script import At, Step
from testbed.faults.targets import parse_target
from testbed.instance import measured
from testbed.instance.collecting import OWN_FILE, Collector
from testbed.instance.fleetrun import FleetRun, Outcome, RunPlan
from testbed.instance.machine import CpuTimes
from testbed.instance.measured import Monitor, measure
from testbed.instance.transit import BUSY, IDLE, Pace
from testbed.metrics.ports import Tally
from testbed.metrics.rows import decode
from topologies.numbers import data_frame_bytes
from workloads.job import Job, plan_permutation, plan_write_bandwidth

ALLOWANCE_BYTES = 5 * data_frame_bytes(SPEC.payload_bytes)
ENOUGH_BYTES = 200 * data_frame_bytes(SPEC.payload_bytes)
SLOT = GRAPH.hosts[2].nic_ports[1].peer.slot
NAME = GRAPH.port(SLOT).interface


class Cpu:
    """What /proc/stat says: half of ``cores`` is idle unless told otherwise."""

    def __init__(self) -> None:
        self.times = CpuTimes(0, 0)

    def read(self) -> CpuTimes:
        return self.times

    def work(self, idle: int, total: int, stolen: int = 0) -> None:
        times = self.times
        self.times = CpuTimes(times.idle + idle, times.total + total, times.stolen + stolen)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    time = FakeTime()
    monkeypatch.setattr(measured, "time", time)
    return time


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> Cpu:
    cpu = Cpu()
    monkeypatch.setattr(measured, "read_cpu_times", cpu.read)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    return cpu


@pytest.fixture
def fabric() -> FakeFabric:
    return FakeFabric()


@pytest.fixture
def monitor(fabric: FakeFabric, time: FakeTime, cpu: Cpu) -> Monitor:
    return Monitor(fabric)  # type: ignore[arg-type]


BEFORE, DURING = {"h0": {"now_ns": 0}}, {"h0": {"now_ns": 0}, "h2": {"now_ns": 1}}


def passed(fabric: FakeFabric, bytes_: int, waiting: int = 0, model: int = 0) -> None:
    """So much more has passed the port, so much waits, so much should wait."""
    seen = fabric.seen[SLOT]
    fabric.count(SLOT, passed_data=seen.passed_data + Tally(1, bytes_), data_queue_bytes=model)
    fabric.kernel(SLOT, waiting=Tally(1, waiting))


# --- Monitor: processors -----------------------------------------------------------------


def test_idle_and_stolen_cores_count_from_emulated_time_0_to_the_last_look(
    monitor: Monitor, cpu: Cpu
) -> None:
    cpu.work(idle=0, total=5_000, stolen=900)
    monitor.see(BEFORE)
    cpu.work(idle=0, total=5_000, stolen=900)
    monitor.see(DURING)
    cpu.work(idle=100, total=400, stolen=200)
    monitor.see(DURING)
    assert (monitor.idle_cores, monitor.stolen_cores) == (1.0, 2.0)
    cpu.work(idle=0, total=400)
    monitor.see(DURING)
    assert (monitor.idle_cores, monitor.stolen_cores) == (0.5, 1.0)
    cpu.work(idle=0, total=9_000, stolen=900)  # after the run
    assert (monitor.idle_cores, monitor.stolen_cores) == (0.5, 1.0)


# --- Monitor: ports ----------------------------------------------------------------------


def test_a_port_that_lags_behind_its_model_is_named_with_its_error(
    monitor: Monitor, fabric: FakeFabric, time: FakeTime
) -> None:
    monitor.see(DURING)
    passed(fabric, 1_000_000, waiting=ALLOWANCE_BYTES + 70_000, model=50_000)
    time.sleep(0.31)
    monitor.see(DURING)
    assert monitor.drain_error == {NAME: pytest.approx(20_000 / 1_000_000)}


def test_both_queues_of_the_model_may_wait(
    monitor: Monitor, fabric: FakeFabric, time: FakeTime
) -> None:
    monitor.see(DURING)
    passed(fabric, 1_000_000, waiting=ALLOWANCE_BYTES + 70_000, model=50_000)
    fabric.count(SLOT, control_queue_bytes=20_000)
    time.sleep(0.31)
    monitor.see(DURING)
    assert monitor.drain_error == {NAME: 0}  # it was looked at


@pytest.mark.parametrize("more_bytes", [0, 1])
def test_a_burst_and_two_frames_are_no_lag(
    monitor: Monitor, fabric: FakeFabric, time: FakeTime, more_bytes: int
) -> None:
    monitor.see(DURING)
    passed(fabric, ENOUGH_BYTES, waiting=ALLOWANCE_BYTES + more_bytes)
    time.sleep(0.31)
    monitor.see(DURING)
    assert monitor.drain_error == {NAME: more_bytes / ENOUGH_BYTES}


def test_what_a_second_look_does_not_confirm_is_no_lag(
    monitor: Monitor, fabric: FakeFabric, time: FakeTime
) -> None:
    """Reading all ports takes so long that a queue and its model are of different moments."""
    monitor.see(DURING)
    passed(fabric, 1_000_000, waiting=ALLOWANCE_BYTES + 70_000)
    fabric.lags[SLOT] = ALLOWANCE_BYTES + 1_000
    time.sleep(0.31)
    monitor.see(DURING)
    assert monitor.drain_error == {NAME: pytest.approx(1_000 / 1_000_000)}


def test_a_switch_is_as_late_as_what_waits_for_it_took_to_arrive(
    monitor: Monitor, fabric: FakeFabric
) -> None:
    frame_bytes = data_frame_bytes(SPEC.payload_bytes)
    mine, other = (GRAPH.hosts[host].nic_ports[1].peer for host in (2, 3))
    assert mine.node == other.node
    late_ns = [0, 0]
    for looks in range(2):
        fabric.unread = {mine.slot: frame_bytes * (1 + 3 * looks), other.slot: frame_bytes}
        monitor.see(DURING)
        late_ns[looks] = monitor.switch_lateness[mine.node].max_ns
    assert late_ns == [0, 3 * frame_bytes * 8_000_000_000 // SPEC.port_rate_bps]
    fabric.unread = {mine.slot: 0}
    monitor.see(DURING)
    assert monitor.switch_lateness[mine.node].count == 2  # nothing waited: nobody was late
    assert list(monitor.switch_lateness) == [mine.node]


def test_before_emulated_time_0_no_switch_is_looked_at(
    monitor: Monitor, fabric: FakeFabric
) -> None:
    fabric.unread = {SLOT: 90_000}
    monitor.see(BEFORE)
    assert monitor.switch_lateness == {}


def test_a_port_that_has_passed_little_is_judged_later(
    monitor: Monitor, fabric: FakeFabric, time: FakeTime
) -> None:
    """A few frames more or less would be many per cent of it."""
    monitor.see(DURING)
    passed(fabric, ENOUGH_BYTES - 1, waiting=ALLOWANCE_BYTES + 50_000)
    time.sleep(0.31)
    monitor.see(DURING)
    assert monitor.drain_error == {}
    passed(fabric, 1, waiting=ALLOWANCE_BYTES + 50_000)
    time.sleep(2.01)
    monitor.see(DURING)
    assert monitor.drain_error == {NAME: pytest.approx(50_000 / ENOUGH_BYTES)}


def test_a_port_that_is_not_shaped_has_no_rate_to_lag_behind(
    monitor: Monitor, fabric: FakeFabric, time: FakeTime
) -> None:
    monitor.see(DURING)
    passed(fabric, 1_000, waiting=ALLOWANCE_BYTES + 500)
    fabric.kernel(SLOT, is_shaped=False)
    time.sleep(0.31)
    monitor.see(DURING)
    assert monitor.drain_error == {}


def test_what_passed_before_the_run_does_not_count(fabric: FakeFabric, time: FakeTime,
                                                   cpu: Cpu) -> None:
    passed(fabric, 10**9)
    monitor = Monitor(fabric)  # type: ignore[arg-type]
    monitor.see(DURING)
    time.sleep(0.31)
    passed(fabric, 0, waiting=ALLOWANCE_BYTES + 70_000)
    monitor.see(DURING)
    assert monitor.drain_error == {}  # of nothing no share can be told
    passed(fabric, ENOUGH_BYTES, waiting=ALLOWANCE_BYTES + 70_000)
    time.sleep(2.01)
    monitor.see(DURING)
    assert monitor.drain_error == {NAME: pytest.approx(70_000 / ENOUGH_BYTES)}


def test_the_worst_moment_is_kept(
    monitor: Monitor, fabric: FakeFabric, time: FakeTime
) -> None:
    monitor.see(DURING)
    for waiting in (10_000, 30_000, 20_000):
        passed(fabric, 0 if monitor.drain_error else ENOUGH_BYTES,
               waiting=ALLOWANCE_BYTES + waiting)
        time.sleep(2.01)
        monitor.see(DURING)
    assert monitor.drain_error == {NAME: pytest.approx(30_000 / ENOUGH_BYTES)}


def test_ports_are_read_at_first_soon_and_then_now_and_then(
    monitor: Monitor, fabric: FakeFabric, time: FakeTime
) -> None:
    read_at_s: list[float] = []
    counters = fabric.counters
    began_s = time.now_s

    def counted() -> dict[int, Any]:
        read_at_s.append(round(time.now_s - began_s, 1))
        return counters()

    fabric.counters = counted  # type: ignore[method-assign]
    for _ in range(60):
        monitor.see(DURING)
        time.sleep(0.1)
    assert len(read_at_s) == 3
    assert 0.2 <= read_at_s[0] <= 0.3
    assert [later - earlier for earlier, later in pairwise(read_at_s)] == [
        pytest.approx(2.05, abs=0.11)] * 2


# --- Monitor: short runs ---------------------------------------------------------------


@pytest.mark.parametrize("looks", [0, 1])
def test_a_run_over_before_it_was_seen_twice_is_measured_by_its_end(
    monitor: Monitor, cpu: Cpu, looks: int
) -> None:
    cpu.work(idle=0, total=100)  # before emulated time 0, or all that is known
    for _ in range(looks):
        monitor.see(DURING)
    cpu.work(idle=100, total=300)
    monitor.finish()
    assert monitor.idle_cores == pytest.approx([1.0, 4 / 3][looks])


def test_a_run_that_was_watched_ends_with_the_last_look(monitor: Monitor, cpu: Cpu) -> None:
    monitor.see(DURING)
    cpu.work(idle=100, total=400)
    monitor.see(DURING)
    cpu.work(idle=9_000, total=9_000)  # collecting results
    monitor.finish()
    assert monitor.idle_cores == 1.0


def test_ports_never_read_on_the_way_are_read_at_the_end(
    monitor: Monitor, fabric: FakeFabric
) -> None:
    monitor.see(DURING)
    passed(fabric, 100_000, waiting=ALLOWANCE_BYTES + 5_000)
    assert monitor.drain_error == {}
    monitor.finish()
    assert monitor.drain_error == {NAME: pytest.approx(0.05)}


def test_ports_that_were_read_on_the_way_are_not_read_again(
    monitor: Monitor, fabric: FakeFabric, time: FakeTime
) -> None:
    monitor.see(DURING)
    passed(fabric, ENOUGH_BYTES)
    time.sleep(0.31)
    monitor.see(DURING)
    passed(fabric, 0, waiting=ALLOWANCE_BYTES + 5_000)
    monitor.finish()
    assert monitor.drain_error == {NAME: 0}


# --- measure -----------------------------------------------------------------------------


CRASH = make_action(parse_target("switch:p0-t1-0"))


class Willing:
    """An injector that does what it is told."""

    moved_at_ns = 0
    on_by_hand = None
    in_force = ()

    def held(self) -> AbstractContextManager[None]:
        return nullcontext()

    def move(self, _injects: object, heals: object) -> list[dict[str, Any]]:
        return [{"target": "switch:p0-t1-0", "kind": "crash", "has_bitten": True,
                 "evidence": "1 frame dropped"}] if heals else []


class Bed:
    """A testbed whose run is a function; keeps the order of what was done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, outcome: Outcome) -> None:
        self.done: list[Any] = []
        self.unexplained: dict[str, int] = {}
        self.on_run: Callable[[], None] = lambda: None
        balance = SimpleNamespace(note_baseline=lambda: self.done.append("baseline"),
                                  unexplained=self._balance)
        self.transit_ns: dict[int, int] = {}
        self.testbed = fake_testbed(
            conservation=balance, injector=Willing(), hosts=object(),
            transit=SimpleNamespace(measure=self._transit),
            set_tdf=lambda tdf, epoch, transit: self.done.append((tdf, epoch, dict(transit))))
        bed = self

        class Fleet:
            def __init__(self, hosts: object, plan: RunPlan,
                         on_progress: Callable[[Mapping[str, Any]], None],
                         on_start: Callable[[int], None]) -> None:
                assert hosts is bed.testbed.hosts
                self.on_progress, self.on_start = on_progress, on_start

            def run(self) -> Outcome:
                bed.done.append("run")
                self.on_progress(DURING)
                bed.on_run()
                return outcome

        monkeypatch.setattr(measured, "FleetRun", Fleet)

    def _transit(self, pace: Pace, links: frozenset[int]) -> dict[int, int]:
        self.done.append((pace, set(links)))
        return self.transit_ns

    def _balance(self) -> dict[str, int]:
        self.done.append("balance")
        return self.unexplained


def result(ended_ns: int = 500_000, late_ns: int = 10, lost_ns: tuple[int, ...] = (0, 0),
           ) -> dict[str, Any]:
    return {"ended_ns": ended_ns, "lateness": lateness(late_ns, late_ns).to_dict(),
            "ports": [{"plane": plane, "lost_ns": ns} for plane, ns in enumerate(lost_ns)]}


def plan_of(job: Job | None = None) -> RunPlan:
    job = job or plan_write_bandwidth(SPEC, 0, 2, size=100, qps=1, iters=1)
    return RunPlan(8, 1, 500, job, {2: 1, 4: 2}, drain_s=1)


def outcome(**changes: Any) -> Outcome:
    results = {"h0": result(late_ns=30), "h2": result(ended_ns=700_000, lost_ns=(5, 9))}
    return replace(Outcome(results=results, is_settled=True), **changes)


@pytest.mark.usefixtures("time", "cpu")
def test_a_run_is_measured_between_two_balances(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed(monkeypatch, outcome())
    progress: list[Any] = []
    begun: list[FleetRun] = []
    found = measure(bed.testbed, plan_of(), progress.append,
                    lambda run, _script: begun.append(run))
    assert bed.done == [(500, 8, {2: 1, 4: 2}), "baseline", "run", "balance"]
    assert progress == [DURING]
    assert len(begun) == 1
    assert (found.outcome.is_settled, found.verdict.word) == (True, "trusted")


@pytest.mark.usefixtures("time", "cpu")
def test_who_collects_rows_sees_the_run_from_beginning_to_end(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    collector: Any = SimpleNamespace(
        begin=lambda: calls.append("begin"), start=lambda _zero_ns: calls.append("start"),
        see=lambda: calls.append("see"), finish=lambda: calls.append("finish"),
        keep_action=lambda _row: None)
    measure(Bed(monkeypatch, outcome()).testbed, plan_of(), lambda _: None, collector=collector)
    assert calls[0] == "begin"
    assert calls[-1] == "finish"
    assert "see" in calls


@pytest.mark.usefixtures("time", "cpu")
def test_evidence_is_by_host_and_by_nic_port(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measure(Bed(monkeypatch, outcome()).testbed, plan_of(), lambda _: None).evidence
    assert {host: late.max_ns for host, late in found.lateness.items()} == {"h0": 30, "h2": 10}
    assert found.lost_ns == {"h0-eth0": 0, "h0-eth1": 0, "h2-eth0": 5, "h2-eth1": 9}
    assert (found.duration_ns, found.cores) == (700_000, 4)
    assert (found.unexplained, found.kernel_drops, found.failures) == ({}, {}, ())


@pytest.mark.usefixtures("time")
def test_a_short_run_has_evidence_of_machine_and_ports(
    monkeypatch: pytest.MonkeyPatch, cpu: Cpu
) -> None:
    bed = Bed(monkeypatch, outcome())

    def run() -> None:
        cpu.work(idle=10, total=1_000, stolen=50)
        passed(bed.testbed.fabric, 100_000, waiting=ALLOWANCE_BYTES + 5_000)

    bed.on_run = run
    found = measure(bed.testbed, plan_of(), lambda _: None)
    assert (found.evidence.idle_cores, found.evidence.stolen_cores) == (0.04, 0.2)
    assert found.evidence.drain_error == {NAME: pytest.approx(0.05)}
    assert found.verdict.word == "invalid"


@pytest.mark.usefixtures("time", "cpu")
def test_what_is_missing_is_told_by_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed(monkeypatch, outcome(failures=["the agent of h2 is gone"]))
    bed.unexplained = {"h2-eth1: socket overflow": 3, "p0-t0-0: forwarding": -1}
    found = measure(bed.testbed, plan_of(), lambda _: None)
    assert found.evidence.kernel_drops == {"h2-eth1": 3}
    assert found.evidence.unexplained == {"p0-t0-0: forwarding": -1}
    assert found.evidence.failures == ("the agent of h2 is gone",)
    assert found.verdict.word == "invalid"


@pytest.mark.usefixtures("time", "cpu")
@pytest.mark.parametrize(("pairs", "rtt_ns"), [
    ([(0, 2)], 9404), ([(0, 1)], 4702), ([(0, 2), (0, 1)], 4702),
])
def test_lateness_is_held_against_the_shortest_round_trip(
    monkeypatch: pytest.MonkeyPatch, pairs: list[tuple[int, int]], rtt_ns: int
) -> None:
    job = plan_permutation(SPEC, pairs, size=100, qps=1, iters=1)
    found = measure(Bed(monkeypatch, outcome()).testbed, plan_of(job), lambda _: None)
    assert found.evidence.base_rtt_ns == rtt_ns


@pytest.mark.usefixtures("time", "cpu")
def test_a_run_without_any_result_is_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed(monkeypatch, Outcome(failures=["all gone"]))
    found = measure(bed.testbed, plan_of(), lambda _: None)
    assert found.verdict.word == "invalid"
    assert found.evidence.duration_ns == 0


@pytest.mark.usefixtures("time", "cpu")
@pytest.mark.parametrize(("now_ns", "drift"), [
    ({2: 41, 4: 90_002}, {"2 links": 0.08, "4 links": 180.0}), ({2: 1}, {"2 links": 0.0}), ({}, {}),
])
def test_how_far_transit_went_in_the_run_is_evidence(
    monkeypatch: pytest.MonkeyPatch, now_ns: dict[int, int], drift: dict[str, float]
) -> None:
    """In emulated time, and after the books are read: probes are frames too."""
    bed = Bed(monkeypatch, outcome())
    bed.transit_ns = now_ns
    job = plan_permutation(SPEC, [(0, 2), (0, 1)], size=100, qps=1, iters=1)
    plan = replace(plan_of(job), pace=IDLE)
    found = measure(bed.testbed, plan, lambda _: None)
    assert found.evidence.transit_drift_ns == drift
    assert bed.done[-2:] == ["balance", (IDLE, {2, 4})]


@pytest.mark.usefixtures("time", "cpu")
@pytest.mark.parametrize(("pace", "failures"), [(None, []), (BUSY, ["h2 is gone"])])
def test_transit_is_not_asked_of_a_trial_nor_of_a_run_that_failed(
    monkeypatch: pytest.MonkeyPatch, pace: Pace | None, failures: list[str]
) -> None:
    bed = Bed(monkeypatch, outcome(failures=failures))
    plan = replace(plan_of(), pace=pace)
    found = measure(bed.testbed, plan, lambda _: None)
    assert found.evidence.transit_drift_ns == {}
    assert bed.done[-1] == "balance"


def test_a_dilation_that_cannot_be_set_begins_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed(monkeypatch, outcome())

    def refuse(*_args: object) -> None:
        raise TestbedError("the agent of host h1 did not answer for 10 s")

    bed.testbed.set_tdf = refuse
    with pytest.raises(TestbedError, match="h1 did not answer"):
        measure(bed.testbed, plan_of(), lambda _: None)
    assert bed.done == []


@pytest.mark.usefixtures("time", "cpu")
def test_how_late_actions_were_is_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed(monkeypatch, outcome())
    plan = replace(plan_of(), script=(Step("before", At(-1), (CRASH,)),))
    found = measure(bed.testbed, plan, lambda _: None)
    assert found.evidence.late_events_ns == {}
    assert [(row["name"], row["what"], row["evidence"]) for row in found.actions] == [
        ("before", "inject", "1 frame dropped"), ("end", "heal", "1 frame dropped")]


@pytest.mark.usefixtures("time", "cpu")
def test_the_last_heals_of_a_run_that_fails_are_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its rows are closed only after everything was taken back."""
    bed = Bed(monkeypatch, outcome())

    def fail() -> None:
        raise TestbedError("h2 is gone")

    bed.on_run = fail
    collector = Collector(tmp_path / "rows", bed.testbed.fabric, SimpleNamespace(
        fleet=SimpleNamespace(agents={})), [], 20_000, 500)  # type: ignore[arg-type]
    plan = replace(plan_of(), script=(Step("before", At(-1), (CRASH,)),))
    with pytest.raises(TestbedError, match="h2 is gone"):
        measure(bed.testbed, plan, lambda _: None, collector=collector)
    (tmp_path / "run").mkdir()
    collector.leave(tmp_path / "run")
    kept = (tmp_path / "run" / "rows" / OWN_FILE).read_text().splitlines()
    assert [(row["name"], row["what"]) for table, row in decode(kept) if table == "events"] == [
        ("before", "inject"), ("end", "heal")]
