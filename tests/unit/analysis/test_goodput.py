"""Goodput in bins: what is laid where, and that nothing is lost or made."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.analysis.made import ev_sample, flow, made_run, steady

from testbed.analysis import Window
from testbed.errors import UsageError


def rates(run: Any, **more: Any) -> dict[int, float]:
    frame = run.goodput(by=(), **more)
    return dict(zip(frame["t_ns"], frame["goodput_bps"], strict=True))


def test_a_bin_has_what_was_acknowledged_in_it() -> None:
    run = made_run(flows=[flow(1000, acked_bytes=1000), flow(2000, acked_bytes=250)])
    assert rates(run, window=Window(0, 2000)) == {1000: 8e9, 2000: 2e9}


def test_a_long_interval_is_spread_over_its_bins() -> None:
    run = made_run(flows=[flow(3000, interval_ns=2000, acked_bytes=4000)])
    assert rates(run, window=Window(0, 4000), bin_ns=1000) == pytest.approx(
        {1000: 0, 2000: 16e9, 3000: 16e9, 4000: 0})


def test_an_interval_across_the_edge_of_a_bin_is_divided() -> None:
    run = made_run(flows=[flow(1500, interval_ns=1000, acked_bytes=1000)])
    assert rates(run, window=Window(0, 2000), bin_ns=1000) == pytest.approx({1000: 4e9, 2000: 4e9})


def test_a_shorter_last_bin_has_the_rate_of_its_own_width() -> None:
    run = made_run(flows=steady(8e9, 0, 2500, interval_ns=500))
    assert rates(run, window=Window(0, 2500), bin_ns=1000) == pytest.approx(
        {1000: 8e9, 2000: 8e9, 2500: 8e9})


def test_a_gap_is_zero_for_each_that_sends() -> None:
    run = made_run(flows=[flow(1000, acked_bytes=1000), flow(3000, acked_bytes=1000, host="h1"),
                          flow(1000, host="h4", peer="h0", sent_packets=0)])
    frame = run.goodput(by=("host",), window=Window(0, 3000), bin_ns=1000)
    table = frame.pivot_table(index="t_ns", columns="host", values="goodput_bps")
    assert table.to_dict() == {"h0": {1000: 8e9, 2000: 0, 3000: 0},
                               "h1": {1000: 0, 2000: 0, 3000: 8e9}}  # h4 only answered


def test_planes_are_counted_in_whole_packets() -> None:
    run = made_run(ev_samples=[ev_sample(5000, 0x0000_0000, 10), ev_sample(5000, 0x0001_0000, 5),
                               ev_sample(5000, 0x0200_0000, 1)])
    frame = run.goodput(by=("plane",), window=Window(0, 5000))
    packet_bps = 4096 * 8e9 / 5000
    assert dict(zip(frame["plane"], frame["goodput_bps"], strict=True)) == pytest.approx(
        {0: 15 * packet_bps, 2: packet_bps})


def test_the_mean_is_of_the_window_and_of_what_was_asked_for() -> None:
    run = made_run(flows=[*steady(8e9, 0, 4000), *steady(2e9, 0, 4000, host="h1", qp=2)])
    assert run.mean_goodput_bps(Window(1000, 3000)) == pytest.approx(10e9)
    assert run.mean_goodput_bps(Window(1000, 3000), host="h1") == pytest.approx(2e9)
    assert run.mean_goodput_bps(Window(3500, 4500), qp=1) == pytest.approx(4e9)
    assert run.mean_goodput_bps(Window(1000, 3000), host="h7") == 0


def test_the_default_bin_is_the_usual_interval() -> None:
    run = made_run(flows=[*steady(8e9, 0, 6000, interval_ns=2000), flow(6500, 500)])
    assert sorted(rates(run, window=Window(0, 6000))) == [2000, 4000, 6000]


@pytest.mark.parametrize(("more", "told"), [
    ({"by": ("hots",)}, "did you mean 'host'"),
    ({"by": ("plane", "qp")}, "leave one away"),
    ({"window": Window(5, 5)}, "nothing between"),
])
def test_what_cannot_be_told_is_refused(more: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        made_run(flows=[flow(1000)]).goodput(**more)


INTERVALS = st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 10**7)), min_size=1,
                     max_size=20)


@given(INTERVALS, st.integers(1, 7000), st.sampled_from(["h0", "h1"]))
def test_bins_sum_to_what_was_acknowledged(intervals: list[tuple[int, int]], bin_ns: int,
                                           host: str) -> None:
    rows, now = [], 0
    for width, acked in intervals:
        now += width
        rows.append(flow(now, width, host=host, acked_bytes=acked))
    run = made_run(flows=rows)
    frame = run.goodput(window=Window(0, now), bin_ns=bin_ns)
    width = frame["t_ns"].diff().fillna(frame["t_ns"].iloc[0])
    total = (frame["goodput_bps"] * width / 8e9).sum()
    assert total == pytest.approx(sum(acked for _, acked in intervals), abs=1e-3)


@given(INTERVALS, st.integers(0, 20_000), st.integers(1, 20_000))
def test_two_halves_of_a_window_are_the_whole(intervals: list[tuple[int, int]], start: int,
                                              width: int) -> None:
    rows, now = [], 0
    for step, acked in intervals:
        now += step
        rows.append(flow(now, step, acked_bytes=acked))
    run = made_run(flows=rows)
    half = start + width // 2

    def carried(window: Window) -> float:
        return run.mean_goodput_bps(window) * window.width_ns

    both = carried(Window(start, half)) + carried(Window(half, start + width))
    assert carried(Window(start, start + width)) == pytest.approx(both, rel=1e-9, abs=1e-3)
