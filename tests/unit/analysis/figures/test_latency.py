"""Latency of messages."""

from __future__ import annotations

import pytest
from unit.analysis.figures.drawing import drawn, legend
from unit.analysis.made import made_run, message

from testbed.analysis.figures import latency
from testbed.analysis.figures.latency import message_times_us
from testbed.analysis.measuring_times import MEASURES

MESSAGES = [message(0, 10_000), message(0, 20_000), message(0, 30_000), message(0, None)]


def test_messages_that_are_open_have_no_time() -> None:
    times = message_times_us(made_run(messages=MESSAGES))
    assert list(times) == ["h0 \u2192 h4"]
    assert list(times["h0 \u2192 h4"]) == [10, 20, 30]


def test_a_latency_test_counts_half() -> None:
    run = made_run(messages=MESSAGES, result={"kind": "write-lat"})
    assert list(message_times_us(run)["h0 \u2192 h4"]) == [5, 10, 15]


@pytest.mark.parametrize(("measure", "median_us"), [
    ("latency", 10), ("message_time", 20), ("goodput", 10)])
def test_a_drill_is_drawn_as_its_checks_measure(measure: str, median_us: float) -> None:
    """Whatever its workload is called."""
    drill = {"checks": [{"measure": "qp_failures"}, {"measure": measure}]}
    kind = "write-lat" if measure != "latency" else "write-bw"
    run = made_run(messages=MESSAGES, result={"kind": kind}, drill=drill)
    assert list(message_times_us(run)["h0 \u2192 h4"])[1] == median_us
    _, (axes,) = drawn("latency", run)
    assert axes.get_xlabel().startswith("half") is (median_us == 10)


def test_what_is_half_and_what_is_whole_are_measures() -> None:
    assert {latency._HALF, *latency._WHOLE} <= MEASURES.keys()
    assert MEASURES[latency._HALF][1].startswith("half of post to completion")


def test_the_legend_has_median_and_99th_percentile() -> None:
    _, (axes,) = drawn("latency", made_run(messages=MESSAGES))
    assert legend(axes) == ["h0 \u2192 h4: 20.00 us, 29.80 us"]
    assert axes.lines[0].get_ydata()[-1] == 1


def test_a_long_run_has_no_more_points_than_can_be_seen() -> None:
    run = made_run(messages=[message(0, 1000 + n) for n in range(5000)])
    _, (axes,) = drawn("latency", run)
    assert len(axes.lines[0].get_xdata()) == 1001
    assert axes.lines[0].get_xdata()[-1] == pytest.approx(5.999)
