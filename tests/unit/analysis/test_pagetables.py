"""Cells of the tables in reports."""

from __future__ import annotations

import pandas as pd
import pytest
from unit.analysis.made import collective, flow, inject, made_run

from testbed.analysis import pagetables
from testbed.analysis.pagetables import Table, figure_text, us


@pytest.mark.parametrize(("value", "unit", "told"), [
    (3.861e11, "bit/s", "386.1 Gb/s"), (16_465.0, "ns", "16.5 us"), (2.5e10, "B/s", "25.00 GB/s"),
    (0.99951, "", "0.9995"), (25943.7, "", "25,944"), (0.0, "bytes", "0 bytes"),
    (4.0, "", "4"), (None, "ns", "-"), (pd.NA, "", "-"), (float("nan"), "", "-"),
    ("quad", "", "quad"), (["h0", "h1"], "", "h0 h1"), (True, "", "True")])
def test_a_figure_in_the_unit_people_read(value: object, unit: str, told: str) -> None:
    assert figure_text(value, unit) == told


def test_missing_times_are_a_dash() -> None:
    assert (us(pd.NA), us(1500)) == ("-", "1.5 us")


def test_columns_of_figures_are_told_from_texts() -> None:
    table = Table(("a", "b", "c", "d"), [
        ("1,234 us\n0.1 rtt", "47 frames were dropped", "-", "184.23 us (19.6 rtt)"),
        ("-", "3", "-", "0")])
    assert [table.is_numeric(n) for n in range(4)] == [True, False, False, True]


def test_a_check_with_nothing_to_measure_says_why() -> None:
    check = {"name": "n", "word": "INCONCLUSIVE", "measured": None, "unit": "ns", "expected": "0",
             "reason": "no fault was met"}
    assert pagetables.checks({"checks": [check]}).rows[0][2] == "no fault was met"


def test_a_long_timeline_is_cut_and_says_so() -> None:
    events = [inject(n, f"s{n}", f"nic:h{n % 8}:p{n // 8 % 4}#down") for n in range(130)]
    table = pagetables.timeline(made_run(events=events))
    assert len(table.rows) == 100
    assert table.note.startswith("30 more")


def test_what_was_there_before_emulated_time_began_has_no_time() -> None:
    events = [inject(-1, "by hand", "nic:h0:p0#down"), inject(9_404, "s", "nic:h1:p0#down")]
    run = made_run(events=events)
    assert [row[:3] for row in pagetables.timeline(run).rows] == [
        ("before", "-", "by hand"), ("9.4", f"{9_404 / run.base_rtt_ns:.1f}", "s")]


def test_collectives_by_size() -> None:
    rows = [collective(0, rank, 0, 80_000) for rank in range(8)]
    run = made_run(workload={"workload": "allreduce", "sizes": ["1MiB"]}, collectives=rows)
    table = pagetables.sizes(run)
    assert table is not None
    assert table.rows[0][:5] == ("1MiB", "1", "80.0 us", "80.0 us", "13.11 GB/s")
    assert pagetables.sizes(made_run()) is None


def test_hosts_of_a_run_that_was_cut_off_come_from_samples() -> None:
    run = made_run(flows=[flow(1000, host="h10", sent_packets=5, resent_packets=1),
                          flow(2000, host="h10", sent_packets=6), flow(1000, host="h9")])
    table = pagetables.hosts(run)
    assert [row[:3] for row in table.rows] == [("h9", "1", "0"), ("h10", "11", "1")]
