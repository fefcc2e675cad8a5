"""Leaving and coming back, to the ns on a clock moved by hand."""

from __future__ import annotations

import pytest

from testbed.transport.mrc.ev.probing import (
    PROBES_PER_CALL,
    EvidencePolicy,
    OneLossPolicy,
    ProbePlan,
    Probing,
)
from testbed.transport.mrc.ev.rotation import Entry, PathEv

RTT = 1000


def entry_of(ev: int, port: int = 0) -> Entry:
    return Entry(PathEv(ev, port), b"")


def test_unanswered_probes_double_the_interval_up_to_64_rtt() -> None:
    plan = ProbePlan(RTT)
    plan.start(0)
    times = []
    for _ in range(8):
        times.append(plan.due_at_ns // RTT)
        plan.on_sent(plan.due_at_ns)
    assert times == [4, 8, 16, 32, 64, 128, 192, 256]


def test_three_answers_in_a_row_bring_it_back() -> None:
    plan = ProbePlan(RTT)
    plan.start(100)
    verdicts = []
    for due in (4100, 8100, 12100):
        assert plan.due_at_ns == due
        plan.on_sent(due)
        verdicts.append(plan.on_answered(due + RTT))
    assert verdicts == [False, False, True]


def test_an_answer_brings_the_interval_back_to_4_rtt() -> None:
    plan = ProbePlan(RTT)
    plan.start(0)
    for _ in range(3):
        plan.on_sent(plan.due_at_ns)
    assert plan.due_at_ns == 32_000
    plan.on_answered(17_000)  # the probe of 16 000
    assert plan.due_at_ns == 20_000


def test_an_unanswered_probe_breaks_the_row() -> None:
    plan = ProbePlan(RTT)
    plan.start(0)
    for answered in (True, True, False, True, True):
        sent_at = plan.due_at_ns
        plan.on_sent(sent_at)
        if answered:
            assert not plan.on_answered(sent_at + 1)
    plan.on_sent(plan.due_at_ns)
    assert plan.on_answered(plan.due_at_ns - 4 * RTT + 1)


@pytest.mark.parametrize(("age", "counts"), [(4 * RTT - 1, 1), (4 * RTT, 0)])
def test_an_answer_counts_within_4_rtt(age: int, counts: int) -> None:
    plan = ProbePlan(RTT)
    plan.start(0)
    plan.on_sent(4 * RTT)
    plan.on_answered(4 * RTT + age)
    assert plan.streak == counts


def test_one_probe_has_one_answer() -> None:
    plan = ProbePlan(RTT)
    plan.start(0)
    plan.on_answered(1)
    plan.on_sent(4 * RTT)
    plan.on_answered(5 * RTT)
    plan.on_answered(5 * RTT)
    assert plan.streak == 1


def come_back(plan: ProbePlan) -> int:
    """Answer every probe at once until the EV may return; the time it does."""
    while True:
        plan.on_sent(plan.due_at_ns)
        at = plan.due_at_ns - 4 * RTT
        if plan.on_answered(at):
            return at


def test_a_relapse_doubles_what_is_needed_up_to_48() -> None:
    plan = ProbePlan(RTT)
    needed, now = [], 0
    for _ in range(6):
        plan.start(now)
        needed.append(plan.needed)
        now = come_back(plan) + 64 * RTT
    assert needed == [3, 6, 12, 24, 48, 48]
    plan.start(now + 1)
    assert plan.needed == 3


def test_probing_waits_for_its_port() -> None:
    probing = Probing(0b11)
    probing.start(entry_of(1, port=0), RTT, 0)
    probing.start(entry_of(2, port=1), RTT, 500)
    assert probing.next_at_ns == 4000
    probing.set_live_ports(0b10)
    assert probing.next_at_ns == 4500
    assert [entry.ev for entry in probing.due(10_000)] == [2]
    probing.set_live_ports(0b11)
    assert probing.next_at_ns == 4000
    assert [entry.ev for entry in probing.due(10_000)] == [1]
    probing.stop(1)
    probing.stop(2)
    assert probing.next_at_ns is None


def test_a_call_hands_out_a_handful_and_the_rest_stays_due() -> None:
    probing = Probing(1)
    for ev in range(PROBES_PER_CALL + 2):
        probing.start(entry_of(ev), RTT, 0)
    assert probing.due(3999) == []
    assert [e.ev for e in probing.due(4000)] == [0, 1, 2, 3]
    assert probing.next_at_ns == 4000
    assert [e.ev for e in probing.due(4000)] == [4, 5]
    assert probing.next_at_ns == 8000


def test_one_loss_is_enough_for_the_default() -> None:
    assert OneLossPolicy().is_bad(entry_of(1), 0)


def test_evidence_decays_with_acknowledgements() -> None:
    policy, entry = EvidencePolicy(threshold=2.5, decay=0.99), entry_of(1)
    for _ in range(50):  # one loss in 200 packets settles near 1.15
        entry.acked += 200
        assert not policy.is_bad(entry, 0)
    assert [policy.is_bad(entry, 0) for _ in range(3)] == [False, True, True]


@pytest.mark.parametrize(("threshold", "decay"), [(0.5, 0.9), (2.0, 1.0), (2.0, 0.0)])
def test_a_policy_that_weighs_nothing_is_refused(threshold: float, decay: float) -> None:
    with pytest.raises(ValueError, match="take a threshold"):
        EvidencePolicy(threshold, decay)
