"""Measures of EVs and ports, worked out by hand."""

from __future__ import annotations

import pytest
from unit.analysis.made import ev_change, ev_sample, flow, made_run, port

from testbed.analysis import Window
from testbed.analysis.measures import measure
from testbed.errors import UsageError

EV, OTHER, ELSEWHERE = 0x0002_0000, 0x0003_0000, 0x0102_0000
WHOLE = Window(0, 100_000)


def test_paths_that_went_and_came() -> None:
    changes = [ev_change(10_000, EV, "good", "skip", "marked"),
               ev_change(20_000, EV, "skip", "assumed_bad"),
               ev_change(21_000, EV, "good", "assumed_bad", qp=2),
               ev_change(25_000, OTHER, "good", "denied", "denied_by_controller"),
               ev_change(70_000, EV, "assumed_bad", "good", "probes_answered")]
    run = made_run(flows=[flow(100_000), flow(100_000, qp=2)], evs=changes)
    assert measure(run, "evs_out", WHOLE) == 2  # one path of two queue pairs, and one
    assert measure(run, "evs_out", WHOLE, {"ev": "0x0002"}) == 1
    assert measure(run, "evs_out", Window(50_000, 60_000)) == 0
    assert measure(run, "evs_back", WHOLE) == 1
    assert measure(run, "qp_evs_out", WHOLE) == 3
    assert measure(run, "qp_evs_out", WHOLE, {"qp": "2"}) == 1
    assert measure(run, "qp_evs_back", WHOLE) == 1
    assert measure(run, "ev_active_share", WHOLE, {"ev": "0x0002", "qp": "1"}
                   ) == pytest.approx(0.5)


def test_the_queue_pair_with_fewest_evs() -> None:
    run = made_run(flows=[flow(1000, active_evs=16), flow(2000, active_evs=12),
                          flow(2000, qp=2, active_evs=15), flow(9000, active_evs=16)])
    assert measure(run, "evs_active_end", Window(0, 5000)) == 12
    assert measure(run, "evs_active_end", Window(0, 9000)) == 15


def test_packets_and_shares_of_evs() -> None:
    run = made_run(ev_samples=[
        ev_sample(5000, EV, 30, marked=4, lost=2), ev_sample(5000, OTHER, 10, trimmed=1),
        ev_sample(5000, ELSEWHERE, 60), ev_sample(10_000, EV, 10)])
    early = Window(0, 5000)
    assert measure(run, "ev_sent_packets", early, {"plane": "0"}) == 40
    assert measure(run, "ev_sent_packets", Window(0, 10_000), {"ev": "0x0002"}) == 40
    assert measure(run, "ev_share", early, {"ev": "0x0002"}) == pytest.approx(0.75)
    assert measure(run, "plane_share", early, {"plane": "1"}) == pytest.approx(0.6)
    assert measure(run, "t1_share", early, {"t1": "2"}) == pytest.approx(0.9)
    assert measure(run, "t1_share", early, {"t1": "2", "plane": "0"}) == pytest.approx(0.75)
    with pytest.raises(UsageError, match="needs a T1"):
        measure(run, "t1_share", early)
    assert [measure(run, name, early) for name in ("marked", "trimmed", "ev_lost")] == [4, 1, 2]


def test_half_a_sample_in_the_window_counts_half() -> None:
    run = made_run(ev_samples=[ev_sample(5000, EV, 30)])
    assert measure(run, "ev_sent_packets", Window(2500, 9000)) == pytest.approx(15)


def test_what_ports_did() -> None:
    run = made_run(ports=[
        port(5000, marked=3, trimmed=2, dropped_blackhole=7, dropped_tail=1, queue_bytes=900),
        port(5000, "p0-t1-0", "p0-t0-1", queue_bytes=4000, dropped_blackhole=5)])
    assert measure(run, "port_dropped", WHOLE) == 13
    assert measure(run, "port_dropped", WHOLE, {"cause": "blackhole"}) == 12
    assert measure(run, "port_dropped", WHOLE, {"switch": "p0-t1-0"}) == 5
    assert measure(run, "port_marked", WHOLE) == 3
    assert measure(run, "port_trimmed", WHOLE, {"towards": "p0-t0-1"}) == 0
    assert measure(run, "port_queue_max", WHOLE) == 4000
    with pytest.raises(UsageError, match="did you mean 'blackhole'"):
        measure(run, "port_dropped", WHOLE, {"cause": "blackhol"})
