"""Work requests and their packets: how a write becomes PSNs, and what completes it.

A message is cut into packets of the path MTU; each gets the next PSN when the work request
is posted, so a packet is known by its PSN alone (facts sheet 4.3). It completes when a
Transport ACK covers its last PSN, never by a SACK (4.1).
"""

from __future__ import annotations

from testbed.transport.mrc.wire.codes import Opcode

_FIRST, _MIDDLE = int(Opcode.WRITE_FIRST), int(Opcode.WRITE_MIDDLE)
_LAST, _LAST_IMM = int(Opcode.WRITE_LAST), int(Opcode.WRITE_LAST_WITH_IMM)
_ONLY, _ONLY_IMM = int(Opcode.WRITE_ONLY), int(Opcode.WRITE_ONLY_WITH_IMM)


class Message:
    """One posted write: ``data`` goes to ``va`` under ``rkey`` at the peer.

    ``msn`` and ``rqmsn`` count messages and immediates of the QP from 0, PSNs are
    unwrapped; ``imm`` is None for a plain write.
    """

    __slots__ = ("data", "first_psn", "imm", "is_signaled", "is_solicited", "last_psn", "length",
                 "msn", "rkey", "rqmsn", "va", "wr_id")  # fmt: skip

    def __init__(
        self, wr_id: int, data: memoryview, va: int, rkey: int, imm: int | None,
        *, is_signaled: bool, is_solicited: bool,
    ) -> None:  # fmt: skip
        self.wr_id = wr_id
        self.data = data
        self.length = len(data)
        self.va = va
        self.rkey = rkey
        self.imm = imm
        self.is_signaled = is_signaled
        self.is_solicited = is_solicited
        self.msn = self.rqmsn = 0
        self.first_psn = self.last_psn = 0

    def number(self, msn: int, rqmsn: int, first_psn: int, path_mtu: int) -> int:
        """Give the message its place in the queue; returns the first PSN behind it."""
        self.msn, self.rqmsn, self.first_psn = msn, rqmsn, first_psn
        packets = -(-self.length // path_mtu) or 1  # a write of nothing is one packet
        self.last_psn = first_psn + packets - 1
        return first_psn + packets

    def opcode(self, psn: int) -> int:
        """First, middle, last or only, with or without immediate (facts sheet 3.1)."""
        if psn == self.last_psn:
            if psn == self.first_psn:
                return _ONLY if self.imm is None else _ONLY_IMM
            return _LAST if self.imm is None else _LAST_IMM
        return _FIRST if psn == self.first_psn else _MIDDLE
