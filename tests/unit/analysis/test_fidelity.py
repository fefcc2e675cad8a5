"""The verdict on a run: every limit from both sides, and what a user is told."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from testbed.analysis.fidelity import WORDS, Evidence, Verdict, describe, judge
from testbed.metrics.lateness import Lateness

RTT_NS = 10_000


def late(*values: int) -> Lateness:
    found = Lateness()
    for value in values:
        found.record(value)
    return found


GOOD = Evidence(
    base_rtt_ns=RTT_NS, duration_ns=1_000_000, lateness={"h0": late(0, 90), "h7": late(5)},
    lost_ns={"h0-eth0": 0, "h0-eth1": 9_000}, drain_error={"p0-t0-0-e1": 0.004},
    idle_cores=0.8, cores=2,
)


def test_a_machine_that_kept_up_is_trusted_without_reasons() -> None:
    assert judge(GOOD) == Verdict("trusted", ())


@pytest.mark.parametrize(("change", "word"), [
    ({"lateness": {"h0": late(198, 198, 1000)}}, "trusted"),
    ({"lateness": {"h0": late(198, 202, 202)}}, "degraded"),
    ({"lateness": {"h0": late(590, 590, 601)}}, "degraded"),
    ({"lateness": {"h0": late(590, 608, 608)}}, "invalid"),
    ({"lateness": {"h0": late(0, 0, 1000)}}, "trusted"),
    ({"lateness": {"h0": late(0, 0, 1001)}}, "degraded"),
    ({"lateness": {"h0": late(0, 0, 3000)}}, "degraded"),
    ({"lateness": {"h0": late(0, 0, 3001)}}, "invalid"),
    ({"lateness": {"h0": late(*[0] * 999, 10_000)}}, "trusted"),
    ({"lateness": {"h0": late(*[0] * 999, 10_001)}}, "degraded"),
    ({"lateness": {"h0": late(*[0] * 999, 30_000)}}, "degraded"),
    ({"lateness": {"h0": late(*[0] * 999, 30_001)}}, "invalid"),
    ({"switch_lateness": {"p0-t0-0": late(*[0] * 8, 980, 90_000)}}, "trusted"),
    ({"switch_lateness": {"p0-t0-0": late(*[0] * 8, 1001, 1001)}}, "degraded"),
    ({"switch_lateness": {"p0-t0-0": late(3000)}}, "degraded"),
    ({"switch_lateness": {"p0-t0-0": late(3001)}}, "invalid"),
    ({"lost_ns": {"h0-eth0": 10_000}}, "trusted"),
    ({"lost_ns": {"h0-eth0": 10_001}}, "degraded"),
    ({"lost_ns": {"h0-eth0": 30_000}}, "degraded"),
    ({"lost_ns": {"h0-eth0": 30_001}}, "invalid"),
    ({"drain_error": {"p0-t0-0-e1": 0.01}}, "trusted"),
    ({"drain_error": {"p0-t0-0-e1": 0.0101}}, "degraded"),
    ({"drain_error": {"p0-t0-0-e1": 0.03}}, "degraded"),
    ({"drain_error": {"p0-t0-0-e1": 0.0301}}, "invalid"),
    ({"drain_error": {"p0-t0-0-e1": -0.2}}, "trusted"),
    ({"drain_error": {"p0-t0-0-e1": float("nan")}}, "invalid"),
    ({"idle_cores": 0.1}, "trusted"),
    ({"idle_cores": 0.099}, "degraded"),
    ({"idle_cores": 0.034}, "degraded"),
    ({"idle_cores": 0.033}, "invalid"),
    ({"idle_cores": float("nan")}, "invalid"),
    ({"unexplained": {"p0-t0-0: forwarding": 0}}, "trusted"),
    ({"unexplained": {"p0-t0-0: forwarding": 1}}, "invalid"),
    ({"unexplained": {"p0-t0-0: forwarding": -1}}, "invalid"),
    ({"kernel_drops": {"h0-eth0": 0}}, "trusted"),
    ({"kernel_drops": {"h0-eth0": 1}}, "invalid"),
    ({"late_events_ns": {"fail link": 5000}}, "trusted"),
    ({"late_events_ns": {"fail link": 5001}}, "invalid"),
    ({"transit_drift_ns": {"2 links": -200.0, "4 links": 200.0}}, "trusted"),
    ({"transit_drift_ns": {"2 links": -201.0}}, "degraded"),
    ({"transit_drift_ns": {"4 links": 600.0}}, "degraded"),
    ({"transit_drift_ns": {"4 links": 601.0}}, "invalid"),
    ({"failures": ("the agent of h3 died: bring the instance up again",)}, "invalid"),
    ({"lateness": {}}, "invalid"),
    ({"lateness": {"h0": late()}}, "invalid"),
    ({"duration_ns": 0}, "invalid"),
])
def test_every_limit_from_both_sides(change: dict[str, Any], word: str) -> None:
    verdict = judge(replace(GOOD, **change))
    assert verdict.word == word
    assert bool(verdict.reasons) == (word != "trusted")


@pytest.mark.parametrize(("change", "reason"), [
    ({"lateness": {"h0": late(5), "h3": late(0, 0, 2000)}},
     "the agent of h3 was 2us late or more one time in a hundred, a trusted run allows 1us "
     "(0.1 base RTT): run again with a larger --tdf"),
    ({"lateness": {"h0": late(5), "h3": late(0, 300, 300)}},
     "the agent of h3 was 300ns late or more every other time, a trusted run allows 200ns "
     "(0.02 base RTT): run again with a larger --tdf"),
    ({"lateness": {"h3": late(*[0] * 999, 31_250)}},
     "the agent of h3 was once 31.25us late, a degraded run allows 30us (3 base RTT): run "
     "again with a larger --tdf"),
    ({"switch_lateness": {"p0-t0-0": late(0), "p1-t0-1": late(4000), "p1-t1-0": late(1500)}},
     "switch p1-t0-1 was 4us late or more with what had reached it, one time in ten (and 1 more "
     "like it), a degraded run allows 3us (0.3 base RTT): run again with a larger --tdf"),
    ({"lost_ns": {"h0-eth1": 20_000, "h0-eth2": 25_000, "h0-eth3": 11_000, "h0-eth4": 0}},
     "NIC port h0-eth2 stood still for 2.5 % of the run with frames to send, because its agent "
     "was late (and 2 more like it), a trusted run allows 1 %: run again with a larger --tdf"),
    ({"drain_error": {"p0-t0-0-e1": 0.05}},
     "switch port p0-t0-0-e1 fell 5 % behind its rate, a degraded run allows 3 %: run again "
     "with a larger --tdf"),
    ({"transit_drift_ns": {"2 links": 20.0, "4 links": -250.0}},
     "how long frames over 4 links take through this machine changed by 250ns in the run, a "
     "trusted run allows 200ns (0.02 base RTT): run again, or with a larger --tdf"),
    ({"idle_cores": 0.05},
     "this machine had only 0.05 of 2 cores idle, a trusted run needs 0.1 of 2 cores: end "
     "other programs or run again with a larger --tdf"),
    ({"unexplained": {"p0-t0-0: forwarding": 3, "p0-t0-1: books": 1}},
     "3 frames unaccounted for at p0-t0-0: forwarding (and 1 more like it), a run allows "
     "0 frames: run again with a larger --tdf"),
    ({"unexplained": {"p0-t0-0: books": -1}},
     "1 frame too many came out at p0-t0-0: books, a run allows 0 frames: run again with a "
     "larger --tdf"),
    ({"kernel_drops": {"h0-eth0": 1200}},
     "the kernel dropped 1,200 frames at h0-eth0 before the agent read them, a run allows "
     "0 frames: run again with a larger --tdf"),
    ({"late_events_ns": {"fail switch:p0-t1-2": 6000}},
     "the action 'fail switch:p0-t1-2' was done 6us late, a run allows 5us (0.5 base RTT): run "
     "again with a larger --tdf"),
])
def test_a_reason_says_what_where_how_much_is_allowed_and_what_to_do(
    change: dict[str, Any], reason: str
) -> None:
    assert judge(replace(GOOD, **change)).reasons == (reason,)


def test_the_worst_reason_comes_first_and_failures_before_all() -> None:
    failure = "the agent of h3 stopped answering: bring the instance up again"
    verdict = judge(replace(GOOD, lateness={"h0": late(0, 0, 2000)}, kernel_drops={"h0-eth0": 1},
                            idle_cores=0.05, failures=(failure,)))
    assert verdict.word == "invalid"
    said = [reason.split()[0:2] for reason in verdict.reasons]
    assert said == [["the", "agent"], ["the", "kernel"], ["the", "agent"], ["this", "machine"]]
    assert verdict.reasons[0] == failure


def test_what_a_hypervisor_took_is_told_beside_reasons_but_is_none() -> None:
    late_now: dict[str, Any] = {"transit_drift_ns": {"4 links": 300.0}}
    assert judge(replace(GOOD, stolen_cores=1.0)) == Verdict("trusted", ())
    assert len(judge(replace(GOOD, stolen_cores=0.019, **late_now)).reasons) == 1
    verdict = judge(replace(GOOD, stolen_cores=0.02, **late_now))
    assert verdict.word == "degraded"
    assert verdict.reasons[1:] == (
        "a hypervisor gave 0.02 of 2 cores to other machines than this one meanwhile: run again "
        "when they rest",)


def test_an_idle_host_that_had_nothing_due_speaks_against_nothing() -> None:
    assert judge(replace(GOOD, lateness={**GOOD.lateness, "h5": late()})).word == "trusted"


def test_the_table_has_the_worst_of_every_quantity() -> None:
    rows = {row["quantity"]: row for row in describe(replace(
        GOOD, lost_ns={"h0-eth0": 20_000, "h0-eth1": 5}, late_events_ns={"fail link": 10},
        transit_drift_ns={"4 links": 7.0}))}
    assert rows["NIC rate error"] == {"quantity": "NIC rate error", "measured": "2 %",
                                      "where": "h0-eth0", "limit": "1 %", "word": "degraded"}
    assert rows["lateness max"] == {"quantity": "lateness max", "measured": "90ns",
                                    "where": "h0", "limit": "10us (1 base RTT)",
                                    "word": "trusted"}
    assert rows["unexplained loss"]["measured"] == "0 frames"
    assert list(rows) == ["unexplained loss", "kernel drops", "late event", "lateness median",
                          "transit drift", "lateness p99", "lateness max", "NIC rate error",
                          "switch port rate error", "idle CPU"]


def test_what_was_never_measured_has_no_row() -> None:
    rows = {row["quantity"] for row in describe(replace(GOOD, drain_error={}))}
    assert not rows & {"switch port rate error", "late event"}
    assert describe(replace(GOOD, duration_ns=0)) == []


@pytest.mark.parametrize("kernel_drops", [0, 4])
def test_table_and_verdict_agree(kernel_drops: int) -> None:
    evidence = replace(GOOD, kernel_drops={"h0-eth0": kernel_drops}, idle_cores=0.05)
    worst = max((row["word"] for row in describe(evidence)), key=lambda word: WORDS.index(word))
    assert judge(evidence).word == worst


def test_evidence_is_written_whole() -> None:
    document = json.loads(json.dumps(replace(GOOD, failures=("x",)).to_document()))
    lateness = {host: Lateness.from_dict(found) for host, found in document["lateness"].items()}
    assert lateness["h0"].max_ns == 90
    rest = {**document, "failures": tuple(document["failures"]), "lateness": GOOD.lateness}
    assert Evidence(**rest) == replace(GOOD, failures=("x",))
