"""The rules of the verdict, one by one, on runs made by hand."""

from __future__ import annotations

from typing import Any

import pytest
from unit.analysis.made import SIMULATED, heal, inject, made_run, steady
from unit.drills.files import CHECKS, TIMELINE, drill_of

from testbed.analysis import Run
from testbed.drills import Drill, judge
from testbed.faults.chronicle import BY_HAND, NO_EVIDENCE
from testbed.metrics.tables import event_row

RTT_NS = 9404
CRASH = "switch:p0-t1-1#crash"
WORKLOAD = {"workload": "write-bw", "src": "h0", "dst": "h2", "qps": 1, "duration": "940400ns"}
VERIFIED = {"verified": {"checked_bytes": 10, "wrong_bytes": 0}}
DONE = (inject(40 * RTT_NS, "crash", CRASH), heal(80 * RTT_NS, "back", CRASH))


def run_of(before: float = 190e9, broken: float = 190e9, events: Any = DONE,
           manifest: Any = None, result: Any = VERIFIED) -> Run:
    """Goodput at one rate until the crash, and at another from there on."""
    flows = [*steady(before, 0, 40 * RTT_NS, RTT_NS, peer="h2"),
             *steady(broken, 40 * RTT_NS, 100 * RTT_NS, RTT_NS, peer="h2")]
    return made_run("tiny", WORKLOAD, manifest, result, flows=flows, events=list(events))


DRILL = drill_of()


def flapping(evidence: str) -> Drill:
    """Two links flap once together."""
    return drill_of(timeline=f"""\
timeline:
  - {{name: crash, at: 40rtt, flap: [link:p0-t0-0:p0-t1-1, link:p1-t0-0:p1-t1-0], period: 60rtt,
     duty: 50%, count: 1, evidence: "{evidence}"}}
""", windows="windows: {before: 10rtt .. crash, broken: crash + 10rtt .. crash-end}\n")


def flapped(bitten: int) -> tuple[Any, ...]:
    """What is left of it where so many of the two were seen to bite."""
    links = ("link:p0-t0-0:p0-t1-1#down", "link:p1-t0-0:p1-t1-0#down")
    return (*(inject(40 * RTT_NS, "crash", link, detail="" if place < bitten else NO_EVIDENCE)
              for place, link in enumerate(links)),
            *(heal(70 * RTT_NS, "crash-end", link) for link in links))


UNPROVEN = (inject(40 * RTT_NS, "crash", CRASH, detail=NO_EVIDENCE), DONE[1])
NOT_DONE = (DONE[0], heal(99 * RTT_NS, "end", CRASH),
            event_row(1, "warning", name="back", what="not done", detail="'back' was not done"))
UNHEALED = (DONE[0], heal(80 * RTT_NS, "back", "other#down"))
MEDDLED = (*DONE, inject(50 * RTT_NS, BY_HAND, "nic:h0:p1#down"),
           heal(60 * RTT_NS, BY_HAND, "nic:h0:p1#down"))
INVALID = {"verdict": {"word": "invalid", "reasons": ["too late"]}}
DEGRADED = {"verdict": {"word": "degraded", "reasons": ["a little late"]}}
WRONG = {"verified": {"checked_bytes": 10, "wrong_bytes": 3}}
WRONG_BEFORE = {"verified": {"checked_bytes": 10, "wrong_bytes": 0}, "sizes": [{"wrong": 1}]}
UNCOMPARED = {"verified": {"checked_bytes": 0, "wrong_bytes": 0}}


