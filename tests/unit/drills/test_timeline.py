"""Timelines: moments, order, and what contradicts itself."""

from __future__ import annotations

import pytest
from unit.drills.files import ALLREDUCE, TRAIN, WRITES, faults_of, timed

from testbed.faults.script import After, At, When

RTT_NS = 9404
CRASH = "name: crash, fail: switch:p0-t1-1, at: 40rtt"


def test_moments_are_read() -> None:
    drill = timed("name: a, fail: nic:h0:p0, at: start", "name: b, fail: nic:h1:p0, at: 40rtt",
                  "name: c, fail: nic:h2:p0, after: b + 5rtt",
                  "name: d, fail: nic:h3:p0, at: end - 10rtt",
                  "name: e, heal: a, at: c",
                  "name: f, heal: b, after: d + 1rtt")
    moments = {step.name: step.moment for step in drill.script}
    assert moments == {
        "a": At(-1), "b": At(40 * RTT_NS), "c": After("b", 5 * RTT_NS), "d": At(90 * RTT_NS),
        "e": After("c", 0), "f": After("d", RTT_NS)}


@pytest.mark.parametrize(("workload", "when", "moment"), [
    (ALLREDUCE, "all ranks in iteration 7", When("all ranks", "iteration", 7, RTT_NS)),
    (ALLREDUCE, "any rank past 100 %", When("any rank", "share", 100, RTT_NS)),
    (TRAIN, "all ranks in step 2", When("all ranks", "step", 2, RTT_NS)),
    (TRAIN, "all ranks past 0 %", When("all ranks", "share", 0, RTT_NS)),
])
def test_conditions_are_of_what_ranks_count(workload: str, when: str, moment: When) -> None:
    (step,) = timed(f"fail: nic:h0:p0, when: {when}, plus: 1rtt", workload=workload).script
    assert step.moment == moment


@pytest.mark.parametrize(("workload", "when", "complaint"), [
    (ALLREDUCE, "all ranks in iteration 8", "there is no iteration 8: they are 0 to 7"),
    (ALLREDUCE, "all ranks in step 1", "no rank of this workload counts steps: write it like all "
                                       "ranks in iteration 3 or past 40 %"),
    (ALLREDUCE, "any rank past 101 %", "no rank ever is past 101 %"),
    (TRAIN, "all ranks in step 3", "there is no step 3: they are 0 to 2"),
    (WRITES, "all ranks past 10 %", "nobody counts anything in this workload"),
])
def test_conditions_that_never_come_true_are_told(workload: str, when: str,
                                                  complaint: str) -> None:
    told = faults_of(f"fail: nic:h0:p0, when: {when}", workload=workload)
    assert f"test.yaml:9: timeline[0].when: {complaint}" in told


def test_steps_come_in_the_order_of_their_moments() -> None:
    drill = timed("name: late, fail: nic:h0:p0, at: 60rtt", CRASH,
                  "name: mid, fail: nic:h1:p0, after: crash + 5rtt")
    assert [step.name for step in drill.script] == ["crash", "mid", "late"]


def test_healing_an_entry_heals_what_it_left_in_force() -> None:
    drill = timed("name: two, fail: [nic:h0:p0, nic:h1:p0], at: 10rtt",
                  "name: one, fail: nic:h2:p0, at: 15rtt", "heal: [two, one], at: 20rtt")
    assert drill.script[-1].heals == ("nic:h1:p0#down", "nic:h0:p0#down", "nic:h2:p0#down")
    assert [group.name for group in drill.groups] == ["two", "one", "heal"]


def test_one_bite_of_a_series_can_be_enough() -> None:
    series = "flap: nic:h0:p0, at: 1rtt, period: 4rtt, count: 2"
    flap, crash = timed(f"{series}, evidence: any", CRASH).groups
    assert "flap-3" in flap.steps
    assert (flap.enough, crash.enough) == (1, None)
    assert timed(f"{series}, evidence: '>= 2'").groups[0].enough == 2
    assert timed(f"{series}, evidence: each").groups[0].enough is None


@pytest.mark.parametrize("entries", [
    (CRASH, "fail: link:p0-t0-0:p0-t1-1, at: 50rtt"),
    ("fail: link:p0-t0-0:p0-t1-1, at: 30rtt", CRASH),
    ("name: grey, loss: link:p0-t0-0:p0-t1-1, ratio: 1%, at: 30rtt", CRASH),
    (CRASH, "loss: plane:0, ratio: 1%, at: 50rtt"),
    ("name: a, loss: link:p0-t0-0:p0-t1-1, ratio: 1%, at: 30rtt",
     "corrupt: link:p0-t0-0:p0-t1-1, ratio: 1%, at: 40rtt"),
    ("blackhole: switch:p0-t1-1, at: 10rtt", "reboot: switch:p0-t1-1, down: 5rtt, at: 30rtt"),
    ("down: nic:h0:p0, at: 10rtt", "disable: nic:h0:p0, at: 30rtt"),
    ("name: a, loss: 'ev:h0:h2:0x0000', at: 10rtt", "loss: plane:0, ratio: 1%, at: 30rtt"),
])
def test_faults_may_overlap_where_each_does_something(entries: tuple[str, ...]) -> None:
    timed(*entries)


