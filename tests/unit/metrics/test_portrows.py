"""testbed/metrics/portrows.py: what ports did between two looks."""

from __future__ import annotations

from testbed.metrics.portrows import PortRows, places
from testbed.metrics.ports import PortCounters, Tally
from testbed.metrics.rows import row_of
from topologies.graph import build_graph
from topologies.spec import ClosSpec

GRAPH = build_graph(ClosSpec("pair", 2, 2, 2, 2, 100 * 10**9, 1000))
PLACES = places(GRAPH.switches)
SLOT, IDLE = sorted(PLACES)[:2]


def counters(frames: int, **more: Tally) -> PortCounters:
    tally = Tally(frames, 100 * frames)
    return PortCounters(offered=tally, passed_data=tally, data_queue_bytes=300,
                        control_queue_bytes=7, **more)


def begun() -> PortRows:
    return PortRows(PLACES, dict.fromkeys(PLACES, counters(5)))


def test_every_switch_port_has_a_place() -> None:
    assert PLACES.keys() == {port.slot for switch in GRAPH.switches for port in switch.ports}
    place = PLACES[SLOT]
    switch = next(switch for switch in GRAPH.switches if switch.name == place.switch)
    assert (place.plane, place.tier) == (switch.plane, switch.tier)
    assert GRAPH.port(SLOT).interface == place.interface


def test_what_was_counted_before_is_not_told_and_idle_ports_neither() -> None:
    rows = begun()
    (values,) = rows.look(1_000, {SLOT: counters(8, marked=Tally(2, 200)), IDLE: counters(5)})
    row = row_of("ports", values)
    assert (row["t_ns"], row["interval_ns"], row["switch"]) == (1_000, 1_000, PLACES[SLOT].switch)
    assert (row["tx_frames"], row["tx_bytes"], row["marked"]) == (3, 300, 2)
    assert row["queue_bytes"] == 307


def test_intervals_follow_each_other() -> None:
    rows = begun()
    list(rows.look(1_000, {SLOT: counters(8)}))
    (values,) = rows.look(2_500, {SLOT: counters(9)})
    row = row_of("ports", values)
    assert (row["interval_ns"], row["tx_frames"]) == (1_500, 1)


def test_a_frame_that_was_dropped_is_told_by_its_cause() -> None:
    dropped = Tally(4, 400)
    found = PortCounters(offered=Tally(9, 900), passed_data=Tally(5, 500), dropped_ev=dropped)
    (values,) = begun().look(1_000, {SLOT: found})
    row = row_of("ports", values)
    assert (row["tx_frames"], row["dropped_ev"], row["dropped_loss"]) == (0, 4, 0)


def test_depths_may_come_from_elsewhere() -> None:
    (values,) = begun().look(1_000, {SLOT: counters(8)}, {SLOT: 12_345})
    assert row_of("ports", values)["queue_bytes"] == 12_345
