"""The anatomy of recovery, worked out by hand."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from unit.analysis.made import (
    WORKLOAD,
    ev_change,
    ev_sample,
    flow,
    heal,
    inject,
    loss,
    made_run,
    probe,
    steady,
)

from testbed.analysis.recovery import MILESTONES, TYPES, percentiles
from testbed.metrics.tables import event_row

RTT = 9404
LINK = "link:p0-t0-0:p0-t1-2#down"  # EV 0x0002 of h0 to h4
EV, OTHER = 0x0002_0000, 0x0103_0000
NIC = "nic:h4:p1#down"
LONG = {**WORKLOAD, "duration": "400us"}
FULL, LEFT = 400e9, 300e9


def rates(*pieces: tuple[float, int, int]) -> list[dict[str, Any]]:
    """Steady rates: (bit/s, from, to) in samples of 10 us."""
    return [row for rate, start, end in pieces for row in steady(rate, start, end, 10_000)]


def run_of(events: list[dict[str, Any]], flows: list[dict[str, Any]] | None = None,
           **tables: Any) -> Any:
    known = [ev_sample(400_000, EV, 9), ev_sample(400_000, OTHER, 9)]
    return made_run(workload=LONG, events=events, ev_samples=known,
                    flows=flows or rates((FULL, 0, 400_000)), **tables)


def only(run: Any) -> dict[str, Any]:
    (row,) = run.recovery().to_dict("records")
    return {key: None if pd.isna(value) else value for key, value in row.items()}


FAULT = [inject(100_000, "cut", LINK), heal(200_000, "mend", LINK)]


def test_every_milestone_of_a_link_that_went_and_came() -> None:
    row = only(run_of(
        FAULT,
        flows=rates((FULL, 0, 100_000), (100e9, 100_000, 130_000), (LEFT, 130_000, 200_000),
                    (LEFT, 200_000, 220_000), (FULL, 220_000, 400_000)),
        losses=[loss(114_000, 99_000, EV), loss(131_000, 117_000, EV, "timer"),
                loss(118_000, 105_000, OTHER)],
        evs=[ev_change(114_000, EV, "good", "assumed_bad"),
             ev_change(240_000, EV, "assumed_bad", "good", "probes_answered")],
        probes=[probe(90_000, EV), probe(215_000, EV), probe(212_000, OTHER),
                probe(230_000, EV)]))
    assert (row["name"], row["target"], row["evidence"]) == ("cut", LINK, "evidence")
    assert (row["t_inject_ns"], row["t_heal_ns"]) == (100_000, 200_000)
    assert (row["hit_evs"], row["out_evs"], row["back_evs"]) == (1, 1, 1)
    assert {name: row[f"{name}_ns"] for name in MILESTONES} == {
        "first_lost": -1000, "first_evidence": 14_000, "first_out": 14_000, "last_out": 14_000,
        "last_on_path": 17_000, "goodput_back": 30_000, "first_probe": 15_000,
        "first_back": 40_000, "last_back": 40_000, "goodput_restored": 20_000}
    assert row["level_bps"] == pytest.approx(LEFT)
    assert row["lost_bytes"] == pytest.approx((LEFT - 100e9) * 30_000 / 8e9)
    assert row["last_back_rtt"] == pytest.approx(40_000 / RTT)


def test_nothing_happened_is_missing_and_not_zero() -> None:
    row = only(run_of(FAULT))
    assert row["hit_evs"] == 1
    assert row["out_evs"] == 0
    assert [name for name in MILESTONES if row[f"{name}_ns"] is not None] == [
        "goodput_back", "goodput_restored"]
    assert (row["goodput_back_ns"], row["goodput_restored_ns"], row["lost_bytes"]) == (0, 0, 0)
    assert row["evidence"] is None


def test_what_is_left_is_never_more_than_there_was() -> None:
    row = only(run_of(FAULT, flows=rates((LEFT, 0, 100_000), (FULL, 100_000, 400_000))))
    assert row["level_before_bps"] == row["level_bps"] == pytest.approx(LEFT)


@pytest.mark.parametrize("lost", [
    loss(114_000, 100_000 - RTT - 1, EV),  # sent too early to be hit
    loss(214_000, 200_000, EV),  # sent after the heal
    loss(99_000, 95_000, EV),  # found before the inject
    loss(114_000, 101_000, EV, "nack"),  # a trimmed packet has passed
    loss(114_000, 101_000, OTHER),  # on another path
    loss(114_000, 101_000, EV, host="h1"),  # of a pair that sends nothing
])
def test_a_loss_that_the_fault_did_not_make_is_not_its(lost: dict[str, Any]) -> None:
    row = only(run_of(FAULT, losses=[lost]))
    assert row["first_lost_ns"] is None
    assert row["first_evidence_ns"] is None


def test_an_ev_that_was_out_already_is_not_hit() -> None:
    row = only(run_of(FAULT, evs=[ev_change(50_000, EV, "good", "assumed_bad")]))
    assert (row["hit_evs"], row["out_evs"], row["first_out_ns"]) == (0, 0, None)


def test_every_queue_pair_counts_by_itself() -> None:
    changes = [ev_change(110_000 + 1000 * qp, EV, "good", "assumed_bad", qp=qp)
               for qp in (1, 2, 3)]
    flows = [*rates((FULL, 0, 400_000)), flow(400_000, 10_000, qp=2), flow(400_000, 10_000, qp=3)]
    row = only(run_of(FAULT, flows, evs=changes))
    assert (row["hit_evs"], row["out_evs"]) == (3, 3)
    assert (row["first_out_ns"], row["last_out_ns"]) == (11_000, 13_000)


def test_a_nic_port_is_known_by_carrier_or_port_status() -> None:
    def told(t_ns: int, mask: int) -> dict[str, Any]:
        return event_row(t_ns, "ports", host="h0", what="peer", target="h4", detail=f"{mask:#x}")

    row = only(run_of([inject(100_000, "pull", NIC), heal(200_000, "plug", NIC),
                       told(104_000, 0b1101), told(206_000, 0b1111)],
                      losses=[loss(109_000, 101_000, OTHER)]))
    assert (row["first_evidence_ns"], row["evidence"]) == (4000, "port status")
    assert (row["first_out_ns"], row["out_evs"]) == (4000, 1)
    assert (row["first_back_ns"], row["last_back_ns"]) == (6000, 6000)
    assert row["first_lost_ns"] == 1000


def test_what_a_controller_denied_is_known_from_it() -> None:
    name = "ev:h0:h4:0x0002#deny"
    row = only(run_of([inject(100_000, "deny", name)],
                      evs=[ev_change(100_000, EV, "good", "denied", "denied_by_controller")]))
    assert (row["hit_evs"], row["evidence"], row["last_out_ns"]) == (1, "controller", 0)
    assert row["t_heal_ns"] is None


def test_the_end_of_the_run_heals_nothing() -> None:
    row = only(run_of([inject(100_000, "cut", LINK), heal(390_000, "end", LINK)],
                      probes=[probe(395_000, EV)]))
    assert row["t_heal_ns"] is None
    assert row["first_probe_ns"] is None


def test_a_flap_has_a_row_each_and_its_own_changes() -> None:
    events = [inject(100_000, "one", LINK), heal(120_000, "up", LINK),
              inject(200_000, "two", LINK), heal(220_000, "up again", LINK)]
    frame = run_of(events, evs=[
        ev_change(115_000, EV, "good", "assumed_bad"),
        ev_change(150_000, EV, "assumed_bad", "good", "probes_answered"),
        ev_change(225_000, EV, "good", "assumed_bad"),  # noticed after the heal
        ev_change(300_000, EV, "assumed_bad", "good", "probes_answered")]).recovery()
    assert list(frame["name"]) == ["one", "two"]
    assert list(frame["last_out_ns"]) == [15_000, 25_000]
    assert list(frame["last_back_ns"]) == [30_000, 80_000]


def test_what_goes_out_long_after_the_heal_or_at_the_next_flap_is_not_of_this_one() -> None:
    again = [inject(250_000, "two", LINK), heal(260_000, "up again", LINK)]
    frame = run_of([*FAULT, *again],
                   evs=[ev_change(255_000, EV, "good", "assumed_bad")]).recovery()
    assert list(frame["out_evs"]) == [0, 1]
    late = [ev_change(200_000 + 17 * RTT, EV, "good", "assumed_bad")]
    assert only(run_of(FAULT, evs=late))["out_evs"] == 0


def test_faults_on_one_path_share_its_losses() -> None:
    events = [inject(100_000, "cut", LINK), inject(110_000, "crash", "switch:p0-t1-2#crash")]
    frame = run_of(events, losses=[loss(120_000, 111_000, EV)],
                   evs=[ev_change(120_000, EV, "good", "assumed_bad")]).recovery()
    assert list(frame["first_lost_ns"]) == [11_000, 1000]
    assert list(frame["out_evs"]) == [1, 1]


def test_a_series_too_quick_to_settle_is_measured_against_before_it() -> None:
    events = [inject(100_000, "one", LINK), heal(110_000, "a", LINK),
              inject(120_000, "two", LINK), heal(130_000, "b", LINK)]
    frame = run_of(events, flows=rates((FULL, 0, 100_000), (LEFT, 100_000, 150_000),
                                       (FULL, 150_000, 400_000))).recovery()
    assert list(frame["level_before_bps"]) == pytest.approx([FULL, FULL])
    assert frame["level_bps"].isna().all()
    assert frame["goodput_restored_ns"].iloc[1] == 20_000


def test_a_run_without_faults_or_rows_has_an_empty_table() -> None:
    frame = made_run().recovery()
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == TYPES
    assert len(frame) == 0


def test_percentiles_over_repeats() -> None:
    frames = [run_of(FAULT, evs=[ev_change(100_000 + t_ns, EV, "good", "assumed_bad")]).recovery()
              for t_ns in (1000, 2000, 3000, 4000)]
    frames.append(run_of(FAULT).recovery())  # here it never went out
    table = percentiles(frames).set_index("milestone")
    assert len(table) == len(MILESTONES)
    row = table.loc["last_out"]
    assert (row["name"], row["target"], row["repeats"]) == ("cut", LINK, 4)
    assert (row["p50_ns"], row["p95_ns"], row["max_ns"]) == (2000, 4000, 4000)
    assert row["p50_rtt"] == pytest.approx(2000 / RTT)
    assert table.loc["first_probe", "repeats"] == 0
    assert pd.isna(table.loc["first_probe", "p50_ns"])


def test_percentiles_of_nothing_are_none() -> None:
    assert len(percentiles([])) == len(percentiles([made_run().recovery()])) == 0
