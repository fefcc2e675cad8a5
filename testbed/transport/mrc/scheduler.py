"""Whose turn it is to send: deficit round robin between QPs in READY (spec Figure 4).

A QP is in the ring while it has something that could leave; one whose window is full or
whose work is done drops out and comes back with the answer that changes that.
"""

from __future__ import annotations

from collections import deque

from testbed.transport.mrc.choices import QUANTUM_BYTES
from testbed.transport.mrc.qp import QueuePair


class Scheduler:
    """The ring of ready QPs; read-only for others: while it is empty, nothing can leave."""

    __slots__ = ("ring",)

    def __init__(self) -> None:
        self.ring: deque[QueuePair] = deque()

    def wake(self, qp: QueuePair) -> None:
        """Something happened to this QP: it may have become ready."""
        if qp.is_ready or qp.requester is None or not qp.requester.has_work:
            return
        qp.is_ready = True
        qp.credit_bytes = QUANTUM_BYTES
        self.ring.append(qp)

    def transmit(self, now_ns: int, free_ports: int) -> tuple[int, bytes] | None:
        """The next packet of the QP whose turn it is, or of the next that has one."""
        ring = self.ring
        for _ in range(len(ring)):
            qp = ring[0]
            requester = qp.requester
            sent = None if requester is None else requester.transmit(now_ns, free_ports)
            if sent is not None:
                credit_bytes = qp.credit_bytes - len(sent[1])
                if credit_bytes <= 0:
                    credit_bytes += QUANTUM_BYTES
                    ring.rotate(-1)
                qp.credit_bytes = credit_bytes
                return sent
            if requester is not None and requester.has_work:
                ring.rotate(-1)  # waits for a port that is not free now
            else:
                ring.popleft()
                qp.is_ready = False
        return None
