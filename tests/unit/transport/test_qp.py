"""The queue pair alone: the table of states, completing, failing."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

from testbed.transport.mrc.completion import Completion, CompletionQueue, WcOpcode, WcStatus
from testbed.transport.mrc.messages import Message
from testbed.transport.mrc.qp import TRANSITIONS, QpFailed, QpState, QueuePair


def message(wr_id: int, imm: int | None = None, is_signaled: bool = True) -> Message:
    return Message(wr_id, memoryview(bytes(8)), 0, 0, imm, is_signaled=is_signaled,
                   is_solicited=False)  # fmt: skip


def make(depth: int = 8, completed: list[Message] | None = None,
         waiting: list[Message] | None = None) -> Any:  # fmt: skip
    qp: Any = QueuePair(5, CompletionQueue(depth), CompletionQueue(depth), 8, 8)
    qp.requester = SimpleNamespace(
        completed=deque(completed or []), messages=deque(waiting or []), error=None
    )
    qp.responder = SimpleNamespace(completions=[], receives=deque([71, 72]))
    return qp


def test_the_table_of_states() -> None:
    steps = {(a.name, b.name) for a, targets in TRANSITIONS.items() for b in targets}
    forward = {("RESET", "INIT"), ("INIT", "RTR"), ("RTR", "RTS")}
    anywhere = {(a.name, b) for a in QpState for b in ("RESET", "ERROR")}
    assert steps == forward | anywhere


def test_signaled_writes_complete_in_order_and_the_others_silently() -> None:
    qp = make(completed=[message(1), message(2, is_signaled=False), message(3, imm=0)])
    assert qp.collect() == ""
    assert qp.send_cq.poll(9) == [
        Completion(1, WcStatus.SUCCESS, WcOpcode.RDMA_WRITE, 5, 8),
        Completion(3, WcStatus.SUCCESS, WcOpcode.RDMA_WRITE_WITH_IMM, 5, 8),
    ]
    assert qp.collect() == ""
    assert len(qp.send_cq) == 0


def test_an_overrun_of_either_queue_is_a_reason_to_fail() -> None:
    qp = make(depth=1, completed=[message(1), message(2)])
    assert "overran" in qp.collect()
    qp = make(depth=1)
    qp.responder.completions = [Completion(i, WcStatus.SUCCESS, WcOpcode.RDMA_WRITE, 5)
                                for i in range(2)]  # fmt: skip
    assert "overran" in qp.collect()
    assert [c.wr_id for c in qp.recv_cq.poll(9)] == [0]


def test_failing_blames_the_oldest_write_and_flushes_the_rest() -> None:
    waiting = [message(1, is_signaled=False), message(2, imm=1), message(3)]
    qp = make(waiting=waiting)
    failed = qp.fail(WcStatus.REMOTE_ACCESS_ERROR, "why", 99)
    assert failed == qp.failure == QpFailed(5, WcStatus.REMOTE_ACCESS_ERROR, "why", 99)
    assert qp.state is QpState.ERROR
    assert qp.requester.error is WcStatus.REMOTE_ACCESS_ERROR
    assert [(c.wr_id, c.status, c.byte_len) for c in qp.send_cq.poll(9)] == [
        (1, WcStatus.REMOTE_ACCESS_ERROR, 0), (2, WcStatus.FLUSHED, 0), (3, WcStatus.FLUSHED, 0),
    ]  # fmt: skip
    assert [(c.wr_id, c.status, c.opcode) for c in qp.recv_cq.poll(9)] == [
        (71, WcStatus.FLUSHED, WcOpcode.RECV_RDMA_WITH_IMM),
        (72, WcStatus.FLUSHED, WcOpcode.RECV_RDMA_WITH_IMM),
    ]


def test_a_qp_without_halves_can_fail() -> None:
    qp = QueuePair(5, CompletionQueue(1), CompletionQueue(1), 8, 8)
    qp.fail(WcStatus.FLUSHED, "why", 0)
    assert qp.state is QpState.ERROR
    assert qp.collect() == ""
