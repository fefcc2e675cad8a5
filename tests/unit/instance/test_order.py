"""From a request to a job: who sends, over which paths, and how much of it is done."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.errors import UsageError
from testbed.instance.order import Order, order_of, plan_job
from testbed.instance.transit import BUSY, IDLE, Pace
from testbed.intent.run import RunRequest
from topologies.spec import ClosSpec
from workloads.job import plan_permutation

SPEC = ClosSpec("pair", 2, 2, 2, 2, 100 * 10**9, 1000)


def request(**changes: Any) -> RunRequest:
    fields = {"kind": "write-bw", "src": 0, "dst": 2, "size_bytes": 1000, "qps": 3,
              "iters": 20, "depth": 4, "seed": 9}
    return RunRequest(**{**fields, **changes})


def latency(**changes: Any) -> RunRequest:
    return request(kind="write-lat", qps=1, depth=1, iters=50, **changes)


@pytest.mark.parametrize(("asked", "pace"), [(request(), BUSY), (latency(), IDLE)])
def test_transit_is_probed_at_the_pace_of_the_run(asked: RunRequest, pace: Pace) -> None:
    """Switches that a frame wakes are slower than those that are busy."""
    assert order_of(asked, SPEC).pace == pace


def test_a_bandwidth_request_becomes_a_job_with_all_it_says() -> None:
    job = plan_job(request(is_bidirectional=True, is_every_message_kept=True), SPEC)
    assert (job.kind, job.seed) == ("write-bw", 9)
    assert job.parameters == {
        "src": 0, "dst": 2, "size": 1000, "qps": 3, "iters": 20, "duration_ns": None,
        "is_bidirectional": True, "depth": 4, "is_every_message_kept": True}
    assert plan_job(request(iters=None, duration_ns=5_000), SPEC).parameters["duration_ns"] == 5_000


def test_a_latency_request_becomes_a_job() -> None:
    job = plan_job(latency(), SPEC)
    assert (job.kind, job.seed) == ("write-lat", 9)
    assert (job.parameters["size"], job.parameters["iters"]) == (1000, 50)


def test_an_order_keeps_what_was_asked_for() -> None:
    asked = request(tdf=500, is_captured=True, snap_bytes=99, recalibrate=True)
    order = order_of(asked, SPEC)
    assert (order.what, order.tdf, order.is_captured, order.snap_bytes, order.recalibrate) == (
        "write-bw-h0-h2", 500, True, 99, True)
    assert order.document == asked.to_document()
    plain = order_of(request(), SPEC)
    assert (plain.tdf, plain.is_captured, plain.recalibrate) == ("auto", False, False)


def test_a_host_that_is_not_there_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="h4 does not exist"):
        order_of(request(dst=4), SPEC)


@pytest.mark.parametrize(("asked", "is_bandwidth", "senders", "is_local"), [
    (request(), True, 1, False),
    (request(dst=1), True, 1, True),
    (request(is_bidirectional=True), True, 2, False),
    (latency(), False, 1, False),
    (latency(dst=1), False, 1, True),
])
def test_what_an_order_asks_of_the_machine(
    asked: RunRequest, is_bandwidth: bool, senders: int, is_local: bool
) -> None:
    order = order_of(asked, SPEC)
    assert (order.is_bandwidth, order.senders, order.has_local_paths) == (
        is_bandwidth, senders, is_local)


def test_one_local_pair_among_others_is_enough() -> None:
    job = plan_permutation(SPEC, [(0, 2), (1, 3), (2, 3)], size=10, qps=1, iters=1)
    order = Order("x", job, {})
    assert (order.senders, order.has_local_paths) == (3, True)


@pytest.mark.parametrize(("now_ns", "share"), [
    ((), 0.0), ((-500,), 0.0), ((0, 2_500), 0.25), ((10_000, 9_000), 1.0), ((99_999,), 1.0),
])
def test_of_a_duration_the_share_is_time(now_ns: tuple[int, ...], share: float) -> None:
    order = order_of(request(iters=None, duration_ns=10_000), SPEC)
    answers = {f"h{at}": {"now_ns": ns, "messages_done": 999} for at, ns in enumerate(now_ns)}
    assert order.share_done(answers) == share


@pytest.mark.parametrize(("changes", "done", "share"), [
    ({}, [], 0.0), ({}, [0, 0], 0.0), ({}, [15, 0], 0.25), ({}, [60, 0], 1.0),
    ({"is_bidirectional": True}, [60, 0], 0.5), ({"is_bidirectional": True}, [60, 60], 1.0),
])
def test_of_messages_the_share_is_messages(
    changes: dict[str, Any], done: list[int], share: float
) -> None:
    order = order_of(request(**changes), SPEC)
    answers = {f"h{at}": {"now_ns": 1, "messages_done": count} for at, count in enumerate(done)}
    assert order.share_done(answers) == share


def test_warm_up_messages_never_make_more_than_all() -> None:
    order = order_of(latency(), SPEC)
    assert order.share_done({"h0": {"now_ns": 1, "messages_done": 55}}) == 1.0
    assert order.share_done({"h0": {"now_ns": 0}}) == 0.0  # has not begun, says nothing yet
