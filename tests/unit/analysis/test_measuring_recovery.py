"""Measures of what a step of the timeline did."""

from __future__ import annotations

from unit.analysis.made import WORKLOAD, ev_change, ev_sample, heal, inject, made_run, steady

from testbed.analysis.measures import measure

FIRST, SECOND = "link:p0-t0-0:p0-t1-2#down", "link:p1-t0-0:p1-t1-3#down"
EV, OTHER = 0x0002_0000, 0x0103_0000
RUN = made_run(
    workload={**WORKLOAD, "duration": "400us"}, flows=steady(400e9, 0, 400_000, 10_000),
    ev_samples=[ev_sample(400_000, EV, 9), ev_sample(400_000, OTHER, 9)],
    events=[inject(100_000, "cut", FIRST), inject(100_000, "cut", SECOND),
            heal(200_000, "mend", FIRST), heal(200_000, "mend", SECOND),
            inject(300_000, "again", FIRST)],
    evs=[ev_change(112_000, EV, "good", "assumed_bad"),
         ev_change(117_000, OTHER, "good", "assumed_bad"),
         ev_change(240_000, OTHER, "assumed_bad", "good", "probes_answered")])


def test_a_step_has_the_worst_of_its_faults_and_the_sum_of_its_counts() -> None:
    cut = {"step": "cut"}
    assert measure(RUN, "recovery_first_ev_out", None, cut) == 17_000
    assert measure(RUN, "recovery_ev_out", None, cut) == 17_000
    assert measure(RUN, "recovery_ev_back", None, cut) == 40_000
    assert measure(RUN, "recovery_goodput_back", None, cut) == 0
    assert measure(RUN, "recovery_hit_evs", None, cut) == 2
    assert measure(RUN, "recovery_out_evs", None, cut) == 2
    assert measure(RUN, "recovery_back_evs", None, cut) == 1


def test_what_did_not_happen_has_no_figure() -> None:
    assert measure(RUN, "recovery_ev_out", None, {"step": "again"}) is None
    assert measure(RUN, "recovery_hit_evs", None, {"step": "nothing"}) is None
    assert measure(RUN, "recovery_hit_evs", None, {"step": "again"}) == 0  # the EV is still out


def test_without_a_step_all_faults_count() -> None:
    assert measure(RUN, "recovery_out_evs") == 2
