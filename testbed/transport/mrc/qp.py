"""The queue pair: its states, what each step needs, and its two halves.

    RESET -> INIT -> RTR -> RTS          any -> ERROR          any -> RESET

RTR can receive, RTS can send as well (facts sheet 8.2). In ERROR nothing is sent or
accepted any more and every posted work request is flushed: the one the error is about ends
with the reason, the rest with FLUSHED (4.21).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from testbed.transport.mrc.completion import Completion, CompletionQueue, WcOpcode, WcStatus

if TYPE_CHECKING:
    from testbed.transport.mrc.ev.pathset import PathSet
    from testbed.transport.mrc.messages import Message
    from testbed.transport.mrc.requester import Requester
    from testbed.transport.mrc.responder import Responder


class QpState(Enum):
    """The states of a QP, by their verbs names."""

    RESET = "RESET"
    INIT = "INIT"
    RTR = "RTR"
    RTS = "RTS"
    ERROR = "ERROR"


# Looking a member up in its enum costs as much as what is done with it.
_SUCCESS = WcStatus.SUCCESS
_WRITE, _WRITE_WITH_IMM = WcOpcode.RDMA_WRITE, WcOpcode.RDMA_WRITE_WITH_IMM

TRANSITIONS = {
    QpState.RESET: {QpState.INIT, QpState.RESET, QpState.ERROR},
    QpState.INIT: {QpState.RTR, QpState.RESET, QpState.ERROR},
    QpState.RTR: {QpState.RTS, QpState.RESET, QpState.ERROR},
    QpState.RTS: {QpState.RESET, QpState.ERROR},
    QpState.ERROR: {QpState.RESET, QpState.ERROR},
}


@dataclass(frozen=True, slots=True)
class QpFailed:
    """An event: a QP went to ERROR; ``reason`` in words, ``status`` as its completions say."""

    qp_num: int
    status: WcStatus
    reason: str
    at_ns: int


class QueuePair:
    """A QP. Its halves exist from RTR on; ``peer`` is the inner address of the other NIC."""

    __slots__ = (
        "credit_bytes", "failure", "is_ready", "max_recv_wr", "max_send_wr", "paths",
        "peer", "qp_num", "recv_cq", "requester", "responder", "send_cq", "state",
    )  # fmt: skip

    def __init__(
        self, qp_num: int, send_cq: CompletionQueue, recv_cq: CompletionQueue,
        max_send_wr: int, max_recv_wr: int,
    ) -> None:  # fmt: skip
        self.qp_num = qp_num
        self.state = QpState.RESET
        self.send_cq, self.recv_cq = send_cq, recv_cq
        self.max_send_wr, self.max_recv_wr = max_send_wr, max_recv_wr
        self.peer = b""
        self.paths: PathSet | None = None
        self.requester: Requester | None = None
        self.responder: Responder | None = None
        self.failure: QpFailed | None = None
        # The endpoint's scheduler: is it in the ready queue, and what it may still send.
        self.is_ready = False
        self.credit_bytes = 0

    def collect(self) -> str:
        """Move what has completed to the queues; why the QP must fail, or ""."""
        requester, responder = self.requester, self.responder
        if requester is not None and requester.completed:
            for message in requester.completed:
                if message.is_signaled:
                    self.send_cq.push(_completion(self, message, _SUCCESS))
            requester.completed.clear()
        if responder is not None and responder.completions:
            for completion in responder.completions:
                self.recv_cq.push(completion)
            responder.completions.clear()
        if self.send_cq.is_overrun or self.recv_cq.is_overrun:
            return "its completion queue overran: poll it more often or make it deeper"
        return ""

    def fail(self, status: WcStatus, reason: str, now_ns: int) -> QpFailed:
        """Go to ERROR: end every work request, the oldest with the status."""
        self.state = QpState.ERROR
        self.failure = QpFailed(self.qp_num, status, reason, now_ns)
        if self.requester is not None:
            self.requester.error = self.requester.error or status
            blamed = status
            while self.requester.messages:
                message = self.requester.messages.popleft()
                self.send_cq.push(_completion(self, message, blamed))
                blamed = WcStatus.FLUSHED
        if self.responder is not None:
            self._flush(self.responder.receives)
        return self.failure

    def _flush(self, receives: deque[int]) -> None:
        while receives:
            wr_id, opcode = receives.popleft(), WcOpcode.RECV_RDMA_WITH_IMM
            self.recv_cq.push(Completion(wr_id, WcStatus.FLUSHED, opcode, self.qp_num))


def _completion(qp: QueuePair, message: Message, status: WcStatus) -> Completion:
    opcode = _WRITE if message.imm is None else _WRITE_WITH_IMM
    length = message.length if status is _SUCCESS else 0
    return Completion(message.wr_id, status, opcode, qp.qp_num, length)
