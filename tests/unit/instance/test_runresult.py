"""One document of all that hosts told: from the results of a real run, and with what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from unit.agent.run_rig import FAR, GRAPH, Rig, small_job
from unit.instance.run_fakes import fake_testbed, measured

from testbed.instance.fleetrun import Outcome, RunPlan
from testbed.instance.order import Order
from testbed.instance.runresult import result_document
from workloads.job import Job, plan_write_latency
from workloads.write_bandwidth import peak_bps

PEER = GRAPH.hosts[FAR].address.packed.hex()
HOME = GRAPH.hosts[0].address.packed.hex()


def outcome_of(rig: Rig) -> Outcome:
    """What a `FleetRun` would hand back, after the trip as JSON."""
    names = {host: f"h{host}" for host in rig.runs}
    found = {"results": {names[host]: told for host, told in rig.results().items()},
             "verified": {names[host]: told for host, told in rig.verify().items()}}
    return Outcome(**json.loads(json.dumps(found)), is_settled=True, wall_s=12.3456)


@pytest.fixture(scope="module")
def outcome() -> Iterator[Outcome]:
    with pytest.MonkeyPatch.context() as patch:
        rig = Rig(small_job(is_bidirectional=True), patch).connect().start().run()
        yield outcome_of(rig)
        rig.close()


def copied(outcome: Outcome) -> Outcome:
    """To be changed by one test."""
    parts = json.loads(json.dumps({"results": outcome.results, "verified": outcome.verified}))
    return replace(outcome, failures=[], **parts)


def document(outcome: Outcome, job: Job | None = None, **evidence: Any) -> dict[str, Any]:
    job = job or small_job(is_bidirectional=True)
    order = Order("write-bw-h0-h2", job, {"workload": job.kind, "src": "h0", "dst": "h2"})
    plan = RunPlan(4, 11, 1000, job, {4: 3_000_000}, drain_s=1)
    return result_document(fake_testbed(), order, plan, measured(outcome, **evidence))


def event(kind: str, t_ns: int, **more: Any) -> dict[str, Any]:
    return {"t_ns": t_ns, "event": kind, **more}


def test_the_whole_is_json_and_says_what_was_run(outcome: Outcome) -> None:
    told = document(outcome)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert (told["kind"], told["tdf"], told["seed"], told["dataplane"]) == (
        "write-bw", 1000, 11, "ovs (fake)")
    assert told["topology"] == {"name": "pair", "planes": 2, "port_rate_bps": 10**11,
                                "payload_bytes": 4096}
    assert told["parameters"] == {"workload": "write-bw", "src": "h0", "dst": "h2"}
    assert (told["wall_s"], told["is_settled"], told["is_stopped"]) == (12.35, True, False)
    assert told["transit_wall_ns"] == {"4": 3_000_000}
    assert told["verdict"] == {"word": "trusted", "reasons": []}
    assert told["failures"] == []
    assert {row["word"] for row in told["fidelity"]} == {"trusted"}


def test_streams_name_both_ends(outcome: Outcome) -> None:
    streams = document(outcome)["streams"]
    assert [(row["src"], row["dst"], row["connection"]) for row in streams] == [
        ("h0", "h2", 0), ("h0", "h2", 1), ("h2", "h0", 0), ("h2", "h0", 1)]
    assert all(row["messages"] == 8 for row in streams)


def test_the_peak_of_a_host_is_of_all_it_sends_together(outcome: Outcome) -> None:
    peaks = document(outcome)["peaks_bps"]
    rows = outcome.results["h0"]["program"]["channels"]
    assert set(peaks) == {"h0", "h2"}
    assert peaks["h0"] == peak_bps(rows) > max(row["peak_bps"] for row in rows)


def test_a_host_that_sends_nothing_has_no_peak(outcome: Outcome) -> None:
    one_way = copied(outcome)
    one_way.results["h2"]["program"]["channels"] = []
    assert set(document(one_way)["peaks_bps"]) == {"h0"}


def test_hosts_are_summed_over_their_queue_pairs(outcome: Outcome) -> None:
    lossy = copied(outcome)
    for number, qp in enumerate(lossy.results["h0"]["qps"], start=1):
        qp["requester"] |= {"resent": 10 * number, "lost_by_nack": number,
                            "lost_by_evidence": 2 * number, "lost_by_timer": 3 * number,
                            "timeouts": number}
    lossy.results["h0"]["endpoint"]["icrc_errors"] = 5
    lossy.results["h0"]["captures_lost"] = 6
    host = document(lossy)["hosts"]["h0"]
    assert host["sent"] == sum(qp["requester"]["sent"] for qp in outcome.results["h0"]["qps"])
    assert host["sent"] >= 80
    assert (host["resent"], host["timeouts"], host["icrc_errors"]) == (30, 3, 5)
    assert host["resent_by"] == {"nack": 3, "evidence": 6, "timer": 9}
    assert host["captures_lost"] == 6
    assert [port["plane"] for port in host["ports"]] == [0, 1]


def test_a_queue_pair_that_never_sent_counts_for_nothing(outcome: Outcome) -> None:
    bare = copied(outcome)
    for qp in bare.results["h2"]["qps"]:
        qp["requester"] = {}
    assert document(bare)["hosts"]["h2"]["sent"] == 0


def test_latency_is_of_the_host_that_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    job = plan_write_latency(GRAPH.spec, 0, FAR, iters=5)
    rig = Rig(job, monkeypatch).connect().start().run()
    told = document(outcome_of(rig), job)
    rig.close()
    assert len(told["latency_ns"]) == 5
    assert (told["kind"], told["peaks_bps"]) == ("write-lat", {})


def test_events_of_all_hosts_are_in_order_of_time(outcome: Outcome) -> None:
    busy = copied(outcome)
    busy.results["h0"]["events"] = [event("a", 5), event("b", 900)]
    busy.results["h2"]["events"] = [event("c", 7), event("d", 5)]
    assert [(told["event"], told["host"]) for told in document(busy)["events"]] == [
        ("a", "h0"), ("d", "h2"), ("c", "h2"), ("b", "h0")]


def test_evs_that_were_left_name_the_peer(outcome: Outcome) -> None:
    busy = copied(outcome)
    change = {"qp": 9, "peer": PEER, "ev": "0x0101", "plane": 1, "from": "good",
              "cause": "loss"}
    busy.results["h0"]["events"] = [
        event("ev changed", 5, to="assumed_bad", **change),
        event("ev changed", 9, to="good", **change),
        event("ev changed", 11, to="assumed_bad", **change | {"peer": "ff"}),
        event("peer ports", 12, peer=PEER, up_ports=1)]
    assert document(busy)["evs_out"] == [
        {"host": "h0", "peer": "h2", "ev": "0x0101", "plane": 1, "cause": "loss", "at_ns": 5},
        {"host": "h0", "peer": "ff", "ev": "0x0101", "plane": 1, "cause": "loss", "at_ns": 11}]


def test_every_failure_is_a_sentence(outcome: Outcome) -> None:
    broken = copied(outcome)
    broken.failures = ["the agent of h1 is gone"]
    qp = broken.results["h0"]["qps"][0]["qp"]
    assert broken.results["h0"]["qps"][0]["peer"] == PEER
    broken.results["h0"]["events"] = [
        event("qp failed", 1_234_567, qp=qp, status="retry exceeded", reason="no answer"),
        event("capture failed", 8, reason="the disk is full")]
    broken.results["h2"]["events"] = [
        event("qp failed", 2_000, qp=999_999, status="flushed", reason="why not")]
    assert document(broken)["failures"] == [
        "the agent of h1 is gone",
        f"queue pair {qp} of h0 to h2 failed after 1,235 us: no answer",
        "queue pair 999999 of h2 to ? failed after 2 us: why not",
        "h0: the disk is full"]


def test_a_peer_that_is_no_host_is_its_peer(outcome: Outcome) -> None:
    broken = copied(outcome)
    qp = broken.results["h0"]["qps"][0]
    qp["peer"] = "00" * 16
    broken.results["h0"]["events"] = [
        event("qp failed", 1_000, qp=qp["qp"], status="x", reason="y")]
    assert document(broken)["failures"][0].startswith(f"queue pair {qp['qp']} of h0 to its peer")


def test_verification_is_summed_and_the_first_wrong_byte_is_kept(outcome: Outcome) -> None:
    assert document(outcome)["verified"] == {
        "checked_bytes": 2 * 2 * 8 * 20_000, "wrong_bytes": 0, "wrong_elements": 0, "unchecked": 0,
        "first_wrong": None}
    wrong = copied(outcome)
    wrong.verified["h0"] |= {"unchecked": [3, 4]}
    wrong.verified["h2"] |= {"wrong_bytes": 7, "first_wrong": {"connection": 1, "offset": 3}}
    told = document(wrong)["verified"]
    assert (told["wrong_bytes"], told["wrong_elements"], told["unchecked"]) == (7, 7, 2)
    assert told["first_wrong"] == {"host": "h2", "connection": 1, "offset": 3}


def test_verdict_and_fidelity_come_from_the_evidence(outcome: Outcome) -> None:
    told = document(outcome, unexplained={"p0-t0-0: forwarding": 2}, idle_cores=0.25)
    assert told["verdict"]["word"] == "invalid"
    assert "p0-t0-0: forwarding" in told["verdict"]["reasons"][0]
    assert {"invalid"} == {row["word"] for row in told["fidelity"]
                           if row["quantity"] == "unexplained loss"}
    assert told["busy_cores"] == 1.75


def test_a_run_nobody_answered_for_still_has_a_document() -> None:
    told = document(Outcome(failures=["all gone"]), duration_ns=0, lateness={})
    assert (told["streams"], told["hosts"], told["fidelity"]) == ([], {}, [])
    assert told["failures"] == ["all gone"]
    assert told["verified"] == {"checked_bytes": 0, "wrong_bytes": 0, "wrong_elements": None,
                                "unchecked": 0, "first_wrong": None}
    assert told["verdict"]["word"] == "invalid"