@pytest.mark.parametrize(("entries", "complaint"), [
    (("fail: nic:h0:p0",), "say once when"),
    (("fail: nic:h0:p0, at: 1rtt, after: x",), "say once when"),
    (("at: 1rtt",), "this does nothing: write one of heal, fail"),
    (("fial: nic:h0:p0, at: 1rtt",), "did you mean 'fail'"),
    (("fail: nic:h0:p0, loss: nic:h0:p1, at: 1rtt",), "are two entries"),
    (("fail: nic:h0:p0, at: 1rtt", "fail: nic:h1:p0, at: 2rtt"), "already"),
    (("name: end, fail: nic:h0:p0, at: 1rtt",), "cannot be a name"),
    (("fail: nic:h0:p0, at: 1rtt, plus: 2rtt",), "belongs to a condition"),
    (("fail: nic:h0:p0, after: start",), "this comes after a step"),
    (("fail: nic:h0:p0, after: crahs", CRASH), "there is no step 'crahs'"),
    ((CRASH, "fail: nic:h0:p0, after: crahs"), "did you mean 'crash'"),
    ((CRASH, "fail: nic:h0:p0, after: crash - 1rtt"), "nothing can be done before"),
    (("fail: nic:h0:p0, at: 100rtt",), "when the workload is over"),
    (("fail: nic:h0:p0, at: end + 1rtt",), "when the workload is over"),
    (("fail: nic:h0:p0, at: start - 1rtt",), "is before the start"),
    (("flap: nic:h0:p0, at: 90rtt, period: 10rtt, count: 3",), "when the workload is over"),
    (("heal: crash, at: 1rtt",), "there is no step 'crash'"),
    ((CRASH, "name: a, heal: crash, at: 50rtt", "name: b, heal: crash, at: 60rtt"),
     "is left to heal"),
    ((CRASH, "heal: crash, at: 30rtt"), "is not in force at that moment"),
    ((CRASH, "crash: switch:p0-t1-1, at: 50rtt, name: again"), "where it is already"),
    (("fail: nic:h0:p0, at: 20rtt", "flap: nic:h0:p0, at: 30rtt, period: 4rtt, count: 2"),
     "where it is already"),
    ((CRASH, "flap: link:p0-t0-0:p0-t1-1, at: 50rtt, period: 4rtt, count: 1"),
     "has cut off already"),
    (("crash: switch:p0-t0-0, at: 10rtt",
      "flap: nic:h0:p0, at: 50rtt, period: 4rtt, count: 1"), "has cut off already"),
    # What nothing could show to have bitten.
    ((CRASH, "blackhole: switch:p0-t1-1, at: 50rtt"),
     "test.yaml:10: step 'blackhole' puts switch:p0-t1-1#blackhole in force, where "
     "switch:p0-t1-1#crash leaves it nothing to do"),
    (("blackhole: switch:p0-t1-1, at: 30rtt", CRASH), "leaves it nothing to do"),
    (("pause: host:h0, at: 30rtt", "kill: host:h0, at: 40rtt"), "host:h0#pause leaves it nothing"),
    (("kill: host:h0, at: 30rtt", "pause: host:h0, at: 40rtt"), "host:h0#kill leaves it nothing"),
    ((CRASH, "loss: switch:p0-t1-1, ratio: 1%, at: 50rtt"), "where all is cut off already"),
    ((CRASH, "corrupt: 'port:p0-t1-1:p0-t0-0', ratio: 1%, at: 50rtt"), "all is cut off already"),
    (("down: plane:0, at: 10rtt", "loss: nic:h0:p0, ratio: 1%, at: 30rtt"),
     "test.yaml:10: step 'loss' puts nic:h0:p0#loss in force, where all is cut off already"),
    (("down: plane:0, at: 10rtt", "name: two, down: nic:h0:p0, at: 30rtt"), "all is cut off"),
    (("down: link:p0-t0-0:p0-t1-0, at: 10rtt", "loss: 'ev:h0:h2:0x0000', at: 30rtt"),
     "all is cut off already"),
    (("loss: plane:0, ratio: 1%, at: 10rtt", "name: b, loss: nic:h0:p0, ratio: 9%, at: 30rtt"),
     "where another loss is counted on the same ports"),
    ((CRASH, "at: 50rtt, heal: crash, evidence: some"), "use each"),
    ((f"{CRASH}, evidence: any",), "9: timeline[0].evidence: a fail does nothing where it meets"),
    (("glitch: nic:h0:p0, at: 1rtt, flaps: 2, down: 1rtt, up: 1rtt, evidence: any",),
     "a glitch does nothing where"),
    (("flap: nic:h0:p0, at: 1rtt, period: 4rtt, count: 2, evidence: '>= 3'",),
     "3 faults cannot have bitten where 2 begin"),
])
def test_contradictions_are_told(entries: tuple[str, ...], complaint: str) -> None:
    assert complaint in faults_of(*entries)


def test_every_fault_is_told_at_once_with_its_line() -> None:
    text = faults_of("fail: nic:h9:p0, at: 1rtt", "fail: nic:h0:p0", "fail: nic:h0:p7, at: 2rtt")
    assert "has 3 faults" in text
    assert all(f"test.yaml:{line}: " in text for line in (9, 10, 11))
