"""Completions and the queues they wait in (facts sheet 8.4).

A send completes when the Transport ACK covers it, in the order posted; a receive completes
for every write with immediate, in the order the requester posted them.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import NamedTuple


class WcStatus(Enum):
    """How a work request ended."""

    SUCCESS = "success"
    RETRY_EXCEEDED = "retry exceeded"
    REMOTE_INVALID_REQUEST = "remote invalid request"
    REMOTE_ACCESS_ERROR = "remote access error"
    REMOTE_OPERATION_ERROR = "remote operation error"
    FLUSHED = "flushed"


class WcOpcode(Enum):
    """What kind of work request ended."""

    RDMA_WRITE = "rdma write"
    RDMA_WRITE_WITH_IMM = "rdma write with immediate"
    RECV_RDMA_WITH_IMM = "receive of an immediate"


class Completion(NamedTuple):
    """One ended work request.

    ``byte_len`` is the message's length where it succeeded; ``imm`` (32 bits) and
    ``is_solicited`` are set for receives only; ``qp_num`` is the local QP.
    """

    wr_id: int
    status: WcStatus
    opcode: WcOpcode
    qp_num: int
    byte_len: int = 0
    imm: int | None = None
    is_solicited: bool = False


class CompletionQueue:
    """A queue of at most ``depth`` completions; one more is an overrun.

    After an overrun nothing is added: completions would be missing in the middle. The QPs
    that use the queue go to error, as in verbs.
    """

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.is_overrun = False
        self._entries: deque[Completion] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def push(self, completion: Completion) -> bool:
        """Add one; False where the queue is full or has been."""
        if self.is_overrun or len(self._entries) >= self.depth:
            self.is_overrun = True
            return False
        self._entries.append(completion)
        return True

    def poll(self, limit: int) -> list[Completion]:
        """Take at most ``limit`` completions, oldest first."""
        entries = self._entries
        return [entries.popleft() for _ in range(min(limit, len(entries)))]
