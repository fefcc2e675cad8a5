"""Completion queues: order, limits, overrun."""

from __future__ import annotations

from testbed.transport.mrc.completion import Completion, CompletionQueue, WcOpcode, WcStatus


def made(number: int) -> Completion:
    return Completion(number, WcStatus.SUCCESS, WcOpcode.RDMA_WRITE, 3)


def test_polling_takes_the_oldest_first_and_no_more_than_asked_for() -> None:
    cq = CompletionQueue(4)
    assert all(cq.push(made(i)) for i in range(4))
    assert len(cq) == 4
    assert [c.wr_id for c in cq.poll(3)] == [0, 1, 2]
    assert [c.wr_id for c in cq.poll(3)] == [3]
    assert cq.poll(3) == []
    assert cq.poll(0) == []


def test_room_is_made_by_polling() -> None:
    cq = CompletionQueue(1)
    for i in range(5):
        assert cq.push(made(i))
        assert cq.poll(1) == [made(i)]
    assert not cq.is_overrun


def test_after_an_overrun_nothing_is_added_any_more() -> None:
    cq = CompletionQueue(2)
    assert [cq.push(made(i)) for i in range(3)] == [True, True, False]
    assert cq.is_overrun
    assert [c.wr_id for c in cq.poll(8)] == [0, 1]
    assert not cq.push(made(9))
    assert len(cq) == 0
