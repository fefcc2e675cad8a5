"""The capacity that faults leave."""

from __future__ import annotations

import pytest
from unit.analysis.figures.drawing import drawn, line
from unit.analysis.made import heal, inject, made_run, steady

from testbed.analysis.figures.capacity import capacity_left

SHARE = 4096 / 4238  # payload of a frame
FLOWS = steady(300e9, 0, 100_000, 2000)


def _ports(run):  # type: ignore[no-untyped-def]
    """Levels as (us, ports of 100 Gb/s)."""
    return [(level.t_ns // 1000, round(level.goodput_bps / 1e11 / SHARE, 6))
            for level in capacity_left(run)]


def test_a_nic_link_takes_a_plane() -> None:
    fault = "nic:h0:p2#down"
    run = made_run(flows=FLOWS, events=[inject(20_000, "a", fault), heal(60_000, "b", fault)])
    assert _ports(run) == [(0, 4), (20, 3), (60, 4)]


def test_one_sender_has_uplinks_to_spare() -> None:
    faults = [f"link:p0-t0-0:p0-t1-{n}#down" for n in range(4)]
    run = made_run(flows=FLOWS, events=[inject(10_000 * n, f"s{n}", fault)
                                        for n, fault in enumerate(faults, 1)])
    assert [ports for _, ports in _ports(run)] == [4, 4, 4, 4, 3]


def test_senders_of_one_t0_share_what_uplinks_are_left() -> None:
    flows = [row for n in range(4) for row in
             steady(50e9, 0, 100_000, 2000, host=f"h{n}", peer=f"h{n + 4}")]
    run = made_run(flows=flows, events=[inject(10_000, "a", "link:p0-t0-0:p0-t1-1#down"),
                                        inject(20_000, "b", "switch:p0-t1-2#blackhole")])
    assert [ports for _, ports in _ports(run)] == [16, 15, 14]


def test_loss_takes_no_port_away() -> None:
    run = made_run(flows=FLOWS, events=[inject(10_000, "a", "ev:h0:h4:0x0000#loss")])
    assert [ports for _, ports in _ports(run)] == [4, 4]


def test_goodput_stands_under_it() -> None:
    _, (axes,) = drawn("capacity", made_run(flows=FLOWS))
    capacity = [y for _, y in line(axes, "capacity left,\nas payload")]
    assert capacity == pytest.approx([400 * SHARE] * len(capacity))
    assert {y for _, y in line(axes, "goodput,\nall together")} == {300}
