"""What the EVs of a plane carried."""

from __future__ import annotations

import pytest
from unit.analysis.figures.drawing import drawn, line
from unit.analysis.made import ev_sample, inject, made_run

from testbed.analysis.figures import NothingToDraw

EV_A, EV_B, ELSEWHERE = 0x0000_0000, 0x0001_0000, 0x0100_0000
PACKET_GBPS = 4096 * 8 / 5000  # of one packet in an interval of a sample
SAMPLES = [ev_sample(5000, EV_A, 10), ev_sample(5000, ELSEWHERE, 4),
           ev_sample(10_000, EV_B, 12), ev_sample(10_000, ELSEWHERE, 4)]
LOSSY = "ev:h0:h4:0x0000#loss"


def test_one_ev_takes_over_from_the_other() -> None:
    run = made_run(ev_samples=SAMPLES, events=[inject(5000, "loss", LOSSY)])
    _, (evs, _) = drawn("ev_share", run)
    assert [y for _, y in line(evs, "0x0000")] == pytest.approx(
        [10 * PACKET_GBPS, 10 * PACKET_GBPS, 0])
    assert [y for _, y in line(evs, "0x0001")] == pytest.approx([0, 0, 12 * PACKET_GBPS])


def test_below_stands_what_all_planes_carried() -> None:
    run = made_run(ev_samples=SAMPLES, events=[inject(5000, "loss", LOSSY)])
    _, (_, total) = drawn("ev_share", run)
    assert total.lines[0].get_ydata() == pytest.approx(
        [14 * PACKET_GBPS, 14 * PACKET_GBPS, 16 * PACKET_GBPS])


def test_only_the_pair_whose_ev_was_hit() -> None:
    others = [ev_sample(5000, EV_A, 99, host="h1", peer="h5")]
    run = made_run(ev_samples=[*SAMPLES, *others], events=[inject(5000, "loss", LOSSY)])
    _, (evs, _) = drawn("ev_share", run)
    assert max(y for _, y in line(evs, "0x0000")) == pytest.approx(10 * PACKET_GBPS)


def test_a_plane_without_traffic_is_told() -> None:
    run = made_run(ev_samples=SAMPLES, events=[inject(5000, "down", "nic:h0:p3#down")])
    with pytest.raises(NothingToDraw, match="plane 3"):
        drawn("ev_share", run)
