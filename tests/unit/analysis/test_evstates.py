"""EV states as intervals."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from unit.analysis.made import ev_change, ev_sample, flow, made_run

EV, OTHER = 0x0002_0000, 0x0103_0000


def spans(run: Any, ev: int = EV, **more: Any) -> list[tuple[Any, ...]]:
    table = run.ev_timeline(**more)
    rows = table[table["ev"] == ev]
    return list(rows[["state", "is_active", "start_ns", "end_ns"]].itertuples(
        index=False, name=None))


def test_states_follow_each_other_from_the_beginning_to_the_end() -> None:
    run = made_run(flows=[flow(100_000)],
                   evs=[ev_change(40_000, EV, "good", "assumed_bad"),
                        ev_change(70_000, EV, "assumed_bad", "good", "probes_answered")])
    assert spans(run) == [("good", True, 0, 40_000), ("assumed_bad", True, 40_000, 70_000),
                          ("good", True, 70_000, 100_000)]
    row = run.ev_timeline().iloc[0]
    assert (row["plane"], row["t1"]) == (0, 2)


def test_an_ev_that_never_changed_was_good_all_the_time() -> None:
    run = made_run(flows=[flow(50_000), flow(50_000, qp=2)],
                   ev_samples=[ev_sample(50_000, OTHER, 9)])
    assert spans(run, OTHER) == [("good", True, 0, 50_000)] * 2  # of each queue pair


def test_a_spare_that_is_swapped_in_was_a_spare_before() -> None:
    run = made_run(flows=[flow(100_000)], evs=[
        ev_change(10_000, EV, "good", "assumed_bad"),
        ev_change(10_000, OTHER, "good", "good", "swapped_in"),
        ev_change(10_000, EV, "assumed_bad", "assumed_bad", "swapped_out", is_active=False)])
    assert spans(run, OTHER) == [("good", False, 0, 10_000), ("good", True, 10_000, 100_000)]
    assert spans(run) == [("good", True, 0, 10_000), ("assumed_bad", False, 10_000, 100_000)]


def test_a_queue_pair_that_tells_nothing_has_its_spares_where_the_others_have() -> None:
    run = made_run(flows=[flow(100_000), flow(100_000, qp=2)],
                   ev_samples=[ev_sample(100_000, OTHER, 3)],
                   evs=[ev_change(10_000, OTHER, "good", "good", "swapped_in")])
    table = run.ev_timeline()
    first = table.drop_duplicates(["qp", "ev"])
    assert list(first["is_active"]) == [False, False]


def test_an_ev_is_absent_until_it_is_added() -> None:
    run = made_run(flows=[flow(9000)], evs=[ev_change(3000, EV, "good", "good", "added")])
    assert spans(run) == [("absent", False, 0, 3000), ("good", True, 3000, 9000)]


def test_changes_after_the_end_are_left_out_and_hosts_selected() -> None:
    run = made_run(flows=[flow(9000), flow(9000, host="h1")], evs=[
        ev_change(9500, EV, "good", "assumed_bad"),
        ev_change(100, EV, "good", "assumed_bad", host="h1")])
    assert spans(run, host="h0") == [("good", True, 0, 9000)]
    assert set(run.ev_timeline(peer="h9")["ev"]) == set()


STATES = ("good", "skip", "assumed_bad", "denied")
CHANGES = st.lists(st.tuples(st.integers(0, 120_000), st.integers(1, 3),
                             st.sampled_from([EV, OTHER]),
                             st.sampled_from(STATES), st.booleans()), max_size=30)


@given(CHANGES)
def test_intervals_tile_the_run(changes: list[tuple[int, int, int, str, bool]]) -> None:
    rows = [ev_change(t_ns, ev, "good", after, qp=qp, is_active=is_active)
            for t_ns, qp, ev, after, is_active in sorted(changes)]
    run = made_run(flows=[flow(90_000)], evs=rows)
    for _, spans_of_ev in run.ev_timeline().groupby(["host", "peer", "qp", "ev"]):
        assert spans_of_ev["start_ns"].iloc[0] == 0
        assert spans_of_ev["end_ns"].iloc[-1] == run.end_ns
        assert (spans_of_ev["end_ns"] > spans_of_ev["start_ns"]).all()
        assert list(spans_of_ev["start_ns"].iloc[1:]) == list(spans_of_ev["end_ns"].iloc[:-1])