@pytest.mark.parametrize(("drill", "run", "word", "reason"), [
    (DRILL, run_of(), "PASS", None),
    (DRILL, run_of(manifest=DEGRADED), "PASS", None),
    (DRILL, run_of(broken=150e9), "FAIL", "measured 150.0 Gb/s, expected 100 % +- 5 % of before"),
    (DRILL, run_of(result=WRONG), "FAIL", "arrived as written: measured 3, expected 0"),
    (DRILL, run_of(result=WRONG_BEFORE), "FAIL", "arrived as written: measured 1, expected 0"),
    (DRILL, run_of(result={}), "INCONCLUSIVE", "nothing was compared"),
    (DRILL, run_of(result=UNCOMPARED), "INCONCLUSIVE", "nothing was compared"),
    # The figures cannot be believed, whatever the checks say.
    (DRILL, run_of(manifest=INVALID), "INCONCLUSIVE", "too late"),
    (DRILL, run_of(broken=150e9, manifest=INVALID), "INCONCLUSIVE", "too late"),
    (DRILL, run_of(manifest={"state": "partial"}), "INCONCLUSIVE", "cut off"),
    (DRILL, run_of(events=MEDDLED), "INCONCLUSIVE", "somebody put nic:h0:p1#down in force"),
    (DRILL, run_of(before=100e9, broken=50e9), "INCONCLUSIVE", "the steady state did not hold"),
    (DRILL, run_of(events=UNPROVEN), "INCONCLUSIVE", "nothing shows that 'crash' bit"),
    (DRILL, run_of(broken=150e9, events=UNPROVEN), "INCONCLUSIVE", "did anything pass there"),
    (DRILL, run_of(events=NOT_DONE), "INCONCLUSIVE", "'back' was not done"),
    (DRILL, run_of(events=()), "INCONCLUSIVE", "step 'crash' was not done"),
    # Of a series as many as were asked for.
    (flapping("any"), run_of(events=flapped(0)), "INCONCLUSIVE", "nothing shows that 'crash' bit"),
    (flapping("any"), run_of(events=flapped(1)), "PASS", None),
    (flapping(">= 2"), run_of(events=flapped(1)), "INCONCLUSIVE", "nothing shows that 'crash'"),
    (flapping(">= 2"), run_of(events=flapped(2)), "PASS", None),
    (flapping("each"), run_of(events=flapped(1)), "INCONCLUSIVE", "nothing shows that 'crash'"),
    # What was measured stands; that something is still broken must not be overlooked.
    (DRILL, run_of(events=UNHEALED), "INCONCLUSIVE", "was not healed"),
    (DRILL, run_of(broken=150e9, events=UNHEALED), "FAIL", "measured 150.0 Gb/s"),
])
def test_the_word(drill: Drill, run: Run, word: str, reason: str | None) -> None:
    found = judge(drill, run)
    assert found.word == word, found.reasons
    assert bool(found.reasons) == (reason is not None)
    assert reason is None or reason in "; ".join(found.reasons)
    assert found.healed == (run.events is not None and "was not healed" not in str(found.reasons))


def test_a_check_that_had_nothing_to_measure_decides_nothing() -> None:
    more = '  - {name: lat, measure: latency, host: h1, peer: h2, expect: "<= 5us"}\n'
    found = judge(drill_of(checks=CHECKS + more), run_of())
    assert found.word == "INCONCLUSIVE"
    assert "there was no latency of host h1, peer h2 in window 'run'" in found.reasons[0]
    # But a check that fails beside it stands.
    assert judge(drill_of(checks=CHECKS + more), run_of(broken=50e9)).word == "FAIL"


def test_a_share_of_nothing_decides_nothing() -> None:
    less = ('  - {name: less, measure: lost_packets, in: broken, expect: "<= 2 %", of: before}\n'
            '  - {name: more, measure: lost_packets, in: broken, expect: ">= 97 %", of: before}\n')
    found = judge(drill_of(checks=CHECKS + less), run_of())
    assert found.word == "INCONCLUSIVE"
    assert found.reasons == ("less: there is nothing to compare it with, before is 0",
                             "more: there is nothing to compare it with, before is 0")


def test_a_doubt_hides_nothing_else() -> None:
    more = '  - {name: lat, measure: latency, host: h1, peer: h2, expect: "<= 5us"}\n'
    found = judge(drill_of(checks=CHECKS + more),
                  run_of(broken=150e9, events=UNHEALED, manifest=INVALID))
    assert found.word == "INCONCLUSIVE"
    told = ("too late", "measured 150.0", "there was no latency", "was not healed")
    assert all(words in reason for words, reason in zip(told, found.reasons, strict=True))


