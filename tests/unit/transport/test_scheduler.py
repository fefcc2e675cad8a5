"""Deficit round robin between QPs (facts sheet 4.19)."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.transport.mrc.choices import QUANTUM_BYTES
from testbed.transport.mrc.completion import CompletionQueue
from testbed.transport.mrc.qp import QueuePair
from testbed.transport.mrc.scheduler import Scheduler


class Source:
    """A requester that sends ``left`` datagrams of one size, on port 0 unless ``port``."""

    def __init__(self, size: int, left: int, port: int = 0) -> None:
        self.size, self.left, self.port = size, left, port

    @property
    def has_work(self) -> bool:
        return self.left > 0

    def transmit(self, now_ns: int, free_ports: int) -> tuple[int, bytes] | None:
        if not self.left or not free_ports >> self.port & 1:
            return None
        self.left -= 1
        return self.port, bytes(self.size)


def qp_of(source: Source, number: int = 3) -> QueuePair:
    cq = CompletionQueue(1)
    qp = QueuePair(number, cq, cq, 1, 1)
    fake: Any = source
    qp.requester = fake
    return qp


@pytest.mark.parametrize("sizes", [(4238, 4238), (4238, 150), (1000, 300, 4238), (150, 151)])
def test_qps_with_packets_of_any_size_get_the_same_bytes(sizes: tuple[int, ...]) -> None:
    scheduler = Scheduler()
    sources = [Source(size, 10**6) for size in sizes]
    for source in sources:
        scheduler.wake(qp_of(source))
    sent = dict.fromkeys(sizes, 0)
    while sum(sent.values()) < 200 * QUANTUM_BYTES:
        found = scheduler.transmit(0, 1)
        assert found is not None
        sent[len(found[1])] += len(found[1])
    assert max(sent.values()) - min(sent.values()) <= QUANTUM_BYTES + 2 * max(sizes)


def test_full_packets_alternate() -> None:
    scheduler = Scheduler()
    sources = [Source(4238, 5), Source(4238, 5)]
    for source in sources:
        scheduler.wake(qp_of(source))
    lefts = []
    while scheduler.transmit(0, 1):
        lefts.append((sources[0].left, sources[1].left))
    assert lefts[:4] == [(4, 5), (4, 4), (3, 4), (3, 3)]
    assert lefts[-1] == (0, 0)


def test_a_qp_that_waits_for_a_port_keeps_nobody_back_and_its_place() -> None:
    scheduler = Scheduler()
    waiting, other = Source(100, 1, port=1), Source(100, 2)
    for source in (waiting, other):
        scheduler.wake(qp_of(source))
    assert scheduler.transmit(0, 0b01) == (0, bytes(100))
    assert scheduler.transmit(0, 0b10) == (1, bytes(100))
    assert scheduler.transmit(0, 0b01) == (0, bytes(100))
    assert scheduler.transmit(0, 0b11) is None


def test_a_qp_is_in_the_ring_once_and_out_of_it_when_it_has_nothing() -> None:
    scheduler, source = Scheduler(), Source(10, 1)
    qp = qp_of(source)
    for _ in range(3):
        scheduler.wake(qp)
    assert qp.is_ready
    assert scheduler.transmit(0, 1) is not None
    assert scheduler.transmit(0, 1) is None
    assert not qp.is_ready
    scheduler.wake(qp)
    assert not qp.is_ready
    source.left = 2
    scheduler.wake(qp)
    assert scheduler.transmit(0, 1) is not None


def test_a_qp_without_a_sending_half_leaves_the_ring() -> None:
    scheduler, gone, other = Scheduler(), qp_of(Source(10, 1)), Source(20, 1)
    scheduler.wake(gone)
    scheduler.wake(qp_of(other, 4))
    gone.requester = None
    assert scheduler.transmit(0, 1) == (0, bytes(20))
    assert not gone.is_ready
