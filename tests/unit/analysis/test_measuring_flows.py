"""Measures of rates, shares and losses, worked out by hand."""

from __future__ import annotations

import pytest
from unit.analysis.made import WORKLOAD, ev_sample, flow, loss, made_run, steady

from testbed.analysis import Window
from testbed.analysis.measures import measure
from testbed.metrics.tables import event_row

RTT = 9404
LONG = {**WORKLOAD, "duration": "400us"}
WHOLE = Window(0, 100_000)


def test_goodput_of_what_was_asked_for() -> None:
    run = made_run(flows=[*steady(8e9, 0, 100_000), *steady(2e9, 0, 100_000, host="h1", qp=2)],
                   ev_samples=[ev_sample(5000, 0x0100_0000, 10)])
    assert measure(run, "goodput", WHOLE) == pytest.approx(10e9)
    assert measure(run, "goodput", WHOLE, {"host": "h1"}) == pytest.approx(2e9)
    assert measure(run, "goodput", WHOLE, {"qp": "1"}) == pytest.approx(8e9)
    assert measure(run, "goodput", WHOLE, {"plane": "1"}) == pytest.approx(10 * 4096 * 8e9 / 1e5)
    assert measure(run, "goodput", WHOLE, {"host": "h7"}) is None
    assert measure(run, "goodput", WHOLE, {"plane": "2"}) is None


def test_silence_is_zero_where_somebody_sends_at_other_times() -> None:
    run = made_run(workload=LONG, flows=steady(8e9, 0, 100_000))
    assert measure(run, "goodput", Window(200_000, 300_000)) == 0


def test_the_worst_ten_rtt_and_the_usual() -> None:
    run = made_run(workload=LONG, flows=[*steady(8e9, 0, 10 * RTT, interval_ns=RTT),
                                         *steady(4e9, 10 * RTT, 20 * RTT, interval_ns=RTT),
                                         *steady(8e9, 20 * RTT, 30 * RTT, interval_ns=RTT)])
    assert measure(run, "goodput_low", Window(0, 35 * RTT)) == pytest.approx(4e9, rel=1e-3)
    assert measure(run, "goodput_low", Window(5 * RTT, 10 * RTT)) == pytest.approx(8e9, rel=1e-3)
    assert measure(run, "goodput_median", Window(0, 35 * RTT)) == pytest.approx(8e9, rel=1e-3)
    assert measure(run, "goodput_median", Window(5 * RTT, 25 * RTT)) == pytest.approx(6e9, rel=1e-3)


def test_the_nominal_rate_is_of_the_nics_that_limit() -> None:
    pairs = [("h0", "h4"), ("h1", "h4"), ("h2", "h5")]
    run = made_run(flows=[flow(1000, host=src, peer=dst) for src, dst in pairs])
    assert measure(run, "nominal") == 2 * 400e9  # three senders, two receivers
    assert measure(run, "nominal", None, {"peer": "h4"}) == 400e9
    assert measure(run, "nominal", None, {"host": "h6"}) is None


def test_shares_of_flows() -> None:
    run = made_run(flows=[*steady(6e9, 0, 100_000), *steady(2e9, 0, 100_000, host="h1", qp=2)])
    assert measure(run, "flow_share_min", WHOLE) == pytest.approx(0.5)
    assert measure(run, "flow_share_max", WHOLE) == pytest.approx(1.5)
    assert measure(run, "flow_goodput_min", WHOLE) == pytest.approx(2e9)
    assert measure(run, "fairness", WHOLE) == pytest.approx(0.8)
    assert measure(run, "fairness", WHOLE, {"host": "h1"}) == pytest.approx(1)


LOSSES = [loss(500, 100, 0), loss(900, 100, 0, "timer"), loss(900, 100, 0, "timer", psn=1),
          loss(950, 100, 0x0100_0000, "nack", qp=2), loss(60_000, 100, 0)]


def test_losses_by_what_found_them() -> None:
    run = made_run(flows=[flow(1000), flow(1000, qp=2)], losses=LOSSES)
    early = Window(0, 1000)
    assert measure(run, "lost_packets", early) == 4
    assert measure(run, "lost_packets", early, {"plane": "0"}) == 3
    assert [measure(run, f"lost_by_{cause}", early) for cause in ("nack", "evidence", "timer")
            ] == [1, 1, 2]
    assert measure(run, "timeouts", early) == 1  # one timer, two packets
    assert measure(run, "lost_per_qp", early) == 3
    assert measure(run, "lost_per_qp", WHOLE) == 4
    assert measure(run, "first_interval_losses_per_qp", WHOLE) == 3
    assert measure(run, "lost_packets", Window(2000, 3000)) == 0


def test_the_share_that_was_sent_again() -> None:
    run = made_run(flows=[flow(1000, sent_packets=90), flow(2000, sent_packets=10,
                                                            resent_packets=5)])
    assert measure(run, "resent_share", Window(0, 2000)) == pytest.approx(0.05)
    assert measure(run, "resent_share", Window(1000, 2000)) == pytest.approx(0.5)
    assert measure(run, "sent_packets", Window(0, 2000)) == 100


def test_failed_queue_pairs_and_wrong_elements() -> None:
    run = made_run(flows=[flow(1000)], events=[event_row(500, "qp", host="h0")],
                   result={"verified": {"checked_bytes": 10, "wrong_bytes": 3}})
    assert measure(run, "qp_failures", WHOLE) == 1
    assert measure(run, "qp_failures", WHOLE, {"host": "h1"}) == 0
    assert measure(run, "wrong_elements") == 3
    before = made_run(result={"verified": {"checked_bytes": 10, "wrong_bytes": 0},
                              "sizes": [{"wrong": 1}]})
    assert measure(before, "wrong_elements") == 1
    nothing = made_run(result={"verified": {"checked_bytes": 0, "wrong_bytes": 0}})
    assert measure(nothing, "wrong_elements") is None  # nothing was compared


def test_a_queue_pair_that_gives_up_after_the_end_failed_in_the_run() -> None:
    late = event_row(1_541_792, "qp", host="h0")  # 100 us, and a retry budget
    run = made_run(flows=[flow(1000)], events=[event_row(500, "qp", host="h0"), late])
    assert run.end_ns == 1000 < late["t_ns"]
    assert measure(run, "qp_failures") == 2
    assert measure(run, "qp_failures", WHOLE) == 2
    assert measure(run, "qp_failures", Window(500, run.end_ns)) == 1
    assert measure(run, "qp_failures", Window(0, 900)) == 1
