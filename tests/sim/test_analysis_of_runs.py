"""Questions to runs of the simulator: the answers agree with each other and with the result."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from testbed.analysis import Run, Window, load
from testbed.analysis.compare import compare
from testbed.analysis.evstates import CARRYING
from testbed.analysis.measures import MEASURES, measure
from testbed.faults.actions import make_action
from testbed.faults.script import At, Script, Step
from testbed.faults.targets import parse_target
from testbed.instance.runfolder import Owner
from testbed.instance.simulated import simulate
from testbed.intent.topology import load_topology
from testbed.intent.workload import from_document

QUAD = load_topology("quad")
PAIR = {"workload": "write-bw", "src": "h0", "dst": "h4", "qps": 4, "duration": "500us",
        "depth": 16}
RTT = 9404
INJECT, HEAL = 150_000, 300_000
BEFORE, BROKEN, AFTER = (Window(50_000, INJECT), Window(INJECT + 50_000, HEAL),
                         Window(450_000, 500_000))


def disturbed(target: str, kind: str) -> Script:
    action = make_action(parse_target(target), kind)
    return (Step("break", At(INJECT), (action,)),
            Step("mend", At(HEAL), (), (f"{target}#{kind}",)))


def simulated(parent: Path, document: Mapping[str, Any], script: Script = ()) -> Run:
    request = from_document(document, QUAD)
    result = simulate(request, QUAD, request.what, parent,
                           Owner(os.getuid(), os.getgid()), script=script)
    return load(result["folder"])


@pytest.fixture(scope="module")
def crash(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return simulated(tmp_path_factory.mktemp("crash"), PAIR, disturbed("switch:p0-t1-2", "crash"))


@pytest.fixture(scope="module")
def unplugged(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return simulated(tmp_path_factory.mktemp("nic"), PAIR, disturbed("nic:h4:p1", "down"))


def recovery_of(run: Run) -> Mapping[str, Any]:
    (row,) = run.recovery().to_dict("records")
    return row


def test_a_crash_takes_one_path_of_every_queue_pair(crash: Run) -> None:
    row = recovery_of(crash)
    assert (row["name"], row["target"]) == ("break", "switch:p0-t1-2#crash")
    assert (row["t_inject_ns"], row["t_heal_ns"]) == (INJECT, HEAL)
    assert (row["hit_evs"], row["out_evs"], row["back_evs"]) == (4, 4, 4)


def test_milestones_come_in_their_order(crash: Run) -> None:
    row = recovery_of(crash)
    assert -RTT <= row["first_lost_ns"] <= 2 * RTT
    assert row["first_lost_ns"] < row["first_evidence_ns"] <= row["first_out_ns"]
    assert row["first_out_ns"] <= row["last_out_ns"] <= 10 * RTT
    assert row["first_lost_ns"] <= row["last_on_path_ns"] < row["last_out_ns"]
    assert 0 <= row["goodput_back_ns"] <= 10 * RTT
    assert 0 < row["first_probe_ns"] < row["first_back_ns"] <= row["last_back_ns"]
    assert row["evidence"] == "evidence"


def test_a_dead_path_costs_no_goodput_in_the_steady_state(crash: Run) -> None:
    before, broken = crash.mean_goodput_bps(BEFORE), crash.mean_goodput_bps(BROKEN)
    assert before > 0.94 * 400e9
    assert broken == pytest.approx(before, rel=0.03)


def test_a_nic_port_costs_its_plane_and_is_known_at_once(unplugged: Run) -> None:
    row = recovery_of(unplugged)
    assert row["evidence"] == "port status"
    assert row["hit_evs"] == row["out_evs"] == row["back_evs"] == 16
    assert row["last_out_ns"] < RTT
    broken = unplugged.mean_goodput_bps(BROKEN) / unplugged.mean_goodput_bps(BEFORE)
    assert broken == pytest.approx(3 / 4, abs=0.02)
    assert unplugged.mean_goodput_bps(AFTER) == pytest.approx(
        unplugged.mean_goodput_bps(BEFORE), rel=0.03)
    samples = unplugged.ev_samples  # every fifth one only: those that lie in it as a whole
    inside = samples[(samples["t_ns"] <= HEAL)
                     & (samples["t_ns"] - samples["interval_ns"] >= INJECT)]
    assert set(inside["plane"]) == {0, 2, 3}


def test_goodput_is_what_was_written(crash: Run) -> None:
    frame = crash.goodput(by=("qp",))
    edges = sorted({0, *frame["t_ns"]})
    width = frame["t_ns"].map(dict(zip(edges[1:], map(int.__sub__, edges[1:], edges[:-1]),
                                       strict=True)))
    carried = (frame["goodput_bps"] * width / 8e9).sum()
    done = crash.messages[crash.messages["status"] == "success"]
    assert carried == pytest.approx(done["bytes"].sum(), rel=1e-9)
    assert crash.flows["acked_bytes"].sum() == done["bytes"].sum()


def test_planes_and_queue_pairs_tell_the_same(crash: Run) -> None:
    at_first_try = crash.ev_samples["acked_packets"].sum()
    assert (at_first_try + len(crash.losses)) * 4096 == crash.flows["acked_bytes"].sum()
    whole = Window(0, int(crash.ev_samples["t_ns"].max()))
    planes = [crash.mean_goodput_bps(whole, plane=plane) for plane in range(4)]
    assert planes == pytest.approx([crash.mean_goodput_bps(whole) / 4] * 4, rel=0.03)
    heat = crash.path_heatmap()
    assert heat.to_numpy().sum() == crash.ev_samples["acked_packets"].sum()
    assert heat.loc[0, 2] < 0.7 * heat.loc[0, 1]  # the T1 that was away


def test_losses_are_those_of_the_result(crash: Run) -> None:
    found = crash.result["hosts"]["h0"]["resent_by"]
    by_cause = crash.retransmissions().groupby("cause")["packets"].sum().to_dict()
    assert by_cause == found
    assert len(crash.losses) == sum(found.values()) > 0
    flows = crash.flows[["lost_nack", "lost_evidence", "lost_timer"]].sum()
    assert list(flows) == [found["nack"], found["evidence"], found["timer"]]


def test_the_timeline_agrees_with_what_queue_pairs_count(crash: Run) -> None:
    table = crash.ev_timeline()
    carrying = table[table["is_active"] & table["state"].isin(CARRYING)]
    for sample in crash.flows[crash.flows["t_ns"] < crash.end_ns].itertuples():
        now = carrying[(carrying["qp"] == sample.qp) & (carrying["host"] == sample.host)
                       & (carrying["start_ns"] <= sample.t_ns)
                       & (carrying["end_ns"] > sample.t_ns)]
        if sample.t_ns > 50_000:  # by then every EV has carried something
            assert len(now) == sample.active_evs


def test_every_measure_answers(crash: Run) -> None:
    needs = {"ev_share": {"ev": "0x0002"}, "t1_share": {"t1": "2"}}
    found = {name: measure(crash, name, None, needs.get(name, {})) for name in MEASURES}
    absent = {name for name, value in found.items() if value is None}
    assert absent == {"step_time", "step_time_max", "iteration_time", "iteration_time_max",
                      "iteration_time_lost", "algbw", "busbw"}
    assert found["lost_packets"] == len(crash.losses)
    assert found["evs_out"] == found["evs_back"] == 1
    assert found["wrong_elements"] == 0


def test_two_runs_side_by_side(crash: Run, unplugged: Run) -> None:
    table = compare([crash, unplugged])
    assert table.shape[1] == 2
    rates = [float(rate) for rate in table.loc[("goodput", "bit/s")]]
    assert rates[0] > rates[1]


def test_an_all_reduce_has_the_figures_of_its_result(tmp_path: Path) -> None:
    run = simulated(tmp_path, {"workload": "allreduce", "sizes": ["256KiB"], "iters": 2},
                    disturbed("switch:p0-t1-2", "crash"))
    (size,) = run.result["sizes"]
    assert measure(run, "busbw") == pytest.approx(size["busbw_bytes_per_s"])
    assert measure(run, "iteration_time") == pytest.approx(size["median_ns"])
    assert run.end_ns == run.collectives["t_end_ns"].max()


def test_a_training_job_has_the_steps_of_its_result(tmp_path: Path) -> None:
    run = simulated(tmp_path, {"workload": "train", "steps": 3, "gradients": "256KiB",
                               "buckets": 1, "compute": "50us", "hosts": ["h0", "h1", "h4", "h5"]})
    assert list(run.step_times()["time_ns"]) == [row["time_ns"] for row in run.result["steps"]]
