"""Shares and Jain's index."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.analysis.made import flow, made_run, steady

from testbed.analysis import Window
from testbed.analysis.fairness import jain

TWO = [*steady(6e9, 0, 10_000), *steady(2e9, 0, 10_000, host="h1", qp=2)]


def test_each_flow_has_its_share() -> None:
    frame = made_run(flows=TWO).fairness(Window(0, 10_000))
    assert list(frame["host"]) == ["h0", "h1"]
    assert list(frame["share"]) == pytest.approx([0.75, 0.25])
    assert list(frame["of_mean"]) == pytest.approx([1.5, 0.5])


def test_a_flow_that_got_nothing_in_the_window_counts() -> None:
    run = made_run(flows=[*TWO, flow(20_000, host="h2", acked_bytes=99)])
    assert list(run.fairness(Window(0, 10_000))["share"]) == pytest.approx([0.75, 0.25, 0])
    assert run.jain(Window(0, 10_000)) == pytest.approx(64 / (3 * 40))


def test_queue_pairs_are_flows_too() -> None:
    assert made_run(flows=TWO).jain(Window(0, 10_000), by=("qp",)) == pytest.approx(64 / 80)


def test_without_traffic_there_is_no_share() -> None:
    run = made_run(flows=TWO)
    assert run.fairness(Window(50_000, 60_000))["share"].isna().all()
    assert math.isnan(run.jain(Window(50_000, 60_000)))


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=20))
def test_jain_lies_between_one_of_n_and_one(rates: list[float]) -> None:
    index = jain(np.array(rates))
    if any(rates):
        assert 1 / len(rates) - 1e-9 <= index <= 1 + 1e-9
    else:
        assert math.isnan(index)


@given(st.floats(1, 1e12), st.integers(1, 20))
def test_equal_flows_are_fair(rate: float, number: int) -> None:
    assert jain(np.full(number, rate)) == pytest.approx(1)
