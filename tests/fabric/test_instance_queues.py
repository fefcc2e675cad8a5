"""Queues of a whole instance: the rate they drain at, and what a dying link flushes."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from testbed_process import Running, eventually

from topologies.numbers import Dscp

pytestmark = pytest.mark.root

FRAMES = 40


@pytest.fixture(scope="module", params=["ovs", "linux"])
def slow(request: pytest.FixtureRequest, bring_up: Callable[..., Running]) -> Running:
    """Ports of 1 Mb/s on the wall clock: a data frame takes 34 ms, a queue shows."""
    return bring_up("tiny", "--tdf", "100000", "--dataplane", request.param)


def test_a_burst_drains_at_the_port_rate(slow: Running) -> None:
    """The last of a burst is as late as the bytes before it take at 1.01 x 100 Gb/s.

    End to end on both data planes: Open vSwitch deletes the qdiscs it finds on ports
    it is given, and then nothing is held back at all.
    """
    (row,) = slow.call("probe", src=0, dst=1, ev="0x0000", count=FRAMES, size="4238B",
                       dscp=int(Dscp.NO_TRIM), timeout="5s")
    assert row["received"] == FRAMES
    queued_bytes = (FRAMES - 1) * 4238  # what is in service has left, as a port counts
    expected_us = 4 + queued_bytes * 8 / 101_000
    assert row["rtt_max_us"] == pytest.approx(expected_us, rel=0.03)


def test_no_port_loses_its_queue(slow: Running) -> None:
    """Neither a controller nor a link that goes and returns makes one vanish."""
    slow.call("fail", target="switch:p0-t0-0")
    slow.call("heal")
    assert slow.call("status")["problems"] == []


def test_flushed_frames_are_told_and_booked(slow: Running) -> None:
    port = "p0-t0-0-e2"
    before = slow.call("ports", account="passed_data")[port]

    def send() -> list[dict[str, int]]:
        return slow.call("probe", src=0, dst=1, ev="0x0000", count=FRAMES, size="4238B",
                         dscp=int(Dscp.NO_TRIM), timeout="1s")

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send)
        eventually(lambda: slow.call("ports", account="passed_data")[port] == before + FRAMES)
        slow.call("fail", target="nic:h1:p0")
        (row,) = sending.result()
    (told,) = slow.call("heal")
    found = re.search(r"(\d+) flushed from the queue", told["evidence"])
    assert found, told["evidence"]
    flushed = int(found[1])
    assert flushed > FRAMES // 2
    assert row["received"] <= FRAMES - flushed
    eventually(lambda: slow.call("status")["paths_ok"] == 40)
    status = slow.call("status")
    assert status["problems"] == []
    assert status["unexplained_frames"] == 0