def test_warnings_change_no_word() -> None:
    drill = drill_of()
    found = judge(drill, run_of(manifest=DEGRADED, result={**VERIFIED, "failures": ["a sentence"]}))
    assert found.word == "PASS"
    assert any("a little late" in warning for warning in found.warnings)
    assert any("packets were sent, the drill says at most 1,000" in w for w in found.warnings)
    assert "a sentence" in found.warnings
    series = judge(flapping("any"), run_of(events=flapped(1)))
    assert any("met no traffic" in warning for warning in series.warnings)


def test_the_document_says_everything() -> None:
    document = judge(DRILL, run_of(broken=150e9)).to_document()
    assert document["word"] == "FAIL"
    assert document["schema_version"] == 1
    assert document["windows"][1] == {"name": "before", "start_ns": 10 * RTT_NS,
                                      "end_ns": 40 * RTT_NS}
    kept = document["checks"][1]
    assert (kept["word"], kept["measured"]) == ("FAIL", pytest.approx(150e9, rel=1e-3))
    assert kept["expected"] == "100 % +- 5 % of before (190.0 Gb/s)"
    assert kept["reference"] == "before: 190.0 Gb/s"
    assert (kept["paper"], kept["look"]) == ("kept", "goodput")
    assert document["again"] == "sudo python -m testbed drill run test"
    assert document["healed"]
    assert document["takes_s"] == 10


def test_a_simulation_needs_no_verdict_of_the_machine() -> None:
    found = judge(DRILL, run_of(manifest=SIMULATED))
    assert found.word == "PASS"
    assert found.is_simulated
    assert found.takes_s == 1
    assert found.again == "python -m testbed drill run test --sim"


LOST_RANK = "rank 1 (h1) was lost: it fell silent"
UNACCOUNTED = "3 frames are unaccounted for: this is a fault of the simulator, please report it"
PAUSED = (inject(40 * RTT_NS, "crash", "host:h1#pause"), heal(80 * RTT_NS, "back", "host:h1#pause"))
FAILED_QP = event_row(99 * RTT_NS, "qp", host="h0")
GIVEN_UP = CHECKS + '  - {measure: qp_failures, expect: "0"}\n'


@pytest.mark.parametrize(("drill", "events", "failure", "word"), [
    (DRILL, DONE, UNACCOUNTED, "INCONCLUSIVE"),
    (DRILL, DONE, LOST_RANK, "INCONCLUSIVE"),
    # A lost rank is no accident where the script stops a host or a queue pair gave up.
    (drill_of(timeline=TIMELINE.replace("switch:p0-t1-1", "host:h1")), PAUSED, LOST_RANK, "PASS"),
    (drill_of(timeline=TIMELINE.replace("switch:p0-t1-1", "host:h1")), PAUSED, UNACCOUNTED,
     "INCONCLUSIVE"),
    (drill_of(checks=GIVEN_UP), (*DONE, FAILED_QP), LOST_RANK, "FAIL"),
])
def test_what_failed_in_a_simulation_is_a_doubt(drill: Drill, events: Any, failure: str,
                                                word: str) -> None:
    run = run_of(events=events, manifest=SIMULATED, result={**VERIFIED, "failures": [failure]})
    found = judge(drill, run)
    assert found.word == word, found.reasons
    assert failure in (found.reasons if word == "INCONCLUSIVE" else found.warnings)


def test_windows_are_where_things_were_done() -> None:
    late = (inject(50 * RTT_NS, "crash", CRASH), heal(90 * RTT_NS, "back", CRASH))
    windows = {window.name: window for window in judge(DRILL, run_of(events=late)).windows}
    assert windows["broken"].start_ns == 60 * RTT_NS
    assert windows["broken"].end_ns == 90 * RTT_NS
