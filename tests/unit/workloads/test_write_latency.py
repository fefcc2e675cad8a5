"""One write at a time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from unit.workloads.workload_rig import DELAY_NS, FAR, SPEC, Wires

from workloads.job import plan_write_latency
from workloads.params import WorkloadError
from workloads.write_latency import LatencyPlan, WriteLatency, half_latency

PLAN = LatencyPlan(size=2, iters=10, warmup=5, slots=15, sends=(0,))


def test_a_plan_survives_json() -> None:
    assert LatencyPlan.from_params(json.loads(json.dumps(PLAN.to_params()))) == PLAN


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "write-bw"}, "program.kind is 'write-bw': give write-lat"),
        ({"size": 0}, "program.size is 0"),
        ({"iters": 0}, "program.iters is 0"),
        ({"warmup": -1}, "program.warmup is -1"),
        ({"slots": 0}, "program.slots is 0"),
        ({"sends": [0, 1]}, "program.sends has 2 connections: give one"),
        ({"depth": 1}, "program has unknown key 'depth'"),
    ],
)
def test_a_wrong_plan_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        LatencyPlan.from_params(PLAN.to_params() | change)
    assert sentence in str(caught.value)


def test_the_channel_must_fit_the_plan() -> None:
    channels = Wires(plan_write_latency(SPEC, 0, FAR, iters=1, warmup=0)).setups[0].channels
    for change in ({"sends": [5]}, {"sends": [0]}):
        made = LatencyPlan.from_params(PLAN.to_params() | change)
        with pytest.raises(WorkloadError, match="is not there or its buffer is short of 30 bytes"):
            WriteLatency(made, channels)


def test_each_time_is_a_round_trip_of_its_own() -> None:
    wires = Wires(plan_write_latency(SPEC, 0, FAR, iters=10)).start()
    channel = wires.setups[0].channels[0]
    while not wires.apps[0].program.is_done:
        assert channel.outstanding == 1
        wires.run(wires.now + 2 * DELAY_NS)
        assert wires.now < 10**6
    result = wires.results()[0]
    assert result["latency_ns"] == [2 * DELAY_NS] * 10
    row, = result["channels"]
    assert (row["posted"], row["messages"], row["bytes"]) == (15, 15, 30)
    assert wires.now == 15 * 2 * DELAY_NS
    assert wires.results()[FAR]["channels"] == wires.results()[FAR]["latency_ns"] == []


@pytest.mark.parametrize("warmup", [0, 3])
def test_the_warm_up_is_not_measured(warmup: int) -> None:
    wires = Wires(plan_write_latency(SPEC, 0, FAR, iters=4, warmup=warmup))
    # The first write is lost, and its time with it.
    wires.lose = lambda now, host, datagram: host == 0 and now == 0
    wires.start().run()
    times = wires.results()[0]["latency_ns"]
    assert len(times) == 4
    assert (times[0] > 2 * DELAY_NS) == (warmup == 0)
    assert times[1:] == [2 * DELAY_NS] * 3


def test_what_was_written_is_there() -> None:
    wires = Wires(plan_write_latency(SPEC, 0, FAR, iters=3000, size=16)).start().run()
    assert wires.verify()[FAR] == {
        "checked_bytes": 1024 * 16, "wrong_bytes": 0, "first_wrong": None, "unchecked": [],
    }  # fmt: skip
    wires.setups[FAR].channels[0].target.view[16_000] ^= 1
    assert wires.verify()[FAR]["wrong_bytes"] == 1


def test_half_of_each_is_summed_up() -> None:
    figures = half_latency([4000, 2000, 2000, 3000, 2000])
    assert (figures.min, figures.max, figures.typical, figures.avg) == (1000, 2000, 1000, 1300)
    assert figures.p99 == figures.p999 == 2000
    with pytest.raises(ValueError, match="measure something first"):
        half_latency([])
