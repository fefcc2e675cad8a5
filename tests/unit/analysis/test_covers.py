"""Faults of a run and the paths they cover."""

from __future__ import annotations

import pytest
from unit.analysis.made import heal, inject, made_run

from testbed.analysis.covers import Cover, Fault, faults_of
from testbed.intent.topology import load_topology

QUAD = load_topology("quad")  # 4 planes, hosts h0..h3 under T0 0, h4..h7 under T0 1, 4 T1
PAIRS = [("h0", "h4"), ("h4", "h0"), ("h0", "h1")]
COVER = Cover(QUAD, PAIRS)
LINK = "link:p1-t0-0:p1-t1-3#down"


def evs(fault_id: str, src: str = "h0", dst: str = "h4") -> set[int]:
    return {ev >> 16 for host, peer, ev in COVER.paths(fault_id) if (host, peer) == (src, dst)}


@pytest.mark.parametrize(("fault_id", "due"), [
    (LINK, {0x0103}),
    ("switch:p2-t1-0#blackhole", {0x0200}),
    ("switch:p3-t0-1#crash", {0x0300, 0x0301, 0x0302, 0x0303}),
    ("nic:h4:p1#down", {0x0100, 0x0101, 0x0102, 0x0103}),
    ("nic:h4:p1#disable", {0x0100, 0x0101, 0x0102, 0x0103}),
    ("plane:0#loss", {0x0000, 0x0001, 0x0002, 0x0003}),
    ("nic:h5:p1#down", set()),
    ("ev:h0:h4:0x0203#deny", {0x0203}),
    ("ev:h0:h5:0x0203#loss", set()),
])
def test_a_fault_covers_the_paths_its_ports_are_on(fault_id: str, due: set[int]) -> None:
    assert evs(fault_id) == due


def test_one_direction_is_one_direction() -> None:
    assert evs("port:p0-t1-2:p0-t0-1#loss") == {0x0002}
    assert evs("port:p0-t1-2:p0-t0-1#loss", "h4", "h0") == set()


def test_a_host_has_all_paths_to_and_from_it() -> None:
    assert len(COVER.paths("host:h4#kill")) == 32
    assert len(COVER.paths("host:h1#pause")) == 4  # T0-local: a path per plane


def test_what_this_topology_does_not_have_covers_nothing() -> None:
    assert COVER.paths("switch:p7-t1-0#crash") == frozenset()
    assert COVER.paths("nonsense") == frozenset()


def test_faults_are_begun_healed_and_begun_again() -> None:
    run = made_run(events=[inject(100, "down", LINK), inject(150, "other", "nic:h4:p1#down"),
                           heal(200, "up", LINK), inject(300, "down again", LINK),
                           heal(900, "end", LINK)])
    assert faults_of(run.actions) == [
        Fault("down", LINK, 100, 200, 300), Fault("other", "nic:h4:p1#down", 150, None, None),
        Fault("down again", LINK, 300, None, None)]  # healed by the end of the run only
